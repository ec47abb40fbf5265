"""Server-sent events: their form, the comment lines that keep them alive, and what happens when the client goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from shared.http.streams import Event, EventStream
from tests.support import kit

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def pieces(spoken: kit.Spoken) -> list[bytes]:
    return [message["body"] for message in spoken.sent if message["type"] == "http.response.body"]


@given(st.recursive(TEXT | st.integers() | st.booleans(), lambda inner: st.dictionaries(TEXT, inner), max_leaves=8))
def test_an_event_is_three_lines_whatever_it_says(value: object) -> None:
    written = Event("reply.delta", {"text": value}, id="7").encode().decode()
    assert written.endswith("\n\n")
    number, name, data = written.removesuffix("\n\n").split("\n")
    assert (number, name) == ("id: 7", "event: reply.delta")
    assert "\r" not in written
    assert json.loads(data.removeprefix("data: ")) == {"text": value}


async def test_a_silent_stream_is_kept_alive_by_comment_lines() -> None:
    async def slow() -> AsyncIterator[Event]:
        await asyncio.sleep(0.2)
        yield Event("done", {})

    spoken = await kit.speak(EventStream(slow(), keep_alive_seconds=0.03), "GET", "/")
    *comments, event, end = pieces(spoken)
    assert len(comments) >= 3
    assert all(comment.startswith(b":") and comment.endswith(b"\n\n") for comment in comments)
    assert event.startswith(b"event: done")
    assert end == b""


async def test_a_stream_says_what_it_is_and_gives_no_length() -> None:
    async def one() -> AsyncIterator[Event]:
        yield Event("done", {})

    spoken = await kit.speak(EventStream(one(), headers={"X-Turn": "1"}), "GET", "/")
    headers = dict(spoken.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-turn"] == b"1"
    assert b"content-length" not in headers
    assert spoken.sent[-1].get("more_body", False) is False


class Talker:
    """Events without end, and a record of how they were stopped."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    async def events(self) -> AsyncGenerator[Event]:
        try:
            yield Event("begun", {})
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            self.happened.append("stopped")

    async def on_disconnect(self) -> None:
        await asyncio.sleep(0)
        self.happened.append("told")


async def test_a_client_that_goes_stops_the_events_and_then_what_must_be_finished_is_finished() -> None:
    talker, leave = Talker(), asyncio.Event()
    exchange = asyncio.create_task(
        kit.speak(EventStream(talker.events(), talker.on_disconnect), "GET", "/", leave=leave)
    )
    await asyncio.sleep(0.05)
    assert talker.happened == []
    leave.set()
    await asyncio.wait_for(exchange, 2)
    assert talker.happened == ["stopped", "told"]


async def test_a_connection_that_breaks_while_sending_counts_as_gone() -> None:
    talker = Talker()

    async def broken(app: EventStream) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                raise OSError("connection reset")

        async def receive() -> Message:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        await app({"type": "http"}, receive, send)

    await asyncio.wait_for(broken(EventStream(talker.events(), talker.on_disconnect)), 2)
    assert talker.happened == ["stopped", "told"]


async def test_a_client_that_stays_to_the_end_is_not_taken_for_gone() -> None:
    told = []

    async def two() -> AsyncIterator[Event]:
        yield Event("one", {})
        yield Event("two", {})

    async def on_disconnect() -> None:
        told.append("gone")

    spoken = await kit.speak(EventStream(two(), on_disconnect), "GET", "/")
    assert [piece.split(b"\n")[0] for piece in pieces(spoken)] == [b"event: one", b"event: two", b""]
    assert told == []


async def test_an_event_waits_for_the_client_to_take_the_one_before() -> None:
    made = []

    async def counted() -> AsyncIterator[Event]:
        for number in range(100):
            made.append(number)
            yield Event("piece", {"number": number})

    blocked, stream = asyncio.Event(), EventStream(counted())

    async def exchange(app: EventStream) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                await blocked.wait()

        async def receive() -> Message:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        await app({"type": "http"}, receive, send)

    running = asyncio.create_task(exchange(stream))
    await asyncio.sleep(0.05)
    assert made == [0]
    blocked.set()
    await asyncio.wait_for(running, 2)
    assert len(made) == 100
