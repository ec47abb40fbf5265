"""Long recordings, and the sound of videos, as one even stream of samples: 16 kHz, mono, s16le, whatever they were.

A recording is read once, from the front, and never held whole. What is damaged in the middle becomes silence of the
same length, so that everything behind it keeps its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

import av

from shared.jobs.media_models import Span
from shared.runtime.errors import TooLarge, Unprocessable
from shared.voice.rules import OPENED_CONTAINERS

SAMPLE_RATE_HERTZ: Final = 16_000
MAX_RECORDING_SECONDS: Final = 4 * 3600

_MAX_SAMPLES: Final = MAX_RECORDING_SECONDS * SAMPLE_RATE_HERTZ
# A header that rounds its lengths up is no reason to refuse a recording of exactly four hours.
_GRACE_SAMPLES: Final = SAMPLE_RATE_HERTZ
# Containers round times to milliseconds, and clocks of sound cards drift: only a larger step is a gap.
_GAP_SECONDS: Final = 0.1
_FAILURES_IN_A_ROW: Final = 64
_SILENCE_BLOCK: Final = bytes(2 * SAMPLE_RATE_HERTZ)
# Without these lists an upload may be a playlist, and the library would open the files and addresses that it names.
_READ_ONLY_THESE: Final = {"format_whitelist": f"{OPENED_CONTAINERS},aac", "protocol_whitelist": "none"}
# The headers of these streams hold no times: what is missing can only be told by the bytes that are.
_TIMELESS: Final = frozenset({"mp3", "aac"})
# ADTS counts a frame's bytes in 13 bits; MP3's frames are shorter.
_LONGEST_FRAME_BYTES: Final = 8191
_PACKETS_UNTIL_STEADY: Final = 64
# A shorter silence may be how a recorder saves space; behind a longer one something is missing.
_MISSING_SECONDS: Final = 0.5


class Readable(Protocol):
    """A file that is read from the front; one that can seek too may be an MP4 whose index is at its end."""

    def read(self, size: int, /) -> bytes: ...


class Decoder:
    """Reads one recording. `blocks` gives its samples; `skipped` and `samples` grow while it does."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self.skipped: list[Span] = []
        self.samples = 0
        self._resampler: Any = None
        self._shape: tuple[Any, ...] = ()
        self._zero: float | None = None
        self._fed = 0.0
        self._damaged = False
        self._pace = _BytePace()

    @property
    def duration_ms(self) -> int:
        return _milliseconds(self.samples)

    def blocks(self) -> Iterator[bytes]:
        """The samples, in blocks of any length. It blocks, so it belongs on a thread.

        Raises:
            Unprocessable: no recording (`audio_unreadable`), a file without sound (`audio_missing`), or a container
                that this source cannot be read in (`audio_unreadable`).
            TooLarge: longer than four hours (`recording_too_long`).
        """
        try:
            container: Any = av.open(
                _only_readable(self._source), mode="r", metadata_errors="ignore", options=_READ_ONLY_THESE
            )
        except (av.FFmpegError, ValueError, UnicodeDecodeError) as error:
            raise _unreadable() from error
        with container:
            if not container.streams.audio:
                raise Unprocessable("There is no sound in this file.", code="audio_missing")
            yield from self._limited(self._read(container))
        if self.samples == 0:
            raise _unreadable()

    def _limited(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.samples += len(block) // 2
            if self.samples > _MAX_SAMPLES + _GRACE_SAMPLES:
                raise TooLarge("The recording is longer than four hours. Send it in parts.", code="recording_too_long")
            if block:
                yield block

    def _read(self, container: Any) -> Iterator[bytes]:
        stream = container.streams.audio[0]
        if container.start_time is not None:
            self._zero = container.start_time / av.time_base
        timeless = container.format.name in _TIMELESS
        for packet in self._packets(container, stream):
            if timeless:
                yield from self._lost_bytes(packet)
            for frame in self._frames(packet):
                yield from self._take(frame)
        yield from self._flush()
        if self._damaged and container.duration:
            self._skip_to(min(container.duration / av.time_base, float(MAX_RECORDING_SECONDS)))

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """The packets of the stream, with those left out that cannot be read."""
        failures = 0
        while failures < _FAILURES_IN_A_ROW:
            try:
                for packet in container.demux(stream):
                    failures = 0
                    yield packet
            except (av.FFmpegError, ValueError):
                failures += 1
                self._damaged = True
            else:
                return

    def _frames(self, packet: Any) -> list[Any]:
        try:
            frames: list[Any] = packet.decode()
        except (av.FFmpegError, ValueError):
            self._damaged = True
            self._pace.disturbed()
            return []
        return frames

    def _lost_bytes(self, packet: Any) -> Iterator[bytes]:
        time = self._pace.seconds_at(packet, self._fed)
        if time is None or time - self._fed <= _GAP_SECONDS:
            return
        self._damaged = True
        # The demuxer's clock stands still in the gap.
        self._zero = (self._zero or 0.0) - (time - self._fed)
        yield from self._gap(time)

    def _take(self, frame: Any) -> Iterator[bytes]:
        yield from self._in_time(frame)
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            yield from self._flush()
            self._shape = shape
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HERTZ)
        self._fed += frame.samples / frame.sample_rate
        # Times are kept here; the resampler must not mend them a second time.
        frame.pts = None
        yield from _samples(self._resampler.resample(frame))

    def _in_time(self, frame: Any) -> Iterator[bytes]:
        """Silence up to the frame's time, if there is a gap before it."""
        if frame.pts is None or frame.time_base is None:
            self._damaged = False
            return
        time = float(frame.pts * frame.time_base)
        if self._zero is None:
            self._zero = time
        gap = time - self._zero - self._fed
        # Clocks that jump back or out of all bounds are wrong: the sound goes on where it is.
        if gap < -_GAP_SECONDS or self._fed + gap > MAX_RECORDING_SECONDS:
            self._zero = time - self._fed
        elif gap > (0.0 if self._damaged else _GAP_SECONDS):
            yield from self._gap(self._fed + gap)
        self._damaged = False

    def _gap(self, until: float) -> Iterator[bytes]:
        yield from self._flush()
        samples = round((until - self._fed) * SAMPLE_RATE_HERTZ)
        if self._damaged or until - self._fed > _MISSING_SECONDS:
            self._skip_to(until)
        self._fed = until
        while samples > 0:
            block = _SILENCE_BLOCK[: 2 * samples]
            samples -= len(block) // 2
            yield block

    def _skip_to(self, until: float) -> None:
        start, end = round(self._fed * 1000), round(until * 1000)
        if end - start < round(_GAP_SECONDS * 1000):
            return
        if self.skipped and start <= self.skipped[-1].end_ms:
            start = self.skipped.pop().start_ms
        self.skipped.append(Span(start, end))

    def _flush(self) -> Iterator[bytes]:
        if self._resampler is not None:
            yield from _samples(self._resampler.resample(None))
            self._resampler, self._shape = None, ()


