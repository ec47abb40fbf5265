"""Reading audio containers: what a recording really is and how long it lasts, without decoding it."""

from __future__ import annotations

import asyncio
import io
import struct
import wave

import av

from shared.runtime.errors import TooLarge, Unprocessable
from shared.voice.models import AudioFormat, Clip
from shared.voice.rules import MAX_CLIP_SECONDS, OPENED_CONTAINERS, READABLE

SAMPLE_RATE_HERTZ = 24_000

_OGG_CLOCK_HERTZ = 48_000
# Without these lists an upload may be a playlist, and the library would open the files and addresses that it names.
_READ_ONLY_THESE = {"format_whitelist": OPENED_CONTAINERS, "protocol_whitelist": "none"}
_JOB_HINT = "For longer recordings create a transcription job: POST /v1/jobs."


async def read_clip(data: bytes) -> Clip:
    """Read a recording's container.

    Raises:
        Unprocessable: empty (`audio_empty`), no audio in it (`audio_unreadable`), or an encoding that cannot be heard
            (`audio_unsupported`).
        TooLarge: longer than 60 s (`audio_too_long`).
    """
    if not data:
        raise Unprocessable("The recording is empty.", code="audio_empty")
    clip = await asyncio.to_thread(_read, data)
    if (clip.container, clip.codec) not in READABLE:
        raise Unprocessable(
            f"A recording of this kind ({clip.container}, {clip.codec}) cannot be heard. Send WebM or Ogg with Opus, "
            "MP4 with AAC, WAV, FLAC or MP3.",
            code="audio_unsupported",
        )
    if clip.duration_seconds > MAX_CLIP_SECONDS:
        raise TooLarge(
            f"The recording lasts {clip.duration_seconds:.0f} seconds; {MAX_CLIP_SECONDS:.0f} are the limit here. "
            + _JOB_HINT,
            code="audio_too_long",
        )
    return clip


def _read(data: bytes) -> Clip:
    try:
        with av.open(io.BytesIO(data), mode="r", metadata_errors="ignore", options=_READ_ONLY_THESE) as container:
            if not container.streams.audio:
                raise _unreadable()
            stream = container.streams.audio[0]
            seconds = _seconds(container, stream)
            return Clip(data, container.format.name, stream.codec_context.name, seconds)
    except (av.FFmpegError, ValueError, UnicodeDecodeError) as error:
        raise _unreadable() from error


def _seconds(container: av.container.InputContainer, stream: av.AudioStream) -> float:
    """The length by the packets that are there: headers of live recordings do not know it, and headers can lie."""
    end = total = 0.0
    packets = 0
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.time_base is None:
                continue
            packets += 1
            length = float((packet.duration or 0) * packet.time_base)
            total += length
            if packet.pts is not None:
                end = max(end, float(packet.pts * packet.time_base) + length)
    except av.FFmpegError:
        # A recording that was cut off is heard as far as it goes.
        if packets == 0:
            raise
    if packets == 0:
        raise _unreadable()
    start = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
    return max(end - max(start, 0.0), total)


def _unreadable() -> Unprocessable:
    return Unprocessable("This is not a recording that can be read, or it was cut off.", code="audio_unreadable")


async def as_file(pcm: bytes, audio_format: AudioFormat) -> bytes:
    """Samples (s16le, 24 kHz, mono) as one `wav` or `mp3` file; the other formats need no file and stay as they are."""
    if audio_format == "wav":
        return _as_wav(pcm)
    if audio_format == "mp3":
        return await asyncio.to_thread(_as_mp3, pcm)
    return pcm


def _as_wav(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HERTZ)
        file.writeframes(pcm)
    return buffer.getvalue()


def _as_mp3(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE_HERTZ)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.sample_rate = SAMPLE_RATE_HERTZ
        frame.planes[0].update(pcm)
        resampler = av.AudioResampler(
            format=stream.format, layout="mono", rate=SAMPLE_RATE_HERTZ, frame_size=stream.frame_size
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def pcm_seconds(data: bytes, sample_rate_hertz: int = SAMPLE_RATE_HERTZ) -> float:
    """The length of signed 16-bit mono samples."""
    return len(data) / (2 * sample_rate_hertz)


class OggClock:
    """Follows the time in a run of Ogg Opus pages that arrives in pieces of any size (RFC 3533, RFC 7845)."""

    def __init__(self) -> None:
        self._tail = b""
        self.seconds = 0.0

    def feed(self, data: bytes) -> float:
        """Take the next bytes and return by how many seconds the run has grown."""
        before = self.seconds
        buffer = self._tail + data
        start = buffer.find(b"OggS")
        while start != -1 and len(buffer) >= start + 14:
            (granule,) = struct.unpack_from("<q", buffer, start + 6)
            if granule > 0:
                self.seconds = max(self.seconds, granule / _OGG_CLOCK_HERTZ)
            start = buffer.find(b"OggS", start + 14)
        self._tail = buffer[start:] if start != -1 else buffer[-3:]
        return self.seconds - before
