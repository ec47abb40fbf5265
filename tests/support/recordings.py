"""Recordings as browsers and phones make them, made here: tones and silence in every container we take."""

from __future__ import annotations

import io
import math
import wave
from functools import cache

import av
import numpy
from numpy.typing import NDArray

# Container, codec, sample rate, media type.
KINDS = {
    "webm": ("webm", "libopus", 48_000, "audio/webm;codecs=opus"),
    "ogg": ("ogg", "libopus", 48_000, "audio/ogg"),
    "mp4": ("mp4", "aac", 44_100, "audio/mp4"),
    "wav": ("wav", "pcm_s16le", 16_000, "audio/wav"),
    "flac": ("flac", "flac", 16_000, "audio/flac"),
    "mp3": ("mp3", "libmp3lame", 44_100, "audio/mpeg"),
}


def encode(samples: NDArray[numpy.int16], sample_rate: int, kind: str) -> bytes:
    """Mono 16-bit samples as a recording of a kind."""
    container_name, codec, rate, _ = KINDS[kind]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_name) as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = sample_rate
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@cache
def recording(kind: str, seconds: float) -> tuple[bytes, str]:
    """A tone of this length; its bytes and its media type."""
    rate = KINDS[kind][2]
    moments = numpy.arange(int(seconds * rate)) / rate
    tone = (numpy.sin(moments * 2 * math.pi * 440) * 9000).astype(numpy.int16)
    return encode(tone, rate, kind), KINDS[kind][3]


def silence(seconds: float) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(int(2 * 16_000 * seconds)))
    return buffer.getvalue()
