"""Eighty turns at any time on one instance, against slow stand-ins: does one fail, and does memory grow?"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.caller import Caller, Taken, callers, connections
from bench.figures import Report
from bench.machine import memory_mib, watched
from bench.scenario import Setting
from tests.support.recordings import recording
from tests.support.stack import UNLIMITED

CONCURRENCY = 80
PEOPLE = 200
ENVIRONMENT = {
    "SCRIPTED_TRANSCRIPT": "What is on my calendar tomorrow",
    "SCRIPTED_REPLY": "Your first meeting tomorrow begins at nine. Shall I keep the hours after it free?",
    "SCRIPTED_HEAR_MS": "800",
    "SCRIPTED_FIRST_TOKEN_MS": "400",
    "SCRIPTED_TOKEN_MS": "40",
    "SCRIPTED_SPEAK_MS": "300",
    **UNLIMITED,
}
# How often memory is looked at, in turns; and how much it may differ from one third of all turns to the next.
LOOK_EVERY = 50
GROWTH_PERCENT = 2.0


@dataclass
class Memory:
    """Resident and proportional MiB of the instance, each time with the turns that had ended."""

    pid: int
    seen: list[tuple[int, float, float]] = field(default_factory=list)

    def look(self, turns: int) -> None:
        self.seen.append((turns, *memory_mib(self.pid)))

    def mean(self, after: int, until: int, which: int) -> float:
        chosen = [seen[which] for seen in self.seen if after < seen[0] <= until]
        return sum(chosen) / len(chosen)


async def run(setting: Setting) -> None:
    """Take turns, always so many at once; the instance is the gateway's process, with all functions inside."""
    report, town = setting.report, setting.town
    turns = setting.count(3000, 600)
    report.say(f"{turns} turns by {PEOPLE} people, {CONCURRENCY} at any time, one process with all functions")
    town.start(ENVIRONMENT)
    people = town.people(PEOPLE, report)
    clip = recording("webm", 3.0)
    memory = Memory(town.stack.pids()["gateway"])
    taken: list[Taken] = []
    async with connections(town.stack.base_url) as client:
        idle = asyncio.Queue[Caller]()
        for caller in await callers(client, people):
            idle.put_nowait(caller)
        tickets = iter(range(turns))
        began = time.monotonic()
        with watched(town.stack.pids()) as usage:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENCY):
                    group.create_task(_work(tickets, idle, clip, taken, memory, report))
    seconds = time.monotonic() - began
    usage.say(report)
    report.figure("turns a second", turns / seconds, "/s")
    report.figure("the instance's processor time for a turn", usage.cpu["gateway"] / turns * 1000, "ms")
    _tell(report, taken, memory, turns)


async def _work(
    tickets: Iterator[int],
    idle: asyncio.Queue[Caller],
    clip: tuple[bytes, str],
    taken: list[Taken],
    memory: Memory,
    report: Report,
) -> None:
    for _ in tickets:
        caller = await idle.get()
        taken.append(await caller.turn(*clip))
        idle.put_nowait(caller)
        done = len(taken)
        if done % LOOK_EVERY == 0:
            memory.look(done)
        if done % 250 == 0:
            _, resident, proportional = memory.seen[-1]
            failed = sum(not turn.completed for turn in taken)
            report.say(f"{done} turns, {failed} failed; memory {resident:.1f} MiB resident, {proportional:.1f} own")


def _tell(report: Report, taken: list[Taken], memory: Memory, turns: int) -> None:
    failed = Counter(f"{turn.status} {turn.code} {turn.speech or ''}" for turn in taken if not turn.completed)
    if failed:
        report.say(f"failed: {dict(failed)}")
    good = [turn for turn in taken if turn.completed]
    report.spread("first audio", [turn.first_audio_ms or 0.0 for turn in good])
    report.spread("whole turn", [turn.whole_ms for turn in good])
    report.hold("turns that failed", sum(failed.values()), 0)
    third = turns // 3
    for which, name in ((1, "resident"), (2, "proportional")):
        thirds = [memory.mean(at * third, (at + 1) * third, which) for at in range(3)]
        said = ", ".join(f"{value:.1f}" for value in thirds)
        report.say(f"{name} memory in each third of the turns: {said} MiB")
        report.figures[f"{name} memory by thirds"] = {"unit": "MiB", "values": [round(value, 1) for value in thirds]}
    # Proportional memory also moves when a stranger that shares a library ends, so resident memory decides.
    second, last = (memory.mean(at * third, (at + 1) * third, 1) for at in (1, 2))
    report.hold("growth of memory, second third to last", (last / second - 1) * 100, GROWTH_PERCENT, unit=" %")
