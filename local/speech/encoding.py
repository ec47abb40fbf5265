"""Samples turned into the encodings that Text-to-Speech answers with, whole or piece by piece (FFmpeg by PyAV)."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import av
import numpy as np

from local.speech.speaking import SAMPLE_RATE, Samples

# So much silence follows each sentence of a stream that no sound is held back in frames, pages and the codec's delay.
_FLUSHING_SILENCE_SECONDS: Final = 0.06
_OPUS_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
_MP3_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_AAC_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_PAGE_MICROSECONDS: Final = "20000"


class Encoder(Protocol):
    """Takes mono samples between -1 and 1 at `SAMPLE_RATE`, gives bytes as they are ready."""

    def feed(self, samples: Samples) -> bytes:
        """Encode more; the bytes may lag behind the samples."""

    def pause(self) -> bytes:
        """Let out everything that was fed: nothing follows yet."""

    def finish(self) -> bytes:
        """The last bytes. Nothing may be fed afterwards."""


@dataclass(frozen=True)
class Form:
    """How sound is written: FFmpeg's names for the file and the codec, and the rates that the codec takes (empty: any).

    `file` None is bare 16-bit PCM. `seekable`: the file's beginning is written anew at its end, so that it cannot be
    streamed. `pauses`: sound is held back unless silence follows.
    """

    file: str | None
    codec: str = "pcm_s16le"
    rates: tuple[int, ...] = ()
    bit_rate: int | None = None
    seekable: bool = False
    file_options: dict[str, str] = field(default_factory=dict)
    codec_options: dict[str, str] = field(default_factory=dict)
    pauses: bool = False

    def encoder(self, sample_rate: int) -> Encoder:
        """An encoder at this rate in hertz, or at the codec's next higher one."""
        rate = next((known for known in self.rates if known >= sample_rate), None) if self.rates else sample_rate
        if self.file is None:
            return _Bare(sample_rate)
        return _Filed(self, rate or self.rates[-1])


WAV: Final = Form("wav", seekable=True)
PCM: Final = Form(None)
MP3: Final = Form("mp3", "libmp3lame", _MP3_RATES, bit_rate=64_000, seekable=True)
M4A: Final = Form("ipod", "aac", _AAC_RATES, bit_rate=64_000, seekable=True)
MULAW_FILE: Final = Form("wav", "pcm_mulaw", seekable=True)
ALAW_FILE: Final = Form("wav", "pcm_alaw", seekable=True)
MULAW: Final = Form("mulaw", "pcm_mulaw")
ALAW: Final = Form("alaw", "pcm_alaw")
OGG_OPUS: Final = Form(
    "ogg",
    "libopus",
    _OPUS_RATES,
    bit_rate=32_000,
    file_options={"page_duration": _PAGE_MICROSECONDS},
    codec_options={"compression_level": "5", "frame_duration": "20"},
    pauses=True,
)


class _Bare:
    def __init__(self, sample_rate: int) -> None:
        self._resampler = _resampler("s16", sample_rate)

    def feed(self, samples: Samples) -> bytes:
        return b"".join(_bytes(frame) for frame in self._resampler.resample(_frame(samples)))

    def pause(self) -> bytes:
        return b""

    def finish(self) -> bytes:
        return b"".join(_bytes(frame) for frame in self._resampler.resample(None))


class _Filed:
    def __init__(self, form: Form, sample_rate: int) -> None:
        self._form = form
        self._out = io.BytesIO() if form.seekable else _Pipe()
        self._file = av.open(self._out, "w", format=form.file, options=form.file_options)
        self._stream: Any = self._file.add_stream(form.codec, rate=sample_rate, options=form.codec_options)
        context: Any = self._stream.codec_context
        context.layout = "mono"
        if form.bit_rate is not None:
            context.bit_rate = form.bit_rate
        context.open()
        self._resampler = _resampler(context.format.name, sample_rate, context.frame_size or None)

    def feed(self, samples: Samples) -> bytes:
        self._write(_frame(samples))
        return self._taken()

    def pause(self) -> bytes:
        if not self._form.pauses:
            return b""
        return self.feed(np.zeros(round(_FLUSHING_SILENCE_SECONDS * SAMPLE_RATE), np.float32))

    def finish(self) -> bytes:
        self._write(None)
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._out.getvalue() if isinstance(self._out, io.BytesIO) else self._taken()

    def _write(self, frame: Any | None) -> None:
        for resampled in self._resampler.resample(frame):
            self._file.mux(self._stream.encode(resampled))

    def _taken(self) -> bytes:
        return self._out.take() if isinstance(self._out, _Pipe) else b""


class _Pipe:
    """A file that can only be written onwards; what was written is taken out between the pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken


def _resampler(sample_format: str, rate: int, frame_size: int | None = None) -> Any:
    return av.AudioResampler(format=sample_format, layout="mono", rate=rate, frame_size=frame_size)


def _frame(samples: Samples) -> Any:
    frame = av.AudioFrame.from_ndarray(np.clip(samples, -1.0, 1.0).reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    return frame


def _bytes(frame: Any) -> bytes:
    data: bytes = frame.to_ndarray().tobytes()
    return data
