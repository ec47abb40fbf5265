"""A person's client, as lean as can be: what the load costs must not be what is measured."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.support.stack import StackPerson
from tests.support.talk import read_events

_TIMEOUT = httpx.Timeout(150.0)


@dataclass
class Taken:
    """How a turn went: HTTP status and code of a refusal, or the times and the end of a stream."""

    status: int
    began: float
    code: str | None = None
    retry_after_seconds: float | None = None
    transcript_ms: float | None = None
    first_text_ms: float | None = None
    first_audio_ms: float | None = None
    whole_ms: float = 0.0
    timings_ms: dict[str, float] = field(default_factory=dict)
    turn_id: str | None = None
    speech: str | None = None

    @property
    def completed(self) -> bool:
        return self.status == 200 and self.code is None and self.speech == "complete"


@asynccontextmanager
async def connections(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """One pool for all callers, each of whom brings their own headers."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=base_url, timeout=_TIMEOUT, limits=limits, trust_env=False) as client:
        yield client


class Caller:
    """One person with one session."""

    def __init__(self, client: httpx.AsyncClient, person: StackPerson) -> None:
        self.client = client
        self.headers = person.headers
        self.session_id = ""

    async def open_session(self) -> None:
        answer = await self.client.post("/v1/sessions", json={}, headers=self.headers)
        assert answer.status_code == 201, answer.text
        self.session_id = answer.json()["id"]

    async def turn(self, question: bytes | str, content_type: str = "", audio_format: str = "ogg_opus") -> Taken:
        """Take a streamed turn to its end. `question` is a recording or a text."""
        headers = {**self.headers, "Accept": "text/event-stream", "Idempotency-Key": str(uuid4())}
        body: dict[str, Any] = {"json": {"text": question}}
        if isinstance(question, bytes):
            headers["Content-Type"] = content_type
            body = {"content": question}
        path = f"/v1/sessions/{self.session_id}/turns"
        began = time.monotonic()
        options: dict[str, Any] = {"headers": headers, "params": {"audio_format": audio_format}, **body}
        async with self.client.stream("POST", path, **options) as answer:
            taken = Taken(answer.status_code, began)
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                await _follow(taken, answer)
            else:
                _refused(taken, answer.headers, await answer.aread())
        taken.whole_ms = (time.monotonic() - began) * 1000
        return taken


async def _follow(taken: Taken, answer: httpx.Response) -> None:
    taken.code = "broken_off"
    async for event in read_events(answer):
        passed = (event.arrived - taken.began) * 1000
        if event.name == "transcript":
            taken.transcript_ms = passed
        elif event.name == "reply.delta" and taken.first_text_ms is None:
            taken.first_text_ms = passed
        elif event.name == "audio" and taken.first_audio_ms is None:
            taken.first_audio_ms = passed
        elif event.name == "turn.failed":
            taken.code = event.data["code"]
        elif event.name == "turn.completed":
            taken.code, taken.turn_id = None, event.data["turn_id"]
            taken.timings_ms = event.data["timings_ms"]
            taken.speech = event.data["speech"]["status"]


def _refused(taken: Taken, headers: httpx.Headers, body: bytes) -> None:
    taken.code = json.loads(body)["code"]
    if "retry-after" in headers:
        taken.retry_after_seconds = float(headers["retry-after"])


async def callers(client: httpx.AsyncClient, people: Sequence[StackPerson]) -> list[Caller]:
    """Everybody with a session opened."""
    everybody = [Caller(client, person) for person in people]
    for caller in everybody:
        await caller.open_session()
    return everybody
