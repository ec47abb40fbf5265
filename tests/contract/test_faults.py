"""What the console asks to go wrong goes wrong, in the order promised, and nothing else does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions

from local.faults import NO_FAULT, FaultBook
from local.grpc_server import Call, GrpcServer, StandIn
from local.refusals import invalid
from local.speech.hearing import Clip, Heard, ScriptedEar
from local.speech.recognizer import Recognizer
from local.speech.server import Engines
from local.speech.speaking import ScriptedMouth
from tests.support.speech import (
    RECOGNIZER,
    SECONDS,
    Speech,
    clients,
    heard,
    running_speech,
    said,
    spoken,
    stream_of,
    synthesized,
    tone,
    wav,
)

CLIP = wav(tone(0.5))


class CountingEar(ScriptedEar):
    """Counts the work that was done, whether or not its answer arrives."""

    def __init__(self) -> None:
        super().__init__(0, "hello", {})
        self.works = 0

    async def hear(self, clip: Clip, *, words: bool) -> list[Heard]:
        self.works += 1
        return await super().hear(clip, words=words)


@pytest.fixture
def ear() -> CountingEar:
    return CountingEar()


@pytest.fixture
async def running(tmp_path: Path, ear: CountingEar) -> AsyncIterator[Speech]:
    async with running_speech(Engines(ear, ScriptedMouth(0)), tmp_path) as speech:
        yield speech


async def test_a_slow_stand_in_answers_late(running: Speech) -> None:
    running.faults.write({"speech": {"Recognize": {"delay_ms": 300}}})
    before = time.monotonic()
    assert await heard(running.hearing, CLIP) == "hello"
    assert time.monotonic() - before >= 0.3


async def test_a_delay_meets_the_clients_deadline(running: Speech, ear: CountingEar) -> None:
    running.faults.write({"speech": {"Recognize": {"delay_ms": 5_000}}})
    with pytest.raises(exceptions.DeadlineExceeded):
        await running.hearing.recognize(request={"recognizer": RECOGNIZER}, timeout=0.2)
    assert ear.works == 0


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("UNAVAILABLE", exceptions.ServiceUnavailable),
        ("RESOURCE_EXHAUSTED", exceptions.ResourceExhausted),
        ("INTERNAL", exceptions.InternalServerError),
    ],
)
async def test_a_status_alone_fails_every_call_before_any_work(
    running: Speech, ear: CountingEar, status: str, error: type[Exception]
) -> None:
    running.faults.write({"speech": {"Recognize": {"status": status}}})
    for _ in range(5):
        with pytest.raises(error):
            await heard(running.hearing, CLIP)
    assert ear.works == 0


async def test_a_rate_fails_about_so_many_calls(running: Speech) -> None:
    running.faults.write({"speech": {"*": {"fail_rate": 0.5}}})
    calls = (running.hearing.get_recognizer(name=RECOGNIZER, timeout=SECONDS) for _ in range(100))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, exceptions.ServiceUnavailable)]
    assert 20 <= len(failed) <= 80
    assert len(failed) + sum(not isinstance(answer, BaseException) for answer in answers) == 100


async def test_spared_calls_go_through_before_the_fault_begins(running: Speech) -> None:
    running.faults.write({"speech": {"Recognize": {"status": "UNAVAILABLE", "spare": 2}}})
    assert [await heard(running.hearing, CLIP) for _ in range(2)] == ["hello", "hello"]
    for _ in range(2):
        with pytest.raises(exceptions.ServiceUnavailable):
            await heard(running.hearing, CLIP)
    running.faults.write({"speech": {"Recognize": {"status": "UNAVAILABLE", "spare": 1}}})
    assert await heard(running.hearing, CLIP) == "hello"


async def test_a_lost_answer_comes_after_the_work(running: Speech, ear: CountingEar) -> None:
    running.faults.write({"speech": {"Recognize": {"lose_answer": True}}})
    with pytest.raises(exceptions.ServiceUnavailable):
        await heard(running.hearing, CLIP)
    assert ear.works == 1


async def test_a_duplicated_request_is_worked_on_twice_and_answered_once(running: Speech, ear: CountingEar) -> None:
    running.faults.write({"speech": {"Recognize": {"duplicate": True}}})
    assert await heard(running.hearing, CLIP) == "hello"
    assert ear.works == 2


async def test_a_stream_whose_answer_is_lost_breaks_after_its_first_message(running: Speech) -> None:
    running.faults.write({"texttospeech": {"StreamingSynthesize": {"lose_answer": True}}})
    pieces: list[bytes] = []
    with pytest.raises(exceptions.ServiceUnavailable):
        await _collect(running, said(["One. ", "Two. ", "Three."]), pieces)
    assert len(pieces) == 1


async def test_a_stream_can_fail_before_it_says_anything(running: Speech) -> None:
    running.faults.write({"texttospeech": {"*": {"status": "UNAVAILABLE"}}})
    pieces: list[bytes] = []
    with pytest.raises(exceptions.ServiceUnavailable):
        await _collect(running, said(["One."]), pieces)
    assert pieces == []


async def _collect(running: Speech, messages: list[Any], pieces: list[bytes]) -> None:
    answers = await running.speaking.streaming_synthesize(requests=stream_of(messages), timeout=SECONDS)
    async for answer in answers:
        pieces.append(answer.audio_content)  # noqa: PERF401 - what came before the failure is kept


async def test_other_methods_and_stand_ins_are_left_alone(running: Speech) -> None:
    running.faults.write({"speech": {"*": {"status": "UNAVAILABLE"}, "Recognize": {"delay_ms": 1}}})
    assert await heard(running.hearing, CLIP) == "hello"
    assert await synthesized(running.speaking, said(["Hello."]))
    with pytest.raises(exceptions.ServiceUnavailable):
        await running.hearing.get_recognizer(name=RECOGNIZER, timeout=SECONDS)


async def test_a_client_that_goes_away_ends_the_work_of_its_stream(running: Speech) -> None:
    messages = [*said(["One. "]), *(spoken("Again. ") for _ in range(10_000))]
    answers: Any = await running.speaking.streaming_synthesize(requests=stream_of(messages), timeout=SECONDS)
    await anext(aiter(answers))
    answers.cancel()
    assert await heard(running.hearing, CLIP) == "hello"


async def test_a_check_sees_who_calls_and_may_refuse_before_the_work(tmp_path: Path, ear: CountingEar) -> None:
    from google.cloud.speech_v2.services.speech.transports import SpeechGrpcTransport

    seen: list[Call] = []

    def needs_a_deadline(call: Call) -> None:
        seen.append(call)
        if call.seconds_left is None:
            raise invalid("A deadline is needed.")

    faults = FaultBook(tmp_path / "faults.json")
    checked = StandIn("speech", SpeechGrpcTransport, Recognizer(ear), faults, checks=(needs_a_deadline,))
    server = GrpcServer([checked])
    port = await server.start()
    try:
        async with clients(port) as (hearing, _):
            assert await heard(hearing, CLIP) == "hello"
            with pytest.raises(exceptions.InvalidArgument, match="A deadline is needed"):
                await hearing.get_recognizer(name=RECOGNIZER)
    finally:
        await server.stop(0)
    assert [call.method for call in seen] == ["Recognize", "GetRecognizer"]
    assert seen[0].metadata["x-goog-request-params"] == f"recognizer={RECOGNIZER}"
    assert SECONDS - 5 < (seen[0].seconds_left or 0) < SECONDS + 1  # rounded up on the wire


# the file


def test_a_book_without_a_file_asks_for_nothing(tmp_path: Path) -> None:
    assert FaultBook(tmp_path / "faults.json").for_call("speech", "Recognize") is NO_FAULT


def test_what_another_process_writes_is_seen_at_the_next_call(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    reader, writer = FaultBook(file), FaultBook(file)
    assert not reader.for_call("agent", "streamQuery").should_fail()
    writer.write({"agent": {"streamQuery": {"status": 429}}})
    fault = reader.for_call("agent", "streamQuery")
    assert fault.should_fail()
    assert fault.http_status == 429
    writer.write({})
    assert reader.for_call("agent", "streamQuery") is NO_FAULT
    assert reader.read() == {}


def test_what_is_written_is_read_back_without_the_defaults(tmp_path: Path) -> None:
    book = FaultBook(tmp_path / "deep" / "faults.json")
    book.write({"speech": {"*": {"delay_ms": 20, "lose_answer": False}}, "smtp": {"DATA": {"status": 451}}})
    assert book.read() == {"speech": {"*": {"delay_ms": 20}}, "smtp": {"DATA": {"status": 451}}}


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"speach": {}}, "no stand-in named speach"),
        ({"speech": {"*": {"delay": 3}}}, "speech.*.delay"),
        ({"speech": {"*": {"delay_ms": -1}}}, "speech.*.delay_ms"),
        ({"speech": {"*": {"fail_rate": 1.5}}}, "speech.*.fail_rate"),
        ({"speech": {"*": {"status": 503}}}, "cannot answer with the status 503"),
        ({"speech": {"*": {"status": "OK"}}}, "cannot answer with the status OK"),
        ({"agent": {"*": {"status": "UNAVAILABLE"}}}, "cannot answer with the status UNAVAILABLE"),
        ({"agent": {"*": {"status": 200}}}, "cannot answer with the status 200"),
    ],
)
def test_faults_that_no_stand_in_can_have_are_refused_and_change_nothing(
    tmp_path: Path, faults: dict[str, Any], said: str
) -> None:
    book = FaultBook(tmp_path / "faults.json")
    book.write({"speech": {"*": {"delay_ms": 5}}})
    with pytest.raises(ValueError, match=re.escape(said)):
        book.write(faults)
    assert book.read() == {"speech": {"*": {"delay_ms": 5}}}
    assert [file.name for file in tmp_path.iterdir()] == ["faults.json"]


def test_a_file_broken_by_hand_leaves_the_faults_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    book = FaultBook(file)
    book.write({"speech": {"*": {"delay_ms": 5}}})
    assert book.for_call("speech", "Recognize").delay_ms == 5
    file.write_text('{"speech": ')
    assert book.for_call("speech", "Recognize").delay_ms == 5
    file.write_text(json.dumps({"speech": {"*": {"delay_ms": 7}}}))
    os.utime(file, ns=(1, 1))
    assert book.for_call("speech", "Recognize").delay_ms == 7
