"""What Python runs at its start when this folder is on PYTHONPATH: a machine with a wrong clock.

Whoever in the process asks time.time() or datetime.now() for the time of day gets one that is off
by CLOCK_OFFSET_SECONDS. time.monotonic() goes on as always, as it does on such a machine.
"""

import datetime
import os
import time

_OFFSET = float(os.environ["CLOCK_OFFSET_SECONDS"])
_right_time, _right_time_ns = time.time, time.time_ns
_RightDatetime = datetime.datetime


class _AnyDatetime(type):
    """Lets values that C code has made pass as instances of the class below."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RightDatetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _RightDatetime)


class _WrongDatetime(_RightDatetime, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz=None):
        return _RightDatetime.now(tz) + datetime.timedelta(seconds=_OFFSET)

    @classmethod
    def utcnow(cls):
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls):
        return cls.now()


time.time = lambda: _right_time() + _OFFSET
time.time_ns = lambda: _right_time_ns() + int(_OFFSET * 1e9)
datetime.datetime = _WrongDatetime
