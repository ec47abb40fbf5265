"""A client of the product as tests and benchmarks need one: signs in, opens sessions, takes turns, reads streams."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

TURN_TIMEOUT = httpx.Timeout(120.0)


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event, with the moment it arrived (seconds on the monotonic clock)."""

    name: str
    data: dict[str, Any]
    arrived: float


@dataclass
class TurnStream:
    """All that came of a streamed turn."""

    status: int
    headers: httpx.Headers
    events: list[StreamEvent] = field(default_factory=list)
    problem: dict[str, Any] | None = None
    comments: int = 0

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.name == name]

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    @property
    def completed(self) -> dict[str, Any]:
        (data,) = self.named("turn.completed")
        return data

    @property
    def failed(self) -> dict[str, Any]:
        (data,) = self.named("turn.failed")
        return data

    @property
    def reply(self) -> str:
        return "".join(data["text"] for data in self.named("reply.delta"))


async def read_events(answer: httpx.Response, comments: list[str] | None = None) -> AsyncIterator[StreamEvent]:
    """The events of an open event stream, as they arrive."""
    name, data = "", ""
    async for line in answer.aiter_lines():
        if line.startswith(":"):
            if comments is not None:
                comments.append(line)
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data = line[6:]
        elif not line and name:
            yield StreamEvent(name, json.loads(data), time.monotonic())
            name, data = "", ""


class Talker:
    """A signed-in person's client."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        """`headers` carry the person's access token."""
        self._client = httpx.AsyncClient(base_url=base_url, timeout=TURN_TIMEOUT, trust_env=False)
        self.headers = dict(headers)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return await self._client.request(method, path, headers=headers, **options)

    async def new_session(self) -> str:
        answer = await self.request("POST", "/v1/sessions", json={})
        assert answer.status_code == 201, answer.text
        identifier: str = answer.json()["id"]
        return identifier

    @asynccontextmanager
    async def open_turn(
        self,
        session_id: str,
        *,
        text: str | None = None,
        audio: bytes | None = None,
        content_type: str = "audio/wav",
        key: str | None = None,
        accept: str = "text/event-stream",
        **query: Any,
    ) -> AsyncIterator[httpx.Response]:
        """The open answer of a turn; leave the block early to go away in the middle."""
        headers = {**self.headers, "Accept": accept, "Idempotency-Key": key or str(uuid4())}
        body: dict[str, Any] = {"json": {"text": text}} if audio is None else {"content": audio}
        if audio is not None:
            headers["Content-Type"] = content_type
        path = f"/v1/sessions/{session_id}/turns"
        async with self._client.stream("POST", path, headers=headers, params=query, **body) as answer:
            yield answer

    async def turn(self, session_id: str, **options: Any) -> TurnStream:
        """Take a turn as a stream, to its end."""
        comments: list[str] = []
        async with self.open_turn(session_id, **options) as answer:
            stream = TurnStream(answer.status_code, answer.headers)
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                stream.events = [event async for event in read_events(answer, comments)]
            else:
                stream.problem = json.loads(await answer.aread())
        stream.comments = len(comments)
        return stream

    async def turn_document(self, session_id: str, **options: Any) -> httpx.Response:
        """Take a turn as one document."""
        async with self.open_turn(session_id, accept="application/json", **options) as answer:
            await answer.aread()
        return answer

    async def messages(self, session_id: str, **query: Any) -> list[dict[str, Any]]:
        answer = await self.request("GET", f"/v1/sessions/{session_id}/messages", params=query)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def stored_turn(self, session_id: str, turn_id: str) -> dict[str, Any]:
        answer = await self.request("GET", f"/v1/sessions/{session_id}/turns/{turn_id}")
        assert answer.status_code == 200, answer.text
        turn: dict[str, Any] = answer.json()
        return turn


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is the problem document with this status and code, and complete."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    document: dict[str, Any] = answer.json()
    assert document["code"] == code, document
    assert document["status"] == status
    assert {"type", "title", "detail", "instance", "request_id", "retryable"} <= document.keys()
    return document


REPLY = "Of course. Here is what I found for you. Is there anything else?"
SAYING = f"[[say {REPLY}]]"
LONG_REPLY = "This sentence has exactly seven spoken words. " * 12
SAYING_LONG = f"[[say {LONG_REPLY}]]"