class _BytePace:
    """The time of a packet by its place in the file, for streams without times, once something in them was damaged.

    It goes by the pace before the damage: exact where the bit rate is constant, an estimate where it is not.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0
        self._anchor = (0, 0.0)
        self._unsteady = 0

    def disturbed(self) -> None:
        """Something could not be decoded."""
        self._unsteady = _PACKETS_UNTIL_STEADY

    def seconds_at(self, packet: Any, fed: float) -> float | None:
        """When the packet begins; None while the stream is undisturbed and `fed` is right."""
        if packet.pos is None or packet.pos < 0 or not packet.duration or packet.time_base is None:
            return None
        time = None
        if self._unsteady and self._seconds:
            position, seconds = self._anchor
            time = seconds + (packet.pos - position) * self._seconds / self._bytes
            self._unsteady -= 1
        else:
            self._anchor = (packet.pos, fed)
        if packet.size > _LONGEST_FRAME_BYTES:
            # What is no frame is handed on as the end of one.
            self.disturbed()
        elif not self._unsteady:
            self._bytes += packet.size
            self._seconds += float(packet.duration * packet.time_base)
        return time


class _OnlyRead:
    """Hides that a pipe has a `seek` which it cannot do."""

    def __init__(self, source: Readable) -> None:
        self._source = source

    def read(self, size: int) -> bytes:
        return self._source.read(size)


def _only_readable(source: Readable) -> Readable:
    seekable = getattr(source, "seekable", None)
    return source if seekable is not None and seekable() else _OnlyRead(source)


def _samples(frames: list[Any]) -> Iterator[bytes]:
    for frame in frames:
        yield bytes(frame.planes[0])[: 2 * frame.samples]


def _milliseconds(samples: int) -> int:
    return round(samples * 1000 / SAMPLE_RATE_HERTZ)


def _unreadable() -> Unprocessable:
    return Unprocessable("This is not a recording that can be read, or it was cut off.", code="audio_unreadable")
