"""Spoken parts as one file, made while they are read: memory does not grow with their number or length.

MP3 carries its chapters as ID3 frames (https://id3.org/id3v2-chapters-1.0), Ogg as comments named CHAPTER000
(https://wiki.xiph.org/Chapter_Extension), both at the front; WAV has no place for them (see `chapters_document`).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal

import av

from shared.jobs.joining_rules import FADE_SAMPLES, SAMPLE_RATE_HERTZ, Plan, SpokenPart, fade, planned

SpokenFormat = Literal["mp3", "ogg_opus", "wav"]

_BLOCK_BYTES: Final = 2 * SAMPLE_RATE_HERTZ
_WAV_HEADER_BYTES: Final = 36


@dataclass(frozen=True)
class _Form:
    """FFmpeg's names for a container and a codec, the codec's rate, and the container's own options."""

    container: str
    codec: str
    rate: int
    bit_rate: int
    options: dict[str, str]


_FORMS: Final[dict[SpokenFormat, _Form]] = {
    # Its index of the whole file could only be written at the end, by going back to the front.
    "mp3": _Form("mp3", "libmp3lame", SAMPLE_RATE_HERTZ, 64_000, {"write_xing": "0", "id3v2_version": "3"}),
    "ogg_opus": _Form("ogg", "libopus", 48_000, 32_000, {}),
}


def joined(
    parts: Sequence[SpokenPart], sounds: Iterable[Iterable[bytes]], audio_format: SpokenFormat
) -> Iterator[bytes]:
    """One file out of the parts' samples (24 kHz, mono, s16le), which `sounds` gives in the order of `parts`.

    It computes, and blocks while `sounds` does, so it belongs on a thread.

    Raises:
        ValueError: a part has not as many samples as was announced.
    """
    plan = planned(parts)
    pcm = _pcm(parts, plan, sounds)
    if audio_format == "wav":
        yield _wav_header(plan.samples)
        yield from pcm
    else:
        yield from _encoded(pcm, plan, _FORMS[audio_format])


def _pcm(parts: Sequence[SpokenPart], plan: Plan, sounds: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    for number, (part, pause, sound) in enumerate(zip(parts, plan.pauses, sounds, strict=True)):
        yield from _silence(pause)
        position = 0
        for run in _runs(sound):
            if position + len(run) > part.samples:
                break
            yield _faded(run, position, part.samples)
            position += len(run)
        else:
            if position == part.samples:
                continue
        raise ValueError(f"part {number} was announced with {part.samples} samples and has another number")


def _silence(samples: int) -> Iterator[bytes]:
    while samples > 0:
        block = min(samples, SAMPLE_RATE_HERTZ)
        yield bytes(2 * block)
        samples -= block


def _runs(sound: Iterable[bytes]) -> Iterator[array[int]]:
    """Whole samples in blocks of a bounded size, however the bytes were divided."""
    waiting = bytearray()
    for chunk in sound:
        waiting += chunk
        while len(waiting) >= _BLOCK_BYTES:
            yield array("h", bytes(waiting[:_BLOCK_BYTES]))
            del waiting[:_BLOCK_BYTES]
    if waiting:
        yield array("h", bytes(waiting[: len(waiting) - len(waiting) % 2]))


def _faded(run: array[int], position: int, samples: int) -> bytes:
    """The run with the edges of its part softened."""
    for at in range(max(min(FADE_SAMPLES - position, len(run)), 0)):
        run[at] = int(run[at] * fade(position + at, samples))
    first = max(samples - FADE_SAMPLES - position, FADE_SAMPLES - position, 0)
    for at in range(first, len(run)):
        run[at] = int(run[at] * fade(position + at, samples))
    return run.tobytes()


def _wav_header(samples: int) -> bytes:
    """RIFF, WAVE, one format and one data chunk: mono, 16 bit."""
    size = 2 * samples
    riff = struct.pack("<4sI4s", b"RIFF", _WAV_HEADER_BYTES + size, b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE_HERTZ, 2 * SAMPLE_RATE_HERTZ, 2, 16)
    return riff + form + struct.pack("<4sI", b"data", size)


def _encoded(pcm: Iterator[bytes], plan: Plan, form: _Form) -> Iterator[bytes]:
    pipe = _Pipe()
    with av.open(pipe, "w", format=form.container, options=form.options) as container:
        stream: Any = container.add_stream(form.codec, rate=form.rate)
        stream.layout = "mono"
        stream.bit_rate = form.bit_rate
        container.set_chapters(_chapters(plan))
        context = stream.codec_context
        context.open()
        resampler: Any = av.AudioResampler(
            format=context.format.name, layout="mono", rate=form.rate, frame_size=context.frame_size or None
        )
        for block in filter(None, pcm):
            _mux(container, stream, resampler.resample(_frame(block)))
            if made := pipe.taken():
                yield made
        _mux(container, stream, resampler.resample(None))
        container.mux(stream.encode(None))
    yield pipe.taken()


def _mux(container: Any, stream: Any, frames: list[Any]) -> None:
    for frame in frames:
        container.mux(stream.encode(frame))


def _frame(block: bytes) -> Any:
    frame: Any = av.AudioFrame(format="s16", layout="mono", samples=len(block) // 2)
    frame.sample_rate = SAMPLE_RATE_HERTZ
    frame.planes[0].update(block)
    return frame


def _chapters(plan: Plan) -> list[Any]:
    return [
        {
            "id": number,
            "start": chapter.start_ms,
            "end": chapter.end_ms,
            "time_base": Fraction(1, 1000),
            "metadata": {"title": chapter.title},
        }
        for number, chapter in enumerate(plan.chapters)
    ]


class _Pipe:
    """A file that is only written onwards; what was written is taken out between the blocks."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        self._bytes += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken
