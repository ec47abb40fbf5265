"""Long recordings that are made while they are read, and joined voices of which is known who speaks when."""

from __future__ import annotations

import io
import json
import struct
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

VOICES = Path(__file__).resolve().parent.parent / "data" / "voices"
TRANSCRIPTS: dict[str, str] = json.loads((VOICES / "transcripts.json").read_text(encoding="utf-8"))
RATE = 16_000

Samples = npt.NDArray[np.int16]


class Pipe:
    """A file that can only be read onwards, as a body from the network."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(size)


class GrowingWav:
    """A WAV file of any length, made block by block while it is read: nobody holds it whole."""

    def __init__(self, seconds: float, block: Callable[[int], bytes], *, rate: int = RATE, channels: int = 1) -> None:
        """`block(n)` gives the samples (s16le, interleaved) of second n."""
        self._left = int(seconds * rate) * 2 * channels
        self._block, self._second = block, 0
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
        riff = struct.pack("<4sI4s", b"RIFF", 36 + self._left, b"WAVE")
        self._waiting = bytearray(riff + form + struct.pack("<4sI", b"data", self._left))

    def read(self, size: int) -> bytes:
        while len(self._waiting) < size and self._left:
            made = self._block(self._second)[: self._left]
            self._second += 1
            self._left -= len(made)
            self._waiting += made
        taken = bytes(self._waiting[:size])
        del self._waiting[:size]
        return taken


@cache
def voice(name: str) -> Samples:
    with wave.open(str(VOICES / name), "rb") as file:
        assert file.getframerate() == RATE
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@dataclass(frozen=True)
class Joined:
    """Voices one after the other. `spans` are the seconds in which each clip's words lie."""

    samples: Samples
    spans: list[tuple[float, float]]
    texts: list[str]


def joined_voices(seconds: float, gaps: tuple[float, float], noise: float = 0.0, seed: int = 1) -> Joined:
    """Clips with silences of random lengths between them; `noise` is the level of white noise, full scale 1."""
    random = np.random.default_rng(seed)
    parts: list[Samples] = []
    spans, texts, at = [], [], 0
    names = sorted(TRANSCRIPTS)
    while at < seconds * RATE:
        name = names[int(random.integers(len(names)))]
        gap = int(random.uniform(*gaps) * RATE)
        clip = voice(name)
        loud = np.flatnonzero(np.abs(clip.astype(np.int32)) > 0.05 * np.abs(clip.astype(np.int32)).max())
        clip = clip[max(loud[0] - 400, 0) : loud[-1] + 400]
        parts += [np.zeros(gap, np.int16), clip]
        spans.append(((at + gap) / RATE, (at + gap + len(clip)) / RATE))
        texts.append(TRANSCRIPTS[name])
        at += gap + len(clip)
    samples = np.concatenate(parts).astype(np.float32)
    if noise:
        samples += random.normal(0, noise * 32768, len(samples)).astype(np.float32)
    return Joined(np.clip(samples, -32768, 32767).astype(np.int16), spans, texts)


def as_wav(samples: Samples, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def beeping(seconds: int, rate: int) -> Samples:
    """A short tone at the start of each second, whose pitch tells which second it is."""
    moments = np.arange(seconds * rate) / rate
    whole = np.floor(moments)
    tone = np.sin(2 * np.pi * (400 + 20 * whole) * moments) * 9000
    # A floor of noise, so that a codec spends its bytes evenly.
    floor = np.random.default_rng(0).normal(0, 30, len(moments))
    return np.where(moments - whole < 0.2, tone, floor).astype(np.int16)


def beeps(pcm: bytes) -> Iterator[tuple[float, int]]:
    """Where tones of `beeping` begin, in seconds, and which second each belongs to."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    loud = np.sqrt((frames**2).mean(axis=1)) > 2000
    for frame in np.flatnonzero(loud & ~np.concatenate([[False], loud[:-1]])):
        start = int(frame) * 160
        tone = samples[start + 800 : start + 2400]
        if len(tone) == 1600:
            pitch = int(np.argmax(np.abs(np.fft.rfft(tone * np.hanning(1600), RATE))))
            yield start / RATE, round((pitch - 400) / 20)
