"""After Redis was away a worker still takes one message for each free slot, and no more."""

from app.domain.priority import Priority
from tests.faults.evidence import wait_until_final
from tests.faults.servers import RedisPlug
from tests.lab import Lab
from tests.support import wait_for


def test_a_worker_takes_no_more_than_it_can_run_after_an_outage(
    broker_lab: Lab, redis_server: RedisPlug
) -> None:
    """What it took beyond that would wait inside it, ahead of what is more urgent in Redis."""
    service, ledger = broker_lab.service, broker_lab.ledger
    service.settings["WORKER_CONCURRENCY"] = "1"
    service.start_worker()
    running = broker_lab.start("waits_for_word")
    for _ in range(2):
        redis_server.kill()
        redis_server.start()
        # Not its log's "Connected": the next plug may be pulled just after that, and then a step
        # of its consumer connects again without a word.
        wait_for(redis_server.has_listening_worker, 5, "the worker is back at work")
    low = [broker_lab.add("sleep", priority=Priority.LOW) for _ in "123"]
    broker_lab.dispatch(low)
    high = [broker_lab.add("sleep", priority=Priority.HIGH) for _ in "123"]
    broker_lab.dispatch(high)
    assert redis_server.waiting() == len(low + high)

    ledger.give_word()

    ended = wait_until_final(broker_lab, [running, *low, *high], 20)
    assert {ended[task_id].attempt for task_id in [running, *low, *high]} == {1}
    assert ledger.started() == [running, *high, *low]
