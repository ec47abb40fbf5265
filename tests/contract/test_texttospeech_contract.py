"""The Text-to-Speech stand-in, driven by Google's own client, speaks texts and streams and refuses what it should."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.api_core import exceptions
from google.cloud import texttospeech_v1 as texttospeech

from local.quotas import texttospeech_quotas
from local.speech.hearing import ScriptedEar
from local.speech.sentences import take_sentences
from local.speech.server import Engines, engines
from local.speech.speaking import ScriptedMouth
from tests.support.speech import (
    SECONDS,
    VOICE,
    Samples,
    Speech,
    heard,
    running_speech,
    said,
    samples_of,
    spoken,
    synthesized,
    words,
)

SENTENCE = "The library opens in the morning, and closes at night."
SPOKEN = "the library opens in the morning and closes at night"


@pytest.fixture(scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Speech]:
    """The engines that `make dev` runs."""
    async with running_speech(engines({}), tmp_path_factory.mktemp("real")) as running:
        yield running


@pytest.fixture(scope="module")
async def scripted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Speech]:
    both = Engines(ScriptedEar(0, None, {}), ScriptedMouth(0))
    async with running_speech(both, tmp_path_factory.mktemp("scripted"), idle_seconds=1.0) as running:
        yield running


async def whole(running: Speech, text: str = SENTENCE, encoding: str = "LINEAR16", **audio: Any) -> bytes:
    request = texttospeech.SynthesizeSpeechRequest(
        {
            "input": {"text": text},
            "voice": {"language_code": "en-US", "name": VOICE},
            "audio_config": {"audio_encoding": encoding, **audio},
        }
    )
    answer = await running.speaking.synthesize_speech(request=request, timeout=SECONDS)
    content: bytes = answer.audio_content
    return content


def pcm(content: bytes) -> Samples:
    return (np.frombuffer(content, "<i2") / 32768).astype(np.float32)


def loud_seconds(samples: Samples, rate: int = 24_000) -> float:
    """From the first sound to the last."""
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return float(loud[-1] - loud[0]) / rate


# voices


async def test_the_voices_are_listed_under_the_names_that_can_be_asked_for(scripted: Speech) -> None:
    answer = await scripted.speaking.list_voices(language_code="en-US", timeout=SECONDS)
    names = [voice.name for voice in answer.voices]
    assert VOICE in names
    assert all(list(voice.language_codes) == ["en-US"] for voice in answer.voices)
    assert all(voice.natural_sample_rate_hertz == 24_000 for voice in answer.voices)
    for name in names:
        assert await synthesized(scripted.speaking, said(["Hello."], voice=name))


async def test_a_language_alone_lists_all_of_its_voices_and_an_unknown_one_none(scripted: Speech) -> None:
    english = await scripted.speaking.list_voices(language_code="en", timeout=SECONDS)
    everything = await scripted.speaking.list_voices(timeout=SECONDS)
    japanese = await scripted.speaking.list_voices(language_code="ja-JP", timeout=SECONDS)
    assert len(english.voices) == len(everything.voices) > 30
    assert not japanese.voices
    with pytest.raises(exceptions.InvalidArgument):
        await scripted.speaking.list_voices(language_code="??", timeout=SECONDS)


# whole texts


async def test_what_is_spoken_is_understood_by_the_recognizer(real: Speech) -> None:
    assert words(await heard(real.hearing, await whole(real))) == SPOKEN


@pytest.mark.parametrize(
    ("encoding", "start"),
    [
        ("LINEAR16", b"RIFF"),
        ("MP3", b""),
        ("OGG_OPUS", b"OggS"),
        ("MULAW", b"RIFF"),
        ("ALAW", b"RIFF"),
        ("M4A", b"\x00\x00\x00"),
    ],
)
async def test_every_encoding_holds_the_whole_sound(scripted: Speech, encoding: str, start: bytes) -> None:
    plain = pcm(await whole(scripted, encoding="PCM"))
    content = await whole(scripted, encoding=encoding)
    assert content.startswith(start)
    assert loud_seconds(samples_of(content, 24_000)) == pytest.approx(loud_seconds(plain), abs=0.1)


@pytest.mark.parametrize("encoding", ["LINEAR16", "MP3", "OGG_OPUS"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
async def test_the_sample_rate_is_the_one_asked_for(scripted: Speech, encoding: str, rate: int) -> None:
    content = await whole(scripted, encoding=encoding, sample_rate_hertz=rate)
    assert loud_seconds(samples_of(content, 24_000)) == pytest.approx(len(SENTENCE) * 0.06, abs=0.1)
    if encoding == "LINEAR16":
        assert struct.unpack_from("<I", content, 24)[0] == rate


@pytest.mark.parametrize("rate", [0.25, 0.5, 1.5, 2.0])
async def test_the_speaking_rate_makes_speech_longer_or_shorter(real: Speech, rate: float) -> None:
    normal = loud_seconds(pcm(await whole(real, encoding="PCM")))
    changed = loud_seconds(pcm(await whole(real, encoding="PCM", speaking_rate=rate)))
    assert changed == pytest.approx(normal / rate, rel=0.2)


async def test_the_volume_gain_is_honoured(scripted: Speech) -> None:
    normal = np.abs(pcm(await whole(scripted, encoding="PCM"))).max()
    quieter = np.abs(pcm(await whole(scripted, encoding="PCM", volume_gain_db=-6))).max()
    assert quieter == pytest.approx(normal * 0.501, rel=0.02)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"input": {}}, "a text to speak is needed"),
        ({"input": {"text": " \n"}}, "a text to speak is needed"),
        ({"input": {"text": "ä" * 2501}}, "longer than the limit of 5000 bytes"),
        ({"input": {"ssml": "<speak>Hello.</speak>"}}, "does not support SSML"),
        ({"voice": {"language_code": "en-US", "name": "en-US-Chirp3-HD-Nobody"}}, "Is it misspelled"),
        ({"voice": {"language_code": "en-GB", "name": VOICE}}, "doesn't match the voice"),
        ({"voice": {"language_code": "de-DE"}}, "speaks English only"),
        ({"voice": {}}, "language_code"),
        ({"voice": {"language_code": "!"}}, "Invalid language code"),
        ({"audio_config": {}}, "audio_encoding"),
        ({"audio_config": {"audio_encoding": "MP3", "speaking_rate": 2.1}}, "speaking_rate"),
        ({"audio_config": {"audio_encoding": "MP3", "speaking_rate": 0.2}}, "speaking_rate"),
        ({"audio_config": {"audio_encoding": "MP3", "pitch": 2.0}}, "pitch"),
        ({"audio_config": {"audio_encoding": "MP3", "volume_gain_db": 17}}, "volume_gain_db"),
        ({"audio_config": {"audio_encoding": "MP3", "sample_rate_hertz": 4_000}}, "sample_rate_hertz"),
    ],
)
async def test_what_cannot_be_spoken_is_refused(scripted: Speech, change: dict[str, Any], sentence: str) -> None:
    good: dict[str, Any] = {
        "input": {"text": SENTENCE},
        "voice": {"language_code": "en-US", "name": VOICE},
        "audio_config": {"audio_encoding": "MP3"},
    }
    with pytest.raises(exceptions.InvalidArgument) as refused:
        await scripted.speaking.synthesize_speech(
            request=texttospeech.SynthesizeSpeechRequest(good | change), timeout=SECONDS
        )
    assert sentence in refused.value.message


async def test_the_longest_text_is_spoken(scripted: Speech) -> None:
    assert await whole(scripted, "a" * 5000)


async def test_pauses_in_markup_are_not_read_out(scripted: Speech) -> None:
    request = texttospeech.SynthesizeSpeechRequest(
        {
            "input": {"markup": "Hello.[pause long]Bye."},
            "voice": {"language_code": "en-US", "name": VOICE},
            "audio_config": {"audio_encoding": "PCM"},
        }
    )
    answer = await scripted.speaking.synthesize_speech(request=request, timeout=SECONDS)
    assert loud_seconds(pcm(answer.audio_content)) == pytest.approx(len("Hello. Bye.") * 0.06, abs=0.05)


# streams


class Talk:
    """A synthesis stream that is led by hand: say something, then hear what came."""

    def __init__(self, running: Speech, encoding: str = "PCM") -> None:
        self._running = running
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._answers: Any = None
        for message in said([], encoding=encoding):
            self._outbox.put_nowait(message)

    async def _requests(self) -> AsyncIterator[Any]:
        while (message := await self._outbox.get()) is not None:
            yield message

    async def __aenter__(self) -> Talk:
        self._answers = await self._running.speaking.streaming_synthesize(requests=self._requests(), timeout=SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._answers.cancel()

    def say(self, text: str | None) -> None:
        """None ends the input."""
        self._outbox.put_nowait(None if text is None else spoken(text))

    async def hear(self) -> bytes:
        answer = await asyncio.wait_for(anext(aiter(self._answers)), SECONDS)
        content: bytes = answer.audio_content
        return content

    async def hear_seconds(self, seconds: float) -> bytes:
        """PCM of so many seconds, or more."""
        content = b""
        while len(content) < seconds * 48_000:
            content += await self.hear()
        return content

    async def hear_rest(self) -> bytes:
        return b"".join([answer.audio_content async for answer in self._answers])


@pytest.mark.parametrize("encoding", ["PCM", "OGG_OPUS"])
async def test_a_sentence_is_heard_before_the_next_one_is_said(scripted: Speech, encoding: str) -> None:
    async with Talk(scripted, encoding) as talk:
        talk.say("This is the first.")
        first = await talk.hear()
        talk.say("This is the second.")
        talk.say(None)
        rest = await talk.hear_rest()
    length = len("This is the first.This is the second.") * 0.06
    content = first + rest
    samples = pcm(content) if encoding == "PCM" else samples_of(content, 24_000)
    assert first
    assert loud_seconds(samples) == pytest.approx(length, abs=0.2)


async def test_a_whole_sentence_comes_out_of_the_ogg_stream_before_anything_follows(real: Speech) -> None:
    plain = pcm(await whole(real, encoding="PCM"))
    async with Talk(real, "OGG_OPUS") as talk:
        talk.say(SENTENCE)
        content = await talk.hear()
        while len(samples_of(content, 24_000)) < len(plain):
            content += await talk.hear()
        assert words(await heard(real.hearing, content)) == SPOKEN
        talk.say(None)
        await talk.hear_rest()


async def test_fragments_of_a_sentence_are_spoken_as_one(scripted: Speech) -> None:
    pieces = ["How are ", "you to", "day", "?", " Fine"]
    content = b"".join(await synthesized(scripted.speaking, said(pieces)))
    # the tone fades at the ends of each sentence and is silent nowhere else
    samples = pcm(content)
    assert len(samples) / 24_000 == pytest.approx(len("How are you today?Fine") * 0.06, abs=0.01)
    quiet = np.abs(samples).reshape(-1, 24).max(axis=1) < 0.02
    assert np.count_nonzero(np.diff(quiet.astype(int)) == 1) <= 2


async def test_an_ogg_stream_is_one_logical_stream_from_begin_to_end(scripted: Speech) -> None:
    pieces = await synthesized(scripted.speaking, said(["One. ", "Two. ", "Three."], encoding="OGG_OPUS"))
    content = b"".join(pieces)
    pages = ogg_pages(content)
    flags, serials, numbers = zip(*pages, strict=True)
    assert len(set(serials)) == 1
    assert list(numbers) == list(range(len(numbers)))
    assert [bool(flag & 2) for flag in flags] == [True] + [False] * (len(flags) - 1)
    assert [bool(flag & 4) for flag in flags] == [False] * (len(flags) - 1) + [True]
    assert content[28:36] == b"OpusHead"
    assert loud_seconds(samples_of(content, 24_000)) == pytest.approx(len("One.Two.Three.") * 0.06, abs=0.25)


def ogg_pages(content: bytes) -> list[tuple[int, int, int]]:
    """Flags, serial and sequence number of each page (RFC 3533, section 6)."""
    pages, at = [], 0
    while at < len(content):
        magic, flags, _, serial, number, _, segments = struct.unpack_from("<4sxBQIIIB", content, at)
        assert magic == b"OggS"
        pages.append((flags, serial, number))
        at += 27 + segments + sum(content[at + 27 : at + 27 + segments])
    return pages


@pytest.mark.parametrize(("encoding", "bytes_a_second"), [("PCM", 32_000), ("MULAW", 16_000), ("ALAW", 16_000)])
async def test_bare_encodings_stream_at_the_rate_asked_for(
    scripted: Speech, encoding: str, bytes_a_second: int
) -> None:
    messages = said(["Hello there."], encoding=encoding, sample_rate_hertz=16_000)
    content = b"".join(await synthesized(scripted.speaking, messages))
    assert len(content) / bytes_a_second == pytest.approx(len("Hello there.") * 0.06, abs=0.02)


async def test_no_message_is_larger_than_16_kilobytes(real: Speech) -> None:
    pieces = await synthesized(real.speaking, said([SENTENCE, SENTENCE]))
    assert min(map(len, pieces)) > 0
    assert max(map(len, pieces)) <= 16 * 1024


async def test_a_stream_without_text_ends_without_sound(scripted: Speech) -> None:
    assert b"".join(await synthesized(scripted.speaking, said([]))) == b""


async def test_a_stream_that_is_left_waiting_is_aborted(scripted: Speech) -> None:
    async with Talk(scripted) as talk:
        talk.say("Hello.")
        await talk.hear()
        before = time.monotonic()
        with pytest.raises(exceptions.Aborted, match="without input sent"):
            await talk.hear_rest()
    assert time.monotonic() - before > 0.8


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "first message"),
        ([spoken("Hello.")], "first message"),
        ([*said([]), *said([])], "Only the first message"),
        (said([], encoding="MP3"), "streaming_audio_config.audio_encoding"),
        (said([], encoding="LINEAR16"), "streaming_audio_config.audio_encoding"),
        (said([], voice="en-US-Standard-A"), "does not exist"),
        (said([], speaking_rate=3.0), "speaking_rate"),
        (said(["a" * 5001]), "limit of 5000 bytes"),
    ],
    ids=["nothing", "text first", "configured twice", "mp3", "wav", "other voice", "too fast", "too long"],
)
async def test_a_stream_out_of_order_is_refused(scripted: Speech, messages: list[Any], sentence: str) -> None:
    with pytest.raises(exceptions.InvalidArgument) as refused:
        await synthesized(scripted.speaking, messages)
    assert sentence in refused.value.message


async def test_a_stream_without_a_voice_name_is_refused(scripted: Speech) -> None:
    (first,) = said([])
    first.streaming_config.voice.name = ""
    with pytest.raises(exceptions.InvalidArgument, match="Chirp 3: HD"):
        await synthesized(scripted.speaking, [first])


async def test_a_short_answer_does_not_wait_for_a_long_one(real: Speech) -> None:
    finished: list[str] = []

    async def speak(name: str, texts: list[str]) -> None:
        await synthesized(real.speaking, said(texts))
        finished.append(name)

    long = asyncio.create_task(speak("long", [SENTENCE] * 40))
    await asyncio.sleep(0.1)
    await speak("short", ["Yes."])
    await long
    assert finished == ["short", "long"]


async def test_eighty_streams_at_once_are_served_by_the_scripted_engine(tmp_path: Path) -> None:
    both = Engines(ScriptedEar(0, None, {}), ScriptedMouth(200))
    async with running_speech(both, tmp_path) as running:
        before = time.monotonic()
        streams = await asyncio.gather(*(synthesized(running.speaking, said([SENTENCE])) for _ in range(80)))
        # One after another they would take 80 times a fifth of a second.
        assert time.monotonic() - before < 16
    assert {sum(map(len, pieces)) for pieces in streams} == {round(len(SENTENCE) * 0.06 * 24_000) * 2}


async def test_whole_texts_and_streams_share_one_quota(tmp_path: Path) -> None:
    both = Engines(ScriptedEar(0, None, {}), ScriptedMouth(0))
    quotas = texttospeech_quotas("oprina-local", {"QUOTA_TEXTTOSPEECH_PER_MINUTE": "2"}, lambda: 600.0)
    async with running_speech(both, tmp_path, speaking_quotas=quotas) as running:
        await whole(running)
        await synthesized(running.speaking, said(["One. ", "Two. ", "Three."]))
        with pytest.raises(exceptions.ResourceExhausted, match="Chirp3 requests"):
            await synthesized(running.speaking, said(["One."]))
        with pytest.raises(exceptions.ResourceExhausted, match=r"texttospeech\.googleapis\.com"):
            await whole(running)
        assert (await running.speaking.list_voices(timeout=SECONDS)).voices


@pytest.mark.parametrize(
    ("text", "sentences", "rest"),
    [
        ("Hello there.", ["Hello there."], ""),
        ("Hello there. How", ["Hello there."], "How"),
        ("It costs 3.", [], "It costs 3."),
        ("It costs 3.14 euros. And", ["It costs 3.14 euros."], "And"),
        ("It costs 3. ", ["It costs 3."], ""),
        ("Dr. Smith is in. Come", ["Dr. Smith is in."], "Come"),
        ("Ask Dr.", [], "Ask Dr."),
        ('She said "no." Then', ['She said "no."'], "Then"),
        ("A list:\nfirst\nsecond", ["A list:", "first"], "second"),
        ("Really?! Yes…", ["Really?!", "Yes…"], ""),
        ("", [], ""),
    ],
)
def test_sentences_are_taken_as_soon_as_they_are_whole(text: str, sentences: list[str], rest: str) -> None:
    assert take_sentences(text) == (sentences, rest)


async def test_the_header_of_a_wav_answer_counts_the_bytes_that_follow(real: Speech) -> None:
    content = await whole(real)
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8
