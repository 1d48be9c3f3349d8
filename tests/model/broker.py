"""The broker's stand-in: a list of messages, to which the model then does whatever it likes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.priority import QueueName
from app.domain.task import TaskMessage
from app.errors import BrokerUnavailable


class Broker:
    """Three queues, seen as one list; the part of `Publisher` that the use cases call."""

    def __init__(self) -> None:
        self.messages: tuple[TaskMessage, ...] = ()
        self.up = True
        self._forgotten = False

    def publish(self, messages: Sequence[TaskMessage]) -> bool:
        """Take messages, or none while the broker is down."""
        if self.up:
            self.messages += tuple(messages)
        return self.up

    def oldest_messages_at(self) -> dict[QueueName, datetime | None]:
        """Return the time of the message at each queue's head. Raises BrokerUnavailable."""
        if not self.up:
            raise BrokerUnavailable("the model's broker is down")
        return {
            queue: next((m.dispatched_at for m in self.messages if m.queue is queue), None)
            for queue in QueueName
        }

    def has_forgotten(self) -> bool:
        """Return, once, whether everything was lost. Raises BrokerUnavailable."""
        if not self.up:
            raise BrokerUnavailable("the model's broker is down")
        forgotten, self._forgotten = self._forgotten, False
        return forgotten

    def forget(self) -> None:
        """Lose everything, as Redis does that starts without its data."""
        self.messages = ()
        self._forgotten = True

    def take(self, index: int) -> TaskMessage:
        """Take a message out, from wherever it is."""
        message = self.messages[index]
        self.messages = self.messages[:index] + self.messages[index + 1 :]
        return message

    def double(self, index: int) -> None:
        """Let a message be there once more, behind all others."""
        self.messages += (self.messages[index],)


def older(messages: tuple[TaskMessage, ...], seconds: float) -> tuple[TaskMessage, ...]:
    """Return the messages as if they had been published earlier."""
    gone = timedelta(seconds=seconds)
    return tuple(replace(m, dispatched_at=m.dispatched_at - gone) for m in messages)
