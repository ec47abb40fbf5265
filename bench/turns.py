"""Our own share of a streamed turn: first audio against the critical path, and against the same turn done serially."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from bench.alone import Alone
from bench.caller import Caller, Taken, callers, connections
from bench.figures import Report, median, quantile
from bench.machine import watched
from bench.scenario import Setting
from shared.assistant.models import SaidBefore
from tests.support.recordings import recording
from tests.support.stack import UNLIMITED

HEAR_MS, TOKEN_MS, SPEAK_MS = 300, 40, 150
QUESTION = "What is on my calendar tomorrow"
FIRST_SENTENCE = "Your first meeting tomorrow begins at nine in the morning."
REPLY = f"{FIRST_SENTENCE} Shall I keep the hours after it free?"
CRITICAL_PATH_MS = HEAR_MS + len(re.findall(r"\S+", FIRST_SENTENCE)) * TOKEN_MS + SPEAK_MS
ENVIRONMENT = {
    "SCRIPTED_TRANSCRIPT": QUESTION,
    "SCRIPTED_HEAR_MS": str(HEAR_MS),
    "SCRIPTED_SPEAK_MS": str(SPEAK_MS),
    "SCRIPTED_REPLY": REPLY,
    "SCRIPTED_TOKEN_MS": str(TOKEN_MS),
    "SCRIPTED_FIRST_TOKEN_MS": str(TOKEN_MS),
    **UNLIMITED,
}
FORMATS = ("pcm", "ogg_opus")
# One person may take thirty turns a minute: so many take them in turns that nobody reaches it.
PEOPLE = 8
HISTORY = [SaidBefore(role="user", text=QUESTION), SaidBefore(role="assistant", text=REPLY)] * 10


@dataclass
class Paths:
    """What the stand-ins took by themselves, in milliseconds."""

    hearing: list[float] = field(default_factory=list)
    thinking: list[float] = field(default_factory=list)
    speaking: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FORMATS})

    async def take(self, alone: Alone, clip: bytes) -> None:
        self.hearing.append(await alone.hearing(clip))
        self.thinking.append(await alone.thinking(QUESTION, FIRST_SENTENCE, HISTORY))
        for audio_format, measured in self.speaking.items():
            measured.append(await alone.speaking(FIRST_SENTENCE, audio_format))

    def median_ms(self, audio_format: str) -> float:
        return median(self.hearing) + median(self.thinking) + median(self.speaking[audio_format])


async def run(setting: Setting) -> None:
    """Measure streamed turns one after the other, with the stand-ins alone and serial turns in between."""
    report, town = setting.report, setting.town
    turns = setting.count(200, 40)
    report.say(f"the stand-ins take {HEAR_MS} ms to hear, {TOKEN_MS} ms a token, {SPEAK_MS} ms to the first sound")
    report.say(f"critical path: {CRITICAL_PATH_MS} ms; {turns} turns for each format, one at a time")
    town.start(ENVIRONMENT)
    people = town.people(PEOPLE, report)
    clip, content_type = recording("webm", 3.0)
    taken: dict[str, list[Taken]] = {name: [] for name in FORMATS}
    paths, serial = Paths(), list[float]()
    async with connections(town.stack.base_url) as client, Alone(town.stack.places) as alone:
        crowd = await callers(client, people)
        for caller in crowd:
            await caller.turn(clip, content_type)
        await paths.take(alone, clip)
        paths = Paths()
        with watched(town.stack.pids()) as usage:
            for number in range(turns):
                caller = crowd[number % PEOPLE]
                for audio_format in FORMATS:
                    taken[audio_format].append(await caller.turn(clip, content_type, audio_format))
                if number % 4 == 0:
                    await paths.take(alone, clip)
                if number % 10 == 0:
                    serial.append(await _serially(crowd[(number + 1) % PEOPLE], clip, content_type))
    usage.say(report)
    _tell(report, taken, paths, serial)


async def _serially(caller: Caller, clip: bytes, content_type: str) -> float:
    """Milliseconds until the same answer can be heard when everything waits for everything before it."""
    client, headers = caller.client, caller.headers
    began = time.monotonic()
    heard = await client.post(
        "/v1/voice/transcriptions", content=clip, headers=headers | {"Content-Type": content_type}
    )
    assert heard.status_code == 200, heard.text
    path, key = f"/v1/sessions/{caller.session_id}/turns", f"serial-{time.monotonic_ns()}"
    thought = await client.post(
        path, params={"speak": False}, json={"text": heard.json()["text"]}, headers=headers | {"Idempotency-Key": key}
    )
    assert thought.status_code == 201, thought.text
    wanted = {"text": thought.json()["reply"], "audio_format": "ogg_opus"}
    spoken = await client.post("/v1/voice/speech", json=wanted, headers=headers)
    assert spoken.status_code == 200, spoken.text
    return (time.monotonic() - began) * 1000


def _tell(report: Report, taken: dict[str, list[Taken]], paths: Paths, serial: list[float]) -> None:
    report.spread("alone: hearing", paths.hearing)
    report.spread("alone: thinking to the first sentence's end", paths.thinking)
    for audio_format in FORMATS:
        report.spread(f"alone: speaking {audio_format} to the first byte", paths.speaking[audio_format])
    for audio_format in FORMATS:
        failed = [turn.code for turn in taken[audio_format] if not turn.completed]
        report.hold(f"{audio_format}: turns that failed", len(failed), 0)
        _tell_format(report, audio_format, [t for t in taken[audio_format] if t.completed], paths)
    report.spread("the same turn done serially", serial)
    streamed = median([turn.first_audio_ms or 0.0 for turn in taken["ogg_opus"]])
    report.say(f"streamed, an answer begins to sound {median(serial) / streamed:.2f} times as soon as serially")


def _tell_format(report: Report, name: str, turns: list[Taken], paths: Paths) -> None:
    first = [turn.first_audio_ms or 0.0 for turn in turns]
    own = [value - CRITICAL_PATH_MS for value in first]
    path = paths.median_ms(name)
    report.spread(f"{name}: first audio", first)
    report.spread(f"{name}: own time (to the nominal path)", own)
    report.spread(f"{name}: own time (to the path measured alone)", [value - path for value in first])
    for stage in sorted({stage for turn in turns for stage in turn.timings_ms}):
        report.spread(f"{name}: stage {stage}", [turn.timings_ms[stage] for turn in turns if stage in turn.timings_ms])
    inside = [turn.first_audio_ms - turn.timings_ms["first_audio"] for turn in turns if turn.first_audio_ms]
    report.spread(f"{name}: before and after the turn's own clock", inside)
    report.spread(f"{name}: between the stages", [_between(turn.timings_ms) for turn in turns])
    ratio = median(first) / CRITICAL_PATH_MS
    report.hold(f"{name}: first audio / critical path, median", ratio, 1.05)
    report.hold(f"{name}: own time, p50", median(own), 25, unit=" ms")
    report.hold(f"{name}: own time, p99", quantile(own, 0.99), 60, unit=" ms")


def _between(timings: dict[str, float]) -> float:
    """What passes until the first audio outside of the stages that make it."""
    before = max(timings["open"], timings["upload"])
    stages = before + timings["hear"] + timings["agent_first_sentence"] + timings["speech_first_byte"]
    return timings["first_audio"] - stages
