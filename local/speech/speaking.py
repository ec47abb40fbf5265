"""Engines that turn text into speech: a real one, and a scripted one for tests and benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

SAMPLE_RATE: Final = 24_000
Samples = npt.NDArray[np.float32]

_TONE_HERTZ: Final = 220.0
_TONE_LEVEL: Final = 0.2
_SECONDS_PER_CHARACTER: Final = 0.06
_FADE_SECONDS: Final = 0.01


class Mouth(Protocol):
    """What a synthesizer needs of an engine."""

    async def ready(self) -> None:
        """Return when the engine is loaded and warm; raise what kept it from loading."""

    def speak(self, text: str, rate: float) -> AsyncIterator[Samples]:
        """The text as mono samples between -1 and 1 at `SAMPLE_RATE`, in pieces as they are made."""


class HibariMouth:
    """Hibari's English voice. One sentence at a time in one thread, so that several streams take turns by sentence."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hibari")
        self._engine: Any = None
        self._loading = asyncio.ensure_future(self._run(self._load))

    async def ready(self) -> None:
        await asyncio.shield(self._loading)

    async def speak(self, text: str, rate: float) -> AsyncIterator[Samples]:
        await self.ready()
        for phonemes in await self._run(self._engine.phonemize, text):
            samples: Samples = await self._run(self._engine.from_phonemes, phonemes, rate)
            if samples.size:
                yield samples

    async def _run(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _load(self) -> None:
        from hibari import Hibari

        self._engine = Hibari(threads=1)
        for text in ("Hello.", "How can I help you today?"):
            self._engine(text)


class ScriptedMouth:
    """Makes a tone as long as the text would take to say, after a fixed time: for tests and benchmarks."""

    def __init__(self, speak_ms: float) -> None:
        self._speak_ms = speak_ms

    async def ready(self) -> None:
        return

    async def speak(self, text: str, rate: float) -> AsyncIterator[Samples]:
        await asyncio.sleep(self._speak_ms / 1000)
        if text.strip():
            yield _tone(round(len(text) * _SECONDS_PER_CHARACTER / rate * SAMPLE_RATE))


@lru_cache(maxsize=256)
def _tone(count: int) -> Samples:
    moments = np.arange(count, dtype=np.float32) / SAMPLE_RATE
    tone = (_TONE_LEVEL * np.sin(2 * np.pi * _TONE_HERTZ * moments)).astype(np.float32)
    fade = np.clip(np.minimum(moments, moments[::-1]) / _FADE_SECONDS, 0.0, 1.0)
    samples: Samples = (tone * fade).astype(np.float32)
    samples.setflags(write=False)
    return samples
