"""The Speech-to-Text stand-in, driven by Google's own client, hears people and refuses what the service refuses."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import jiwer
import numpy as np
import pytest
from google.api_core import exceptions
from google.cloud import speech_v2 as speech
from google.cloud.speech_v2.services.speech.transports import SpeechGrpcTransport
from google.rpc import error_details_pb2  # type: ignore[import-untyped]

from local.faults import FaultBook
from local.places import REPOSITORY
from local.quotas import speech_quotas
from local.speech.hearing import ScriptedEar
from local.speech.server import Engines, engines
from local.speech.speaking import ScriptedMouth
from tests.support.speech import (
    RECOGNIZER,
    RECORDINGS,
    SECONDS,
    TRANSCRIPTS,
    Samples,
    Speech,
    clients,
    heard,
    human,
    recognition,
    recognize,
    recorded,
    running_speech,
    samples_of,
    silence,
    stream_of,
    tone,
    wav,
    words,
)

GO_FORWARD = human("go-forward.wav")
GO_FORWARD_SECONDS = len(samples_of(GO_FORWARD)) / 16_000


@pytest.fixture(scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Speech]:
    """The engines that `make dev` runs."""
    async with running_speech(engines({}), tmp_path_factory.mktemp("real")) as running:
        yield running


@pytest.fixture(scope="module")
async def scripted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Speech]:
    both = engines({"SPEECH_ENGINE": "scripted"})
    async with running_speech(both, tmp_path_factory.mktemp("scripted")) as running:
        yield running


def streamed(
    pieces: list[bytes], streaming: dict[str, Any] | None = None, **changes: Any
) -> list[speech.StreamingRecognizeRequest]:
    config = speech.StreamingRecognitionConfig(config=recognition(**changes), streaming_features=streaming or {})
    first = speech.StreamingRecognizeRequest(recognizer=RECOGNIZER, streaming_config=config)
    return [first, *(speech.StreamingRecognizeRequest(audio=piece) for piece in pieces)]


def cut(content: bytes, size: int = 12_800) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


async def listened(running: Speech, messages: Any) -> list[Any]:
    requests = messages if hasattr(messages, "__aiter__") else stream_of(messages)
    answers = await running.hearing.streaming_recognize(requests=requests, timeout=SECONDS)
    return [answer async for answer in answers]


def finals(answers: list[Any]) -> list[str]:
    return [words(r.alternatives[0].transcript) for answer in answers for r in answer.results if r.is_final]


# hearing


@pytest.mark.parametrize("kind", ["wav", "webm, opus, live (Chrome)"])
async def test_human_voices_are_heard_with_at_most_15_percent_of_the_words_wrong(real: Speech, kind: str) -> None:
    texts = [words(await heard(real.hearing, recorded(samples_of(human(name)), kind))) for name in TRANSCRIPTS]
    assert jiwer.wer(list(TRANSCRIPTS.values()), texts) <= 0.15, texts


async def test_two_short_words_are_not_lost(real: Speech) -> None:
    assert words(await heard(real.hearing, human("cards-4.wav"))) == "five five"


async def test_words_carry_times_that_grow_inside_the_clip_and_confidences(real: Speech) -> None:
    features = {"enable_word_time_offsets": True, "enable_word_confidence": True}
    answer = await real.hearing.recognize(request=recognize(GO_FORWARD, features=features), timeout=SECONDS)
    (result,) = answer.results
    (best,) = result.alternatives
    times = [edge.total_seconds() for word in best.words for edge in (word.start_offset, word.end_offset)]
    assert words(" ".join(word.word for word in best.words)) == "go forward ten meters"
    assert times == sorted(times)
    assert times[-1] <= result.result_end_offset.total_seconds() + 0.5
    assert times[-1] <= GO_FORWARD_SECONDS
    assert all(0 < word.confidence <= 1 for word in best.words)
    assert 0 < best.confidence <= 1
    assert result.language_code == "en-us"


async def test_words_come_only_when_they_are_asked_for(real: Speech) -> None:
    answer = await real.hearing.recognize(request=recognize(GO_FORWARD), timeout=SECONDS)
    assert not answer.results[0].alternatives[0].words


@pytest.mark.parametrize("kind", ["silence", "tone", "noise", "chord"])
async def test_a_clip_in_which_nobody_speaks_has_no_results(real: Speech, kind: str) -> None:
    samples: Samples = {
        "silence": silence(3),
        "tone": tone(3),
        "noise": np.random.default_rng(7).normal(0, 0.05, 48_000).astype(np.float32),
        "chord": np.mean([tone(3, hertz=hertz) for hertz in (262.0, 330.0, 392.0)], axis=0),
    }[kind]
    answer = await real.hearing.recognize(request=recognize(wav(samples)), timeout=SECONDS)
    assert not answer.results
    assert answer.metadata.total_billed_duration == timedelta(seconds=3)


async def test_billing_counts_begun_seconds_whole(scripted: Speech) -> None:
    answer = await scripted.hearing.recognize(request=recognize(wav(tone(2.01))), timeout=SECONDS)
    assert answer.metadata.total_billed_duration == timedelta(seconds=3)


async def test_other_calls_are_answered_while_somebody_is_heard(real: Speech) -> None:
    long = wav(np.concatenate([samples_of(human(name)) for name in TRANSCRIPTS] * 2))
    hearing = asyncio.ensure_future(real.hearing.recognize(request=recognize(long), timeout=SECONDS))
    await asyncio.sleep(0.1)
    for _ in range(20):
        await real.hearing.get_recognizer(name=RECOGNIZER, timeout=SECONDS)
    assert not hearing.done()
    assert (await hearing).results


# formats


@pytest.mark.parametrize("kind", RECORDINGS)
async def test_what_browsers_and_phones_record_is_decoded(scripted: Speech, kind: str) -> None:
    assert await heard(scripted.hearing, recorded(tone(2.5), kind)) == "a clip of 2.5 seconds"


async def test_an_iphone_recording_of_a_person_is_understood(real: Speech) -> None:
    clip = recorded(samples_of(GO_FORWARD), "m4a, aac (iPhone)")
    assert words(await heard(real.hearing, clip)) == "go forward ten meters"


@pytest.mark.parametrize(
    ("encoding", "rate", "channels"), [("LINEAR16", 16_000, 1), ("LINEAR16", 48_000, 2), ("MULAW", 8_000, 1)]
)
async def test_headerless_samples_are_read_as_described(
    scripted: Speech, encoding: str, rate: int, channels: int
) -> None:
    width = 2 if encoding == "LINEAR16" else 1
    explicit = {"encoding": encoding, "sample_rate_hertz": rate, "audio_channel_count": channels}
    raw = b"\x20\x40" * (rate * channels * width)
    text = await heard(scripted.hearing, raw, auto_decoding_config=None, explicit_decoding_config=explicit)
    assert text == "a clip of 2.0 seconds"


async def test_linear_samples_may_still_carry_their_wav_header(scripted: Speech) -> None:
    explicit = {"encoding": "LINEAR16", "sample_rate_hertz": 8_000, "audio_channel_count": 1}
    clip = wav(tone(2.0))
    text = await heard(scripted.hearing, clip, auto_decoding_config=None, explicit_decoding_config=explicit)
    assert text == "a clip of 2.0 seconds"


async def test_a_file_that_is_not_what_the_client_says_is_refused(scripted: Speech) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await heard(
            scripted.hearing,
            recorded(tone(1), "mp3"),
            auto_decoding_config=None,
            explicit_decoding_config={"encoding": "FLAC"},
        )


@pytest.mark.parametrize(
    "content",
    [
        b"hello, I am a text",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        wav(tone(1))[:44],
        b"OggS" + bytes(2000),
        b"\x1a\x45\xdf\xa3" + bytes(2000),
        recorded(tone(1), "m4a, aac (iPhone)")[:800],
    ],
    ids=["text", "playlist", "header only", "broken ogg", "broken webm", "m4a without its index"],
)
async def test_bytes_that_are_no_audio_are_refused(scripted: Speech, content: bytes) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="could not be detected"):
        await heard(scripted.hearing, content)


# limits and refusals


async def test_a_clip_of_a_minute_is_refused_and_a_second_less_is_not(scripted: Speech) -> None:
    assert await heard(scripted.hearing, wav(tone(59))) == "a clip of 59.0 seconds"
    with pytest.raises(exceptions.InvalidArgument, match="maximum of 60 seconds"):
        await heard(scripted.hearing, wav(tone(60)))


async def test_a_small_file_of_many_hours_is_refused_too(scripted: Speech) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="maximum of 60 seconds"):
        await heard(scripted.hearing, recorded(silence(600), "flac"))


async def test_more_than_10_megabytes_are_refused(scripted: Speech) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="exceeds the limit: 10485760 bytes"):
        await heard(scripted.hearing, wav(tone(1)) + bytes(10 * 1024 * 1024))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "chirp_9"}, 'The model "chirp_9" does not exist in the location named "us"'),
        ({"model": ""}, "model"),
        ({"language_codes": []}, "language_codes"),
        ({"language_codes": ["xx-XX"]}, 'The language "xx-XX" is not supported by the model "chirp_3"'),
        ({"language_codes": ["en-US", "english"]}, 'The language "english" is not supported'),
        ({"language_codes": ["de-DE"]}, "hears English only"),
        ({"language_codes": ["auto"]}, "hears English only"),
        ({"auto_decoding_config": None}, "decoding_config"),
        ({"auto_decoding_config": None, "explicit_decoding_config": {}}, "encoding"),
        (
            {"auto_decoding_config": None, "explicit_decoding_config": {"encoding": "LINEAR16"}},
            "sample_rate_hertz",
        ),
        ({"features": {"max_alternatives": 31}}, "max_alternatives"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_the_field(
    scripted: Speech, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument) as refused:
        await heard(scripted.hearing, GO_FORWARD, **changes)
    assert said in refused.value.message


@pytest.mark.parametrize("code", ["en-US", "en-GB", "en-IN", "en-NZ"])
async def test_every_english_locale_is_taken(scripted: Speech, code: str) -> None:
    answer = await scripted.hearing.recognize(request=recognize(GO_FORWARD, language_codes=[code]), timeout=SECONDS)
    assert answer.results[0].language_code == code.lower()


async def test_chirp_3_is_not_in_the_global_location(scripted: Speech) -> None:
    recognizer = "projects/oprina-local/locations/global/recognizers/_"
    with pytest.raises(exceptions.InvalidArgument, match='does not exist in the location named "global"'):
        await scripted.hearing.recognize(request=recognize(GO_FORWARD, recognizer), timeout=SECONDS)


async def test_an_unknown_recognizer_is_not_found(scripted: Speech) -> None:
    recognizer = "projects/oprina-local/locations/us/recognizers/mine"
    with pytest.raises(exceptions.NotFound):
        await scripted.hearing.recognize(request=recognize(GO_FORWARD, recognizer), timeout=SECONDS)
    with pytest.raises(exceptions.NotFound):
        await scripted.hearing.get_recognizer(name=recognizer, timeout=SECONDS)


async def test_a_name_that_is_no_recognizer_is_invalid(scripted: Speech) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await scripted.hearing.recognize(request=recognize(GO_FORWARD, "recognizers/_"), timeout=SECONDS)


async def test_the_empty_clip_is_refused(scripted: Speech) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="empty"):
        await heard(scripted.hearing, b"")


async def test_the_implicit_recognizer_is_in_no_list_of_its_location(scripted: Speech) -> None:
    pager = await scripted.hearing.list_recognizers(parent="projects/oprina-local/locations/us", timeout=SECONDS)
    assert [recognizer async for recognizer in pager] == []
    with pytest.raises(exceptions.InvalidArgument):
        await scripted.hearing.list_recognizers(parent="oprina-local", timeout=SECONDS)


async def test_a_method_that_is_not_served_is_named(scripted: Speech) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="does not implement ListPhraseSets of"):
        await scripted.hearing.list_phrase_sets(parent="projects/oprina-local/locations/us", timeout=SECONDS)
    with pytest.raises(exceptions.MethodNotImplemented, match="does not implement BatchRecognize"):
        await scripted.hearing.batch_recognize(recognizer=RECOGNIZER, timeout=SECONDS)


async def test_the_synchronous_client_is_served_as_well(scripted: Speech) -> None:
    def ask() -> str:
        with grpc.insecure_channel(f"127.0.0.1:{scripted.port}") as channel:
            client = speech.SpeechClient(transport=SpeechGrpcTransport(channel=channel))
            answer = client.recognize(request=recognize(wav(tone(1))), timeout=SECONDS)
            return str(answer.results[0].alternatives[0].transcript)

    assert await asyncio.to_thread(ask) == "a clip of 1.0 seconds"


# streams


@pytest.mark.parametrize("kind", ["wav", "webm, opus, live (Chrome)"])
async def test_a_streamed_clip_is_heard_when_the_client_ends(real: Speech, kind: str) -> None:
    answers = await listened(real, streamed(cut(recorded(samples_of(GO_FORWARD), kind))))
    assert " ".join(finals(answers)) == "go forward ten meters"
    assert answers[-1].metadata.total_billed_duration == timedelta(seconds=3)


async def test_interim_results_come_while_the_person_still_speaks(real: Speech) -> None:
    async def speaking() -> AsyncIterator[Any]:
        for message in streamed(cut(human("cards-5.wav"), 6_400), {"interim_results": True}):
            yield message
            await asyncio.sleep(0.1)

    answers = await listened(real, speaking())
    results = [result for answer in answers for result in answer.results]
    interim = [result for result in results if not result.is_final]
    assert interim
    assert all(0 < result.stability < 1 for result in interim)
    assert results[-1].is_final
    assert len(words(interim[0].alternatives[0].transcript)) < len(words(results[-1].alternatives[0].transcript))


async def test_two_utterances_with_a_pause_between_them_are_two_results_at_their_times(real: Speech) -> None:
    first, second = samples_of(GO_FORWARD), samples_of(human("cards-4.wav"))
    clip = wav(np.concatenate([first, silence(1.5), second, silence(1.5)]))
    features = {"enable_voice_activity_events": True}
    answers = await listened(real, streamed(cut(clip), features, features={"enable_word_time_offsets": True}))
    assert finals(answers) == ["go forward ten meters", "five five"]
    results = [result for answer in answers for result in answer.results]
    starts = [result.alternatives[0].words[0].start_offset.total_seconds() for result in results]
    assert starts[0] < GO_FORWARD_SECONDS
    assert GO_FORWARD_SECONDS + 1 < starts[1] < GO_FORWARD_SECONDS + 2.5
    kinds = [answer.speech_event_type.name for answer in answers if answer.speech_event_type]
    assert kinds == ["SPEECH_ACTIVITY_BEGIN", "SPEECH_ACTIVITY_END"] * 2


async def test_the_stream_closes_by_itself_when_the_person_has_ended(real: Speech) -> None:
    features = {
        "enable_voice_activity_events": True,
        "voice_activity_timeout": {"speech_end_timeout": timedelta(seconds=1)},
    }

    async def never_ending() -> AsyncIterator[Any]:
        clip = wav(np.concatenate([samples_of(GO_FORWARD), silence(3)]))
        for message in streamed(cut(clip), features):
            yield message
        await asyncio.sleep(SECONDS)

    assert finals(await listened(real, never_ending())) == ["go forward ten meters"]


async def test_a_silent_stream_ends_without_results(scripted: Speech) -> None:
    answers = await listened(scripted, streamed(cut(wav(silence(2)))))
    assert not any(answer.results for answer in answers)
    assert answers[-1].metadata.total_billed_duration == timedelta(seconds=2)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([speech.StreamingRecognizeRequest(audio=b"1234")], "first message"),
        ([], "first message"),
        ([*streamed([]), *streamed([])], "Only the first message"),
        (streamed([bytes(25_601)]), "maximum of 25600 bytes"),
        (streamed([b"no audio at all"]), "could not be detected"),
        (streamed([], model="chirp_9"), "does not exist"),
        (streamed([], {"voice_activity_timeout": {"speech_end_timeout": timedelta(seconds=1)}}), "activity_events"),
    ],
    ids=["audio first", "nothing", "configured twice", "large message", "no audio", "no model", "timeout alone"],
)
async def test_a_stream_out_of_order_is_refused(scripted: Speech, messages: list[Any], said: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=said):
        await listened(scripted, messages)


# quotas


class Clock:
    seconds = 600.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_the_quota_of_a_minute_is_refused_with_googles_details_and_comes_back(
    tmp_path: Path, clock: Clock
) -> None:
    quotas = speech_quotas("oprina-local", {"QUOTA_SPEECH_RECOGNIZE_PER_MINUTE": "2"}, clock)
    both = Engines(ScriptedEar(0, "hello", {}), ScriptedMouth(0))
    async with running_speech(both, tmp_path, hearing_quotas=quotas) as running:
        clip = wav(tone(1))
        clock.seconds = 600 + 13
        assert [await heard(running.hearing, clip) for _ in range(2)] == ["hello", "hello"]
        with pytest.raises(exceptions.ResourceExhausted, match="Quota exceeded for quota metric") as refused:
            await heard(running.hearing, clip)
        details = {type(detail): detail for detail in refused.value.details}
        assert details[error_details_pb2.RetryInfo].retry_delay.seconds == 47
        assert details[error_details_pb2.QuotaFailure].violations[0].subject == "projects/oprina-local"
        assert details[error_details_pb2.ErrorInfo].metadata["quota_limit_value"] == "2"
        assert finals(await listened(running, streamed(cut(clip)))) == ["hello"]
        clock.seconds = 660.0
        assert await heard(running.hearing, clip) == "hello"


async def test_a_quota_of_zero_means_none(tmp_path: Path) -> None:
    quotas = speech_quotas("oprina-local", {"QUOTA_SPEECH_RECOGNIZE_PER_MINUTE": "0"})
    both = Engines(ScriptedEar(0, "hello", {}), ScriptedMouth(0))
    async with running_speech(both, tmp_path, hearing_quotas=quotas) as running:
        texts = await asyncio.gather(*(heard(running.hearing, wav(tone(0.2))) for _ in range(320)))
    assert set(texts) == {"hello"}


# the scripted engine


async def test_the_scripted_engine_hears_what_a_clip_was_given_and_waits_as_told(tmp_path: Path) -> None:
    known = wav(tone(1))
    ear = ScriptedEar(150, "anything", {hashlib.sha256(known).hexdigest(): "turn on the light"})
    async with running_speech(Engines(ear, ScriptedMouth(0)), tmp_path) as running:
        before = asyncio.get_running_loop().time()
        assert await heard(running.hearing, known) == "turn on the light"
        assert 0.15 <= asyncio.get_running_loop().time() - before < 1
        assert await heard(running.hearing, wav(tone(1.5))) == "anything"
        assert await heard(running.hearing, wav(silence(1.5))) == ""


async def test_the_process_serves_where_its_environment_says_and_ends_when_told(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    FaultBook(tmp_path / "faults.json").write({"texttospeech": {"ListVoices": {"status": "INTERNAL"}}})
    environment = {
        "PATH": os.environ["PATH"],
        "DATA": str(tmp_path),
        "PORT": str(port - 1),
        "SPEECH_ENGINE": "scripted",
        "SCRIPTED_TRANSCRIPT": "turn on the light",
        "QUOTA_SPEECH_RECOGNIZE_PER_MINUTE": "1",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local.speech"), stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY, env=environment
    )
    assert process.stdout is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), SECONDS))
    assert ready["ready"] is True
    async with clients(port) as (hearing, speaking):
        assert await heard(hearing, wav(tone(1))) == "turn on the light"
        with pytest.raises(exceptions.ResourceExhausted):
            await heard(hearing, wav(tone(1)))
        with pytest.raises(exceptions.InternalServerError):
            await speaking.list_voices(timeout=SECONDS)
    process.terminate()
    logged = [json.loads(line) for line in (await process.stdout.read()).splitlines()]
    assert await process.wait() == 0
    assert [(line["method"], line["status"]) for line in logged] == [
        ("Recognize", "OK"),
        ("Recognize", "RESOURCE_EXHAUSTED"),
        ("ListVoices", "INTERNAL"),
    ]
    assert "light" not in json.dumps(logged)


def test_an_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="SPEECH_ENGINE=cloud"):
        engines({"SPEECH_ENGINE": "cloud"})
