"""Measurements of the peers, each by itself and in the same way as the service's own."""

import os
import time
from contextlib import ExitStack

import psutil
import redis

from benchmarks.load import Failed, Load, load
from benchmarks.measurements import CONNECTIONS, Bench, ask, check_stored
from benchmarks.peers import PEERS, Peer, python_of
from benchmarks.processes import finished, held, serving, started, wait_for

_WORKERS = 2
_SECONDS = 300.0


def post(bench: Bench, peer: Peer, connections: int = CONNECTIONS) -> Load:
    """Put load on a peer's route, and look for each task that it answered for."""
    python = python_of(peer.name)
    with bench.servers.fresh() as environment:
        _errand(peer, python, environment, "prepare", 0)
        with serving(peer.app, environment, bench.logs, python) as (url, _):
            _load(url, connections, 1.0)
            before = _count(environment, peer.stored)
            found = _load(url, connections, bench.seconds)
            stored = _count(environment, peer.stored) - before
    check_stored(stored, found.right, connections)
    return found


def best_post(bench: Bench) -> Load:
    """Return what the fastest of all of them does; what each does is kept in the notes."""
    found = {peer: post(bench, peer) for peer in PEERS}
    for peer, each in found.items():
        bench.note("peers", _described(peer), each.rate)
    return max(found.values(), key=lambda each: each.rate)


def run_rate(bench: Bench, name: str) -> float:
    """Return how many no-op tasks a second two processes of a durable peer run."""
    peer = next(each for each in PEERS if each.name == name)
    python = python_of(peer.name)
    with bench.servers.fresh() as environment, ExitStack() as stack:
        _errand(peer, python, environment, "prepare", 0)
        workers = [
            psutil.Process(
                stack.enter_context(
                    started(f"{name}-{number}", list(peer.worker), environment, bench.logs, python)
                ).pid
            )
            for number in range(_WORKERS)
        ]
        for worker in workers:
            wait_for(lambda w=worker: bool(w.net_connections("tcp")), 60, f"{name} is connected")
        # What is run once is loaded and planned.
        _errand(peer, python, environment, "fill", 100)
        wait_for(lambda: _count(environment, peer.ended) == 100, 60, f"{name} runs tasks")
        with held(workers):
            _errand(peer, python, environment, "fill", bench.tasks)
        seconds = _seconds_until(environment, peer.ended, bench.tasks + 100)
    return bench.tasks / seconds


def _seconds_until(environment: dict[str, str], query: str, count: int) -> float:
    """Wait for a count, at little cost for whoever makes it grow."""
    began = time.perf_counter()
    while (found := _count(environment, query)) < count:
        if time.perf_counter() > began + _SECONDS:
            raise TimeoutError(f"{found} of {count} have ended: {query}")
        time.sleep(0.1)
    if found != count:
        raise Failed(f"{found} of {count} have ended: {query}")
    return time.perf_counter() - began


def _described(peer: Peer) -> str:
    return f"{peer.name}, {'durable' if peer.is_durable else 'not durable'}"


def _load(url: str, connections: int, seconds: float) -> Load:
    return load(
        f"{url}/tasks/",
        method="POST",
        status=201,
        text='"id":',
        connections=connections,
        seconds=seconds,
    )


def _count(environment: dict[str, str], what: str) -> int:
    if what.startswith("SELECT"):
        return int(ask(environment, what)[0][0])
    client = redis.Redis.from_url(environment["REDIS_URL"], socket_timeout=5)
    try:
        return int(client.execute_command(*what.split()))
    finally:
        client.close()


def _errand(peer: Peer, python: str, environment: dict[str, str], what: str, count: int) -> None:
    if peer.is_durable:
        command = [python, "-m", peer.module, what, str(count)]
        finished(command, {**os.environ, **environment}, _SECONDS)
