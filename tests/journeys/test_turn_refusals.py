"""A turn that cannot be taken is refused by its right problem document, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.support.recordings import recording, silence
from tests.support.stack import Stack
from tests.support.talk import (
    REPLY,
    SAYING,
    Talker,
    assert_problem,
    read_events,
)


def fault(stack: Stack, stand_in: str, method: str, **what: Any) -> None:
    stack.set_faults({stand_in: {method: what}})


async def test_another_turn_in_the_same_session_waits_and_is_told_which_one_runs(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    fault(stack, "agent", "streamQuery", delay_ms=2000)
    async with talker.open_turn(session, text=f"Slow {SAYING}") as answer:
        started = await anext(read_events(answer))
        refused = await talker.turn_document(session, text="Me too")
        document = assert_problem(refused, 409, "turn_in_progress")
        assert document["turn_id"] == started.data["turn_id"]
        assert int(refused.headers["retry-after"]) >= 1


async def test_someone_elses_session_is_not_there(talker: Talker, other_talker: Talker) -> None:
    session = await talker.new_session()
    assert_problem(await other_talker.turn_document(session, text="Let me in"), 404, "not_found")
    assert_problem(await other_talker.turn_document(session, audio=recording("wav", 1.0)[0]), 404, "not_found")
    assert await talker.messages(session) == []


async def test_a_session_that_is_not_there_is_not_found(talker: Talker) -> None:
    assert_problem(await talker.turn_document(str(uuid4()), text="Hello?"), 404, "not_found")


async def test_an_ended_session_takes_no_turn(talker: Talker) -> None:
    session = await talker.new_session()
    await talker.request("POST", f"/v1/sessions/{session}/end")
    assert_problem(await talker.turn_document(session, text="One more"), 409, "session_ended")


BAD_AUDIO: list[tuple[str, Callable[[], bytes], str, int, str]] = [
    ("nothing", lambda: b"", "audio/wav", 422, "audio_empty"),
    ("a text file", lambda: b"not audio at all\n" * 100, "audio/webm", 422, "audio_unreadable"),
    ("a webm without its body", lambda: recording("webm", 2.0)[0][:150], "audio/webm", 422, "audio_unreadable"),
    ("a minute and a second", lambda: recording("ogg", 61.0)[0], "audio/ogg", 413, "audio_too_long"),
    ("a picture", lambda: b"\x89PNG\r\n\x1a\n" + bytes(500), "image/png", 415, "unsupported_media_type"),
    ("text by its type", lambda: b"hello", "text/plain", 415, "unsupported_media_type"),
]


@pytest.mark.parametrize(
    ("make", "content_type", "status", "code"), [row[1:] for row in BAD_AUDIO], ids=[r[0] for r in BAD_AUDIO]
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_what_cannot_be_heard_is_refused_before_the_answer_begins(
    talker: Talker, make: Callable[[], bytes], content_type: str, status: int, code: str, accept: str
) -> None:
    session = await talker.new_session()
    async with talker.open_turn(session, audio=make(), content_type=content_type, accept=accept) as answer:
        await answer.aread()
    document = assert_problem(answer, status, code)
    if status == 413:
        assert "/v1/jobs" in document["detail"]
    assert await talker.messages(session) == []
    after = await talker.turn(session, text=f"Still here? {SAYING}", speak="false")
    assert after.reply == REPLY


async def test_eleven_mebibytes_are_refused_while_they_are_read(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.places.port)
    lines = [
        f"POST /v1/sessions/{session}/turns HTTP/1.1",
        "Host: localhost",
        "Content-Type: audio/wav",
        "Transfer-Encoding: chunked",
        f"Idempotency-Key: {uuid4()}",
        *(f"{name}: {value}" for name, value in talker.headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answered = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    mebibytes = 0
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    while not answered.done() and mebibytes < 40:
        writer.write(chunk * 16)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        mebibytes += 1
        await asyncio.sleep(0.05)
    head = (await answered).decode()
    writer.close()
    assert head.startswith("HTTP/1.1 413")
    assert mebibytes < 20
    refused = await talker.turn_document(session, audio=bytes(11 * 1024 * 1024))
    assert "/v1/jobs" in assert_problem(refused, 413, "audio_too_large")["detail"]


async def test_silence_is_no_speech_and_the_agent_is_not_asked(talker: Talker) -> None:
    session = await talker.new_session()
    document = await talker.turn_document(session, audio=silence(2.0))
    assert_problem(document, 422, "no_speech")
    streamed = await talker.turn(session, audio=silence(2.0))
    assert streamed.failed["code"] == "no_speech"
    assert streamed.failed["status"] == 422
    assert "reply.delta" not in streamed.names
    stored = await talker.stored_turn(session, streamed.failed["turn_id"])
    assert (stored["status"], stored["code"]) == ("failed", "no_speech")
    assert await talker.messages(session) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"voice": "xx-XX-Chirp3-HD-Nobody"}, "voice_unknown"),
        ({"language": "tlh"}, "language_unsupported"),
        ({"language": "not a language"}, "validation_failed"),
        ({"audio_format": "midi"}, "validation_failed"),
    ],
)
async def test_an_unknown_voice_or_language_is_refused(talker: Talker, query: dict[str, str], code: str) -> None:
    session = await talker.new_session()
    assert_problem(await talker.turn_document(session, text="Hi", **query), 422, code)


@pytest.mark.parametrize("body", [{"text": ""}, {"text": "  "}, {}, {"text": "x" * 8001}, {"text": "a", "more": 1}])
async def test_a_text_that_is_none_is_refused_and_its_field_is_named(talker: Talker, body: dict[str, Any]) -> None:
    session = await talker.new_session()
    headers = {"Idempotency-Key": str(uuid4())}
    answer = await talker.request("POST", f"/v1/sessions/{session}/turns", json=body, headers=headers)
    document = assert_problem(answer, 422, "validation_failed")
    assert document["errors"][0]["field"] in {"text", "more"}


async def test_json_that_is_none_is_refused(talker: Talker) -> None:
    session = await talker.new_session()
    answer = await talker.request(
        "POST",
        f"/v1/sessions/{session}/turns",
        content=b'{"text": ',
        headers={"Idempotency-Key": str(uuid4()), "Content-Type": "application/json"},
    )
    assert_problem(answer, 400, "json_invalid")
