"""Throughput of one instance while each of its requests waits 300 ms for the database."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpcore

from bench.figures import Report
from bench.machine import watched
from bench.scenario import Setting
from local.places import url
from tests.support.stack import StackPerson

CONCURRENCY = 80
DELAY_MS = 300
# Two a second for each person are allowed on this route.
PEOPLE = 240
PATH, FUNCTION = "/v1/users/me", "accounts-me"
FAULT = {"supabase": {"get_me": {"delay_ms": DELAY_MS}}}
WARM_SECONDS = 3.0
FLOOR_PER_SECOND = 250.0


@dataclass
class Load:
    """What came back, with the moment and the milliseconds each took."""

    until: float
    answers: list[tuple[float, float, int]] = field(default_factory=list)

    async def keep_asking(self, address: str, people: Iterator[StackPerson]) -> None:
        """One client with one connection, asking again as soon as it is answered."""
        async with httpcore.AsyncConnectionPool(max_connections=1, max_keepalive_connections=1) as connection:
            while (began := time.monotonic()) < self.until:
                answer = await connection.request("GET", address, headers=list(next(people).headers.items()))
                ended = time.monotonic()
                self.answers.append((ended, (ended - began) * 1000, answer.status))


async def run(setting: Setting) -> None:
    """Ask a function that has a process of its own, as an instance in the cloud; then the gateway with all inside."""
    report, town = setting.report, setting.town
    report.say(f"GET {PATH} at concurrency {CONCURRENCY}, the database answers after {DELAY_MS} ms")
    report.say(f"at best {CONCURRENCY / DELAY_MS * 1000:.0f} requests/s")
    town.start({"PROCESSES": FUNCTION})
    people = town.people(PEOPLE, report)
    port = next(part["port"] for part in town.stack.state()["parts"] if part["name"] == FUNCTION)
    reached = await _measure(setting, "function's own process", FUNCTION, url(port) + PATH, people)
    report.hold("one instance, requests a second", reached, FLOOR_PER_SECOND, at_most=False)
    town.start({})
    people = town.people(PEOPLE, report)
    await _measure(setting, "gateway with all functions inside", "gateway", town.stack.base_url + PATH, people)


async def _measure(setting: Setting, name: str, process: str, address: str, people: list[StackPerson]) -> float:
    report, stack = setting.report, setting.town.stack
    seconds = setting.count(30, 10)
    everyone = itertools.cycle(people)
    with stack.faults(FAULT):
        await _ask(WARM_SECONDS, address, everyone)
        with watched(stack.pids()) as usage:
            began = time.monotonic()
            load = await _ask(seconds, address, everyone)
    # Only what was answered while all clients were asking: the last answers come after the end.
    counted = [answer for answer in load.answers if answer[0] <= load.until and answer[2] == 200]
    reached = len(counted) / (load.until - began)
    report.figure(f"{name}: requests a second", reached, "/s")
    report.spread(f"{name}: request", [took for _, took, _ in counted])
    report.figure(f"{name}: its processor time for a request", usage.cpu[process] / len(load.answers) * 1000, "ms")
    usage.say(report)
    _tell_failures(report, name, load)
    return reached


async def _ask(seconds: float, address: str, people: Iterator[StackPerson]) -> Load:
    load = Load(time.monotonic() + seconds)
    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(load.keep_asking(address, people))
    return load


def _tell_failures(report: Report, name: str, load: Load) -> None:
    statuses = Counter(status for _, _, status in load.answers)
    failed = len(load.answers) - statuses[200]
    if failed:
        report.say(f"{name}: statuses {dict(statuses)}")
    report.hold(f"{name}: requests that failed", failed, 0)
