"""More turns than the providers' project quotas allow, from clients that obey Retry-After: is the quota used up?"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from bench.caller import Caller, Taken, callers, connections
from bench.figures import Report
from bench.machine import watched
from bench.scenario import Setting
from tests.support.recordings import recording

AGENT, HEARING, SPEAKING = 90, 300, 200
ENVIRONMENT = {
    "QUOTA_AGENT_PER_MINUTE": str(AGENT),
    "QUOTA_SPEECH_RECOGNIZE_PER_MINUTE": str(HEARING),
    "QUOTA_TEXTTOSPEECH_PER_MINUTE": str(SPEAKING),
    "FLEET_AGENT_PER_MINUTE": str(AGENT),
    "FLEET_HEARING_PER_MINUTE": str(HEARING),
    "FLEET_SPEAKING_PER_MINUTE": str(SPEAKING),
    "SCRIPTED_TRANSCRIPT": "What is on my calendar tomorrow",
    "SCRIPTED_REPLY": "Nothing at all. Enjoy the day.",
}
PEOPLE = 120
# Waiting for others to come back at the same second helps nobody; a well-behaved client spreads a little.
JITTER_SECONDS = 0.5
MINUTE = timedelta(minutes=1)


async def run(setting: Setting) -> None:
    """Offer turns for more than two and a half minutes. The agent's quota binds: each voice turn takes one of each."""
    report, town = setting.report, setting.town
    seconds = setting.count(200, 155)
    report.say(f"quotas a minute: agent {AGENT}, hearing {HEARING}, speaking {SPEAKING}; {PEOPLE} people want more")
    town.start(ENVIRONMENT)
    people = town.people(PEOPLE, report)
    clip = recording("webm", 1.0)
    taken: list[Taken] = []
    async with connections(town.stack.base_url) as client:
        crowd = await callers(client, people)
        await _until_nothing_is_taken(setting)
        began = datetime.now(UTC)
        until = time.monotonic() + seconds
        with watched(town.stack.pids()) as usage:
            async with asyncio.TaskGroup() as group:
                for caller in crowd:
                    group.create_task(_insist(caller, clip, until, taken))
                group.create_task(_progress(report, taken, until))
    usage.say(report)
    _tell(setting, taken, began, began + timedelta(seconds=seconds))


async def _until_nothing_is_taken(setting: Setting) -> None:
    """What was taken in the last minute, by a scenario before this one, would be missing from this one's quota."""
    last = "select extract(epoch from now()) - max(second) from fleet_uses"
    ((passed_seconds,),) = setting.town.ask_database(last)
    if passed_seconds is not None:
        await asyncio.sleep(max(62 - float(passed_seconds), 0))


async def _insist(caller: Caller, clip: tuple[bytes, str], until: float, taken: list[Taken]) -> None:
    while time.monotonic() < until:
        turn = await caller.turn(*clip)
        taken.append(turn)
        if not turn.completed:
            wait = (turn.retry_after_seconds or 1.0) + random.uniform(0, JITTER_SECONDS)
            await asyncio.sleep(min(wait, max(until - time.monotonic(), 0)))


async def _progress(report: Report, taken: list[Taken], until: float) -> None:
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(30, left))
        report.say(f"{sum(turn.completed for turn in taken)} turns taken, {len(taken)} offered")


def _tell(setting: Setting, taken: list[Taken], began: datetime, ended: datetime) -> None:
    report, ask = setting.report, setting.town.ask_database
    refused = Counter(f"{turn.status} {turn.code}" for turn in taken if not turn.completed)
    report.say(f"refused or failed: {dict(refused) or 'none'}")
    other = sum(count for what, count in refused.items() if what != "503 capacity")
    report.hold("turns that failed but by 503 capacity", other, 0)
    report.hold("503 capacity without Retry-After", sum(_speechless(turn) for turn in taken), 0)
    opened = [at for (at,) in ask("select created_at from turns where created_at >= %s order by 1", began)]
    minutes = _full_minutes(opened, began, ended)
    report.spread("agent's quota used in a full minute, any second on", [count / AGENT * 100 for count in minutes], "%")
    report.hold(
        "agent's quota used, mean of all full minutes",
        sum(minutes) / len(minutes) / AGENT * 100,
        95,
        at_most=False,
        unit=" %",
    )
    report.hold("turns begun in the fullest minute", max(minutes), AGENT)
    ((charged,),) = ask(
        "select count(*) from usage_events u where u.created_at >= %s and not exists "
        "(select from turns t where t.id = u.turn_id and t.status = 'completed')",
        began,
    )
    report.hold("usage rows of turns that were refused or failed", charged, 0)
    completed = sum(turn.completed for turn in taken)
    ((rows,),) = ask(
        "select count(distinct turn_id) from usage_events where created_at >= %s and turn_id = any(%s::uuid[])",
        began,
        [turn.turn_id for turn in taken if turn.completed],
    )
    report.hold("completed turns without usage rows", completed - rows, 0)


def _speechless(turn: Taken) -> bool:
    return turn.status == 503 and not turn.retry_after_seconds


def _full_minutes(opened: list[datetime], began: datetime, ended: datetime) -> list[int]:
    """How many turns began in each full minute of the load, moved on by a second each time."""
    counts, start = [], began
    while start + MINUTE <= ended:
        counts.append(sum(start <= at < start + MINUTE for at in opened))
        start += timedelta(seconds=1)
    return counts
