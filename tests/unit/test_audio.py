"""What a recording is, and how long it lasts, is read from the recording and not from what it claims."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest

from shared.runtime.errors import TooLarge, Unprocessable
from shared.voice.audio import OggClock, pcm_seconds, read_clip
from tests.support import recordings
from tests.support.recordings import KINDS


def recording(kind: str, seconds: float) -> bytes:
    return recordings.recording(kind, seconds)[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_length_of_every_kind_of_recording_is_known(kind: str) -> None:
    clip = await read_clip(recording(kind, 3.0))
    assert clip.duration_seconds == pytest.approx(3.0, abs=0.15)


async def test_a_live_recording_without_a_length_in_its_header_is_measured() -> None:
    data = bytearray(recording("webm", 2.0))
    duration = data.find(b"\x44\x89")
    if duration != -1:
        data[duration + 3 : duration + 11] = bytes(8)
    assert (await read_clip(bytes(data))).duration_seconds == pytest.approx(2.0, abs=0.15)


async def test_sixty_one_seconds_are_refused_with_the_hint_to_use_a_job() -> None:
    with pytest.raises(TooLarge) as refused:
        await read_clip(recording("ogg", 61.0))
    assert refused.value.code == "audio_too_long"
    assert "/v1/jobs" in refused.value.detail


async def test_a_wav_header_that_lies_about_its_length_only_shortens_what_is_heard() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000 * 70))
    data = bytearray(buffer.getvalue())
    data[40:44] = (32_000).to_bytes(4, "little")
    assert (await read_clip(bytes(data))).duration_seconds <= 1.1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "audio_empty"),
        (b"this is a text file that somebody calls audio\n" * 200, "audio_unreadable"),
        (b"\x1aE\xdf\xa3" + bytes(3), "audio_unreadable"),
        (b"\x00" * 5000, "audio_unreadable"),
        (b"%PDF-1.7\n" + b"1 0 obj\n" * 100, "audio_unreadable"),
    ],
)
async def test_what_is_no_recording_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        await read_clip(data)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2,\n{file}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{file}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["hls", "concat", "sdp"],
)
async def test_an_upload_cannot_make_us_open_other_files(playlist: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(recording("wav", 1.0))
    with pytest.raises(Unprocessable) as refused:
        await read_clip(playlist.format(file=secret).encode())
    assert refused.value.code == "audio_unreadable"


async def test_a_webm_cut_off_in_its_header_is_refused() -> None:
    with pytest.raises(Unprocessable) as refused:
        await read_clip(recording("webm", 2.0)[:120])
    assert refused.value.code == "audio_unreadable"


async def test_a_webm_cut_off_later_is_heard_as_far_as_it_goes() -> None:
    whole = recording("webm", 6.0)
    clip = await read_clip(whole[: len(whole) // 2])
    assert 1.0 < clip.duration_seconds < 5.5


async def test_an_encoding_nobody_can_hear_is_refused_by_name() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(16_000)
        file.writeframes(bytes(3 * 16_000))
    with pytest.raises(Unprocessable) as refused:
        await read_clip(buffer.getvalue())
    assert refused.value.code == "audio_unsupported"


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_the_time_of_an_ogg_stream_is_followed_through_pieces_of_any_size(size: int) -> None:
    data = recording("ogg", 2.5)
    ogg = OggClock()
    grown = [ogg.feed(data[i : i + size]) for i in range(0, len(data), size)]
    assert sum(grown) == pytest.approx(ogg.seconds)
    assert ogg.seconds == pytest.approx(2.5, abs=0.1)


def test_pcm_is_two_bytes_a_sample() -> None:
    assert pcm_seconds(bytes(48_000)) == 1.0
