"""Hearing a clip and speaking a text, without a conversation around them."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import av
import pytest

from tests.support.recordings import recording, silence
from tests.support.stack import Stack, stack_folder
from tests.support.talk import Talker, assert_problem

TRANSCRIPT = "Turn left at the second light."


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with stack_folder() as folder, Stack(folder, environment={"SCRIPTED_TRANSCRIPT": TRANSCRIPT}) as running:
        yield running


@pytest.fixture
async def talker(stack: Stack) -> AsyncIterator[Talker]:
    person = await asyncio.to_thread(stack.person)
    talking = Talker(stack.base_url, person.headers)
    yield talking
    stack.set_faults({})
    await talking.aclose()


async def test_a_clip_is_heard_with_its_words_and_their_times(talker: Talker) -> None:
    data, content_type = recording("webm", 3.0)
    answer = await talker.request(
        "POST", "/v1/voice/transcriptions?words=true", content=data, headers={"Content-Type": content_type}
    )
    assert answer.status_code == 200, answer.text
    heard = answer.json()
    assert heard["text"] == TRANSCRIPT
    assert heard["language"].startswith("en")
    assert heard["duration_seconds"] == pytest.approx(3.0, abs=0.2)
    assert [word["text"] for word in heard["words"]] == TRANSCRIPT.split()
    ends = [word["end_ms"] for word in heard["words"]]
    assert ends == sorted(ends)
    assert 0 < ends[-1] <= 3100


async def test_words_are_given_only_when_asked_for(talker: Talker) -> None:
    data, content_type = recording("ogg", 1.0)
    answer = await talker.request(
        "POST", "/v1/voice/transcriptions", content=data, headers={"Content-Type": content_type}
    )
    assert answer.json()["words"] is None


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (silence(1.5), "audio/wav", 422, "no_speech"),
        (b"", "audio/wav", 422, "audio_empty"),
        (b"hello" * 50, "audio/ogg", 422, "audio_unreadable"),
        (b"{}", "application/json", 415, "unsupported_media_type"),
    ],
    ids=["silence", "nothing", "text", "json"],
)
async def test_what_cannot_be_heard_is_refused(
    talker: Talker, data: bytes, content_type: str, status: int, code: str
) -> None:
    answer = await talker.request(
        "POST", "/v1/voice/transcriptions", content=data, headers={"Content-Type": content_type}
    )
    assert_problem(answer, status, code)


async def test_a_language_nobody_hears_is_refused_before_anything_is_spent(talker: Talker) -> None:
    data, content_type = recording("wav", 1.0)
    answer = await talker.request(
        "POST", "/v1/voice/transcriptions?language=tlh", content=data, headers={"Content-Type": content_type}
    )
    assert_problem(answer, 422, "language_unsupported")


@pytest.mark.parametrize("audio_format", ["pcm", "ogg_opus", "mp3", "wav"])
async def test_a_text_is_spoken_in_every_format(talker: Talker, audio_format: str) -> None:
    wanted = {"text": "Good evening. The train leaves at nine.", "audio_format": audio_format}
    answer = await talker.request("POST", "/v1/voice/speech", json=wanted)
    assert answer.status_code == 200, answer.text
    if audio_format == "pcm":
        assert answer.headers["content-type"].startswith("audio/pcm")
        seconds = len(answer.content) / 48_000
    else:
        with av.open(io.BytesIO(answer.content), mode="r") as container:
            frames = container.decode(container.streams.audio[0])
            seconds = sum(frame.samples / frame.sample_rate for frame in frames)
    assert 1 < seconds < 10


async def test_speaking_faster_takes_less_time(talker: Talker) -> None:
    async def seconds(rate: float) -> float:
        wanted = {"text": "One sentence of a certain length.", "audio_format": "wav", "speaking_rate": rate}
        answer = await talker.request("POST", "/v1/voice/speech", json=wanted)
        with wave.open(io.BytesIO(answer.content), "rb") as file:
            return file.getnframes() / file.getframerate()

    assert await seconds(1.5) == pytest.approx(await seconds(1.0) / 1.5, rel=0.1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": ""}, "validation_failed"),
        ({"text": "x" * 5001}, "validation_failed"),
        ({"text": "漢" * 2000}, "text_too_long"),
        ({"voice": "nobody"}, "voice_unknown"),
        ({"language": "tlh"}, "language_unsupported"),
        ({"speaking_rate": 9}, "validation_failed"),
        ({"pitch": 3}, "validation_failed"),
    ],
    ids=["empty", "long", "bytes", "voice", "language", "rate", "unknown field"],
)
async def test_what_cannot_be_spoken_is_refused(talker: Talker, change: dict[str, object], code: str) -> None:
    answer = await talker.request("POST", "/v1/voice/speech", json={"text": "Hi", **change})
    assert_problem(answer, 422, code)


async def test_a_voice_that_fails_before_it_makes_a_sound_is_a_status(talker: Talker, stack: Stack) -> None:
    stack.set_faults({"texttospeech": {"StreamingSynthesize": {"status": "UNAVAILABLE"}}})
    answer = await talker.request("POST", "/v1/voice/speech", json={"text": "Hello there."})
    assert_problem(answer, 503, "speech_unavailable")


async def test_voices_and_languages_are_open_to_everyone_and_agree(stack: Stack) -> None:
    with stack.client() as client:
        voices = client.get("/v1/voice/voices").json()["items"]
        languages = client.get("/v1/voice/languages").json()["items"]
    assert voices
    spoken = {language["code"] for language in languages if language["speaks"]}
    assert {voice["language"] for voice in voices} == spoken
    assert any(language["hears"] and language["speaks"] for language in languages)


async def test_without_a_token_nothing_is_heard_or_spoken(stack: Stack) -> None:
    with stack.client() as client:
        for path in ("/v1/voice/transcriptions", "/v1/voice/speech", f"/v1/sessions/{uuid4()}/turns"):
            answer = client.post(path, json={"text": "Hi"})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
