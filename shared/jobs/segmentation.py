"""From a long recording to segments that can be recognized side by side. Memory stays that of one segment."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import av

from shared.jobs.activity import WINDOW_BYTES, Detector
from shared.jobs.decoding import SAMPLE_RATE_HERTZ, Decoder, Readable
from shared.jobs.media_models import Cut, RecordingReport, Segment
from shared.jobs.segment_rules import WINDOW_MS, Cutter

SEGMENT_CONTENT_TYPE: Final = "audio/flac"
_MEASURED_WINDOWS: Final = 32


class Segmentation:
    """Reads one recording. `segments` gives them in their order; `report` is complete when it has ended.

    The same bytes give the same segments on the same machine.
    """

    def __init__(self, source: Readable) -> None:
        self._decoder = Decoder(source)
        self._detector = Detector()
        self._cutter = Cutter()
        self._sound = bytearray()
        self._sound_from = 0
        self._count = 0

    def segments(self) -> Iterator[Segment]:
        """It blocks and computes, so it belongs on a thread. Silence gives none.

        Raises:
            OprinaError: see `Decoder.blocks`.
        """
        waiting = bytearray()
        for block in self._decoder.blocks():
            waiting += block
            whole = len(waiting) - len(waiting) % (WINDOW_BYTES * _MEASURED_WINDOWS)
            if whole:
                yield from self._measure(bytes(waiting[:whole]))
                del waiting[:whole]
        padding = -len(waiting) % WINDOW_BYTES
        yield from self._measure(bytes(waiting) + bytes(padding))
        yield from self._made(self._cutter.finish())

    def report(self) -> RecordingReport:
        return RecordingReport(
            duration_ms=self._decoder.duration_ms,
            speech_ms=self._cutter.spoken_windows * WINDOW_MS,
            segments=self._count,
            skipped=tuple(self._decoder.skipped),
        )

    def _measure(self, pcm: bytes) -> Iterator[Segment]:
        if not pcm:
            return
        self._sound += pcm
        for window in self._detector.windows(pcm):
            yield from self._made(self._cutter.feed(window))
        self._forget()

    def _made(self, cuts: list[Cut]) -> Iterator[Segment]:
        for cut in cuts:
            yield Segment(
                index=self._count,
                start_ms=cut.start * WINDOW_MS,
                end_ms=min(cut.stop * WINDOW_MS, self._decoder.duration_ms),
                overlap_before_ms=cut.shared_before * WINDOW_MS,
                overlap_after_ms=cut.shared_after * WINDOW_MS,
                data=as_flac(self._between(cut.start, cut.stop)),
            )
            self._count += 1

    def _between(self, start: int, stop: int) -> bytes:
        first, last = start - self._sound_from, stop - self._sound_from
        return bytes(self._sound[first * WINDOW_BYTES : last * WINDOW_BYTES])

    def _forget(self) -> None:
        needed = self._cutter.needed_from
        del self._sound[: (needed - self._sound_from) * WINDOW_BYTES]
        self._sound_from = needed


def as_flac(pcm: bytes) -> bytes:
    """Samples (16 kHz, mono, s16le) as a FLAC file: half the size, and nothing of the sound is lost."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream: Any = container.add_stream("flac", rate=SAMPLE_RATE_HERTZ)
        stream.layout = "mono"
        stream.format = "s16"
        frame: Any = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.sample_rate = SAMPLE_RATE_HERTZ
        frame.planes[0].update(pcm)
        pieces = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HERTZ, frame_size=stream.frame_size)
        for piece in [*pieces.resample(frame), *pieces.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return buffer.getvalue()
