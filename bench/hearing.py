"""Human recordings through the real HTTP interface, as WAV and as browsers send them: word error rates."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import wave
from collections.abc import Mapping
from pathlib import Path

import httpx
import jiwer
import numpy
from numpy.typing import NDArray

from bench.caller import connections
from bench.scenario import Setting
from tests.support.recordings import KINDS, encode
from tests.support.stack import UNLIMITED

VOICES = Path(__file__).resolve().parents[1] / "tests" / "data" / "voices"
# Debian's alsa-utils brings a woman who says which loudspeaker one should hear; the file's name is what she says.
ANNOUNCEMENTS = Path("/usr/share/sounds/alsa")
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
PEOPLE = 6


async def run(setting: Setting) -> None:
    """Word error rate over all recordings, for each way of sending them."""
    report, town = setting.report, setting.town
    references = _references(setting)
    words = sum(len(text.split()) for text in references.values())
    report.say(f"{len(references)} human recordings, {words} words, heard by the local engine")
    town.start({"SPEECH_ENGINE": "local", "QUOTA_SPEECH_RECOGNIZE_PER_MINUTE": "0", **UNLIMITED})
    people = itertools.cycle(town.people(PEOPLE, report))
    async with connections(town.stack.base_url) as client:
        for kind in ("wav", "webm"):
            said, found, took = [], [], []
            for path, reference in references.items():
                answer = await _heard(client, next(people).headers, path, kind)
                text = "" if answer.status_code == 422 else str(answer.raise_for_status().json()["text"])
                said.append(_normalized(reference))
                found.append(_normalized(text))
                took.append(answer.elapsed.total_seconds() * 1000)
                right = "     " if said[-1] == found[-1] else "wrong"
                report.say(f"{kind:<4} {right} {path.name:<24} {reference!r} → {text!r}")
            report.spread(f"{kind}: request", took)
            report.hold(f"{kind}: word error rate", jiwer.wer(said, found) * 100, 15, unit=" %")


def _references(setting: Setting) -> Mapping[Path, str]:
    """What is said in each recording; a recording that several folders hold counts once."""
    found: dict[Path, str] = {}
    for folder in (VOICES, *setting.voices):
        known = json.loads((folder / "transcripts.json").read_text(encoding="utf-8"))
        found |= {folder / name: text for name, text in sorted(known.items()) if (folder / name).exists()}
    spoken = [path for path in sorted(ANNOUNCEMENTS.glob("*.wav")) if path.stem != "Noise"]
    found |= {path: path.stem.replace("_", " ").lower() for path in spoken}
    return {path: found[path] for path in {path.read_bytes(): path for path in reversed(found)}.values()}


async def _heard(client: httpx.AsyncClient, headers: Mapping[str, str], path: Path, kind: str) -> httpx.Response:
    data = await asyncio.to_thread(_recorded, path, kind)
    return await client.post(
        "/v1/voice/transcriptions", content=data, headers={**headers, "Content-Type": KINDS[kind][3]}
    )


def _recorded(path: Path, kind: str) -> bytes:
    return path.read_bytes() if kind == "wav" else encode(*_samples(path), kind)


def _samples(path: Path) -> tuple[NDArray[numpy.int16], int]:
    with wave.open(str(path), "rb") as file:
        return numpy.frombuffer(file.readframes(file.getnframes()), numpy.int16), file.getframerate()


def _normalized(text: str) -> str:
    """Lower case, no punctuation, small figures as words, as the field compares transcripts."""
    words = re.sub(r"[^\w\s']", " ", text.lower()).split()
    return " ".join(NUMBERS[int(word)] if word.isdigit() and int(word) <= 10 else word for word in words)
