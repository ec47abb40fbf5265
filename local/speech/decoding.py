"""Audio as clients send it, turned into samples: containers by FFmpeg (PyAV), raw samples as they are.

Only the formats that Speech-to-Text accepts are opened, each with its own demuxer, so that a crafted file cannot make
FFmpeg open anything else. The formats are those of google.cloud.speech.v2.ExplicitDecodingConfig and of automatic
decoding: https://cloud.google.com/speech-to-text/v2/docs/encoding
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import av
import av.error
import numpy as np

from local.speech.hearing import SAMPLE_RATE, Clip, Samples

_UNDETECTED = (
    "The audio's encoding could not be detected, or it holds no sound that can be decoded. Send WAV, FLAC, MP3, "
    "OGG_OPUS, WEBM_OPUS, MP4_AAC, M4A_AAC, MOV_AAC or AMR, or describe headerless audio by explicit_decoding_config."
)


class UndecodableError(ValueError):
    """The bytes are not audio of the expected form; the text is a sentence for the caller."""


class TooLongError(ValueError):
    """The audio is longer than the limit."""


@dataclass(frozen=True)
class Container:
    """A kind of file: FFmpeg's name for its demuxer, and the codecs that may be inside."""

    demuxer: str
    codecs: frozenset[str]


@dataclass(frozen=True)
class RawSamples:
    """Headerless samples: FFmpeg's demuxer for them, the rate in hertz, the number of interleaved channels."""

    demuxer: str
    sample_rate: int
    channels: int


_WAVE_CODECS = frozenset({"pcm_s16le", "pcm_mulaw", "pcm_alaw"})
WAV: Final = Container("wav", _WAVE_CODECS)
FLAC: Final = Container("flac", frozenset({"flac"}))
MP3: Final = Container("mp3", frozenset({"mp3", "mp3float"}))
OGG: Final = Container("ogg", frozenset({"opus", "libopus"}))
MATROSKA: Final = Container("matroska", frozenset({"opus", "libopus"}))
MPEG4: Final = Container("mov", frozenset({"aac"}))
AMR: Final = Container("amr", frozenset({"amrnb", "amrwb", "amr_nb", "amr_wb"}))
_FLUSH: Final = None


def recognise_container(content: bytes) -> Container | None:
    """The kind of file that the first bytes announce; None when they announce none that is accepted."""
    starts = {
        b"fLaC": FLAC,
        b"ID3": MP3,
        b"OggS": OGG,
        b"\x1a\x45\xdf\xa3": MATROSKA,
        b"#!AMR": AMR,
    }
    for start, container in starts.items():
        if content.startswith(start):
            return container
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        return WAV
    if content[4:8] in {b"ftyp", b"moov", b"mdat", b"wide"}:
        return MPEG4
    if len(content) > 2 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2:
        return MP3
    return None


def decode(content: bytes, form: Container | RawSamples | None, longest_seconds: float) -> Clip:
    """Decode a whole clip to mono at 16 kHz; `form` None means that the bytes say themselves what they are.

    Raises:
        UndecodableError: nothing can be decoded, or the codec is not the announced one.
        TooLongError: there are more than `longest_seconds` of sound; decoding stopped there.
    """
    samples = decode_samples(content, form, longest_seconds)
    if not samples.size:
        raise UndecodableError(_UNDETECTED)
    return Clip(samples, hashlib.sha256(content).hexdigest())


def decode_samples(content: bytes, form: Container | RawSamples | None, longest_seconds: float) -> Samples:
    """As `decode`, but bytes that hold no whole sample yet give none: for audio that is still arriving."""
    # LINEAR16 is often sent with the header that automatic decoding would have read
    known = recognise_container(content)
    if form is None or (isinstance(form, RawSamples) and known is WAV):
        form = known
    if form is None:
        raise UndecodableError(_UNDETECTED)
    options = {}
    if isinstance(form, RawSamples):
        options = {"sample_rate": str(form.sample_rate), "ch_layout": f"{form.channels}c"}
        if form.channels == 1:
            options["ch_layout"] = "mono"
    try:
        with av.open(io.BytesIO(content), format=form.demuxer, options=options) as file:
            return _read(file, form, longest_seconds)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        if isinstance(error, (UndecodableError, TooLongError)):
            raise
        raise UndecodableError(_UNDETECTED) from None


def _read(file: Any, form: Container | RawSamples, longest_seconds: float) -> Samples:
    if not file.streams.audio:
        raise UndecodableError("The file holds no sound.")
    codec = file.streams.audio[0].codec_context.name
    if isinstance(form, Container) and codec not in form.codecs:
        raise UndecodableError(f"The audio is encoded as {codec}, which is not accepted in this container.")
    parts: list[Samples] = []
    most, have = longest_seconds * SAMPLE_RATE, 0
    for part in _resampled(file):
        parts.append(part)
        have += part.size
        if have > most:
            raise TooLongError
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _resampled(file: Any) -> Iterator[Samples]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    for frame in (*_whole_frames(file), _FLUSH):
        for resampled in resampler.resample(frame):
            yield resampled.to_ndarray().reshape(-1).astype(np.float32, copy=False)


def _whole_frames(file: Any) -> Iterator[Any]:
    """A clip that was cut off is as long as what can be read of it."""
    try:
        yield from file.decode(audio=0)
    except (av.error.InvalidDataError, av.error.EOFError):
        return
