"""Whatever a long recording is, it becomes one even stream of samples in which everything keeps its time."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from shared.jobs.decoding import MAX_RECORDING_SECONDS, SAMPLE_RATE_HERTZ, Decoder
from shared.runtime.errors import TooLarge, Unavailable, Unprocessable
from tests.support.long_audio import GrowingWav, Pipe, as_wav, beeping, beeps
from tests.support.recordings import KINDS, encode

SECONDS = 30


def decoded(source: Decoder) -> bytes:
    return b"".join(source.blocks())


def beeping_as(kind: str) -> bytes:
    rate = KINDS[kind][2]
    return encode(beeping(SECONDS, rate), rate, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_recording_keeps_its_times(kind: str) -> None:
    decoder = Decoder(io.BytesIO(beeping_as(kind)))
    found = list(beeps(decoded(decoder)))
    assert [second for _, second in found] == list(range(SECONDS))
    assert all(abs(at - second) < 0.1 for at, second in found)
    assert decoder.duration_ms == pytest.approx(SECONDS * 1000, abs=100)
    assert decoder.skipped == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mp4"])
def test_a_recording_is_read_from_a_source_that_cannot_go_back(kind: str) -> None:
    found = list(beeps(decoded(Decoder(Pipe(beeping_as(kind))))))
    assert [second for _, second in found] == list(range(SECONDS))


def test_an_mp4_whose_index_is_at_its_end_needs_a_source_that_can_go_back() -> None:
    with pytest.raises(Unprocessable) as refused:
        decoded(Decoder(Pipe(beeping_as("mp4"))))
    assert refused.value.code == "audio_unreadable"


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_two_channels_are_mixed_at_any_rate(rate: int) -> None:
    left = beeping(4, rate)
    pcm = decoded(Decoder(io.BytesIO(as_wav(np.stack([left, np.zeros_like(left)], axis=1), rate))))
    assert len(pcm) == pytest.approx(4 * 2 * SAMPLE_RATE_HERTZ, abs=64)
    assert [second for _, second in beeps(pcm)] == [0, 1, 2, 3]


def film(*, sound: bool) -> bytes:
    """A video of two seconds, with or without a tone."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="mono") if sound else None
        for _ in range(20):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(video.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(beeping(2, 48_000).reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate = 48_000
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=48_000, frame_size=1024)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return buffer.getvalue()


def test_the_sound_of_a_video_is_heard() -> None:
    assert [second for _, second in beeps(decoded(Decoder(io.BytesIO(film(sound=True)))))] == [0, 1]


def test_a_file_without_sound_is_told_so() -> None:
    with pytest.raises(Unprocessable) as refused:
        decoded(Decoder(io.BytesIO(film(sound=False))))
    assert refused.value.code == "audio_missing"


@pytest.mark.parametrize("data", [b"", b"no recording at all\n" * 500, bytes(5_000), b"\x1aE\xdf\xa3\0\0\0"])
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    with pytest.raises(Unprocessable) as refused:
        decoded(Decoder(io.BytesIO(data)))
    assert refused.value.code == "audio_unreadable"


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(as_wav(beeping(1, 16_000)))
    playlist = f"ffconcat version 1.0\nfile '{tmp_path / 'secret.wav'}'\n".encode()
    with pytest.raises(Unprocessable):
        decoded(Decoder(io.BytesIO(playlist)))


# How far the time behind a damage may be off: MP3 holds no times, so that it is estimated by its bytes.
DAMAGED = {"webm": 0.1, "ogg": 0.1, "flac": 0.1, "mp4": 0.1, "mp3": 0.3}


@pytest.mark.parametrize("filler", ["zeros", "noise"])
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_middle_is_told_and_what_follows_keeps_its_time(kind: str, filler: str) -> None:
    data = bytearray(beeping_as(kind))
    start, stop = int(len(data) * 0.5), int(len(data) * 0.6)
    data[start:stop] = bytes(stop - start) if filler == "zeros" else np.random.default_rng(1).bytes(stop - start)
    decoder = Decoder(io.BytesIO(bytes(data)))
    found = [(at, second) for at, second in beeps(decoded(decoder)) if 0 <= second < SECONDS]
    behind = [(at, second) for at, second in found if second >= 22]
    assert [second for _, second in behind] == list(range(22, SECONDS))
    assert all(abs(at - second) < DAMAGED[kind] for at, second in behind)
    # Noise may sound like one more of them.
    assert {second for _, second in found if second < 14} == set(range(14))
    assert decoder.skipped
    assert all(13_000 <= span.start_ms < span.end_ms <= 22_000 for span in decoder.skipped)
    assert decoder.duration_ms == pytest.approx(SECONDS * 1000, abs=400)


def test_a_recording_that_was_cut_off_is_heard_as_far_as_it_goes() -> None:
    data = beeping_as("webm")
    found = [second for _, second in beeps(decoded(Decoder(Pipe(data[: len(data) // 2]))))]
    assert found == list(range(len(found)))
    assert 10 <= len(found) <= 18


def test_a_recording_of_the_longest_kind_is_heard_and_a_longer_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_RECORDING_SECONDS == 4 * 3600
    monkeypatch.setattr("shared.jobs.decoding._MAX_SAMPLES", SECONDS * SAMPLE_RATE_HERTZ)
    for kind in KINDS:
        assert list(beeps(decoded(Decoder(io.BytesIO(beeping_as(kind))))))[-1][1] == SECONDS - 1
    silence = bytes(2 * 8_000)
    with pytest.raises(TooLarge) as refused:
        decoded(Decoder(GrowingWav(SECONDS + 2, lambda _: silence, rate=8_000)))
    assert refused.value.code == "recording_too_long"


def test_a_source_that_fails_is_no_damage_of_the_recording() -> None:
    class Failing(Pipe):
        def read(self, size: int) -> bytes:
            data = super().read(size)
            if not data:
                raise Unavailable("The storage is away.", code="storage_unavailable")
            return data

    data = beeping_as("webm")
    with pytest.raises(Unavailable) as failed:
        decoded(Decoder(Failing(data[: len(data) // 2])))
    assert failed.value.code == "storage_unavailable"
