"""A function that has one operation for each thing the endpoint kit promises, and ways to call it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
from fastapi import Body, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from starlette.types import ASGIApp, Message

from shared.http.bearer import Anyone
from shared.http.declaration import Caller, Function
from shared.http.paging import Paging
from shared.runtime.errors import RateLimited, Unauthenticated, Unavailable
from shared.runtime.visit import Entry, Rate, Replay

LIMIT_BYTES = 1000
INTERNAL = "postgres://app:hunter2@10.0.0.7/oprina"


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    count: int = 1


def sample() -> Function:
    """A fresh function at /v1/things/{thing}; `thing` says what its GET does."""
    function = Function(name="kit-sample", path="/v1/things/{thing}")

    @function.get("Do as the path says", caller=Caller.EVERYONE, rate=Rate(60, burst=20))
    async def read(thing: str, visit: Anyone, page: Paging) -> dict[str, Any]:
        visit.entry = Entry(limit=20, remaining=7, reset_seconds=13)
        if thing in _RAISED:
            raise _RAISED[thing]
        return {"thing": thing, "after": page.after, "address": visit.address}

    @function.post("Take a wish", caller=Caller.EVERYONE, idempotency="accepted", max_body_bytes=LIMIT_BYTES)
    async def wish(thing: str, visit: Anyone, body: Annotated[Wish, Body()]) -> dict[str, Any]:
        return {"thing": thing, "text": body.text, "key": visit.key}

    @function.patch("Read a raw body, or break off in the middle", caller=Caller.EVERYONE, max_body_bytes=LIMIT_BYTES)
    async def read_raw(thing: str, request: Request) -> Any:
        if thing == "break-off":
            return StreamingResponse(_breaking_off(), media_type="text/plain")
        return {"size": sum([len(chunk) async for chunk in request.stream()])}

    return function


async def _breaking_off() -> AsyncIterator[bytes]:
    yield b"so far "
    raise RuntimeError(INTERNAL)


_RAISED: dict[str, Exception] = {
    "unforeseen": RuntimeError(INTERNAL),
    "unauthenticated": Unauthenticated("The access token has expired. Refresh it.", code="token_expired"),
    "limited": RateLimited("Slow down.", extra={"retry_after_seconds": 4, "limit": 20, "reset_seconds": 9}),
    "away": Unavailable("The database does not answer.", code="database_unavailable", retry_after_seconds=2),
    "replayed": Replay(201, {"thing": "first"}, None),
    "replayed-failure": Replay(422, {"code": "no_speech", "status": 422}, None),
}


def client(function: Function) -> httpx.AsyncClient:
    """A client that speaks to the function's application; errors that reach the server are not raised here."""
    transport = httpx.ASGITransport(app=function.asgi, raise_app_exceptions=False, client=("203.0.113.9", 4711))
    return httpx.AsyncClient(transport=transport, base_url="http://oprina.test")


@dataclass
class Spoken:
    """One exchange at ASGI's level: what the application took from the client, and what it sent."""

    sent: list[Message] = field(default_factory=list)
    taken_bytes: int = 0

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def document(self) -> Any:
        return json.loads(b"".join(message.get("body", b"") for message in self.sent[1:]))


async def speak(
    app: ASGIApp,
    method: str,
    path: str,
    body: Iterable[bytes] = (),
    headers: Iterable[tuple[str, str]] = (),
    *,
    leave: asyncio.Event | None = None,
) -> Spoken:
    """Run one exchange, handing over the body piece by piece as the application asks for it.

    `leave` set means that the client has gone; without it the client waits for as long as it takes.
    """
    spoken = Spoken()
    pieces = iter(body)
    leave = leave or asyncio.Event()

    async def receive() -> Message:
        piece = next(pieces, None)
        if piece is not None:
            spoken.taken_bytes += len(piece)
            return {"type": "http.request", "body": piece, "more_body": True}
        if not getattr(receive, "ended", False):
            receive.ended = True  # type: ignore[attr-defined]
            return {"type": "http.request", "body": b"", "more_body": False}
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        spoken.sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("203.0.113.9", 4711),
        "server": ("oprina.test", 80),
    }
    await app(scope, receive, send)
    return spoken
