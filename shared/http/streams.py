"""Answers that come piece by piece: bytes, and server-sent events
(https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

KEEP_ALIVE_SECONDS = 15.0

_KEEP_ALIVE = b": still here\n\n"


@dataclass(frozen=True)
class Event:
    """One event: its name, one JSON object, and an id that the client may resume from."""

    name: str
    data: Mapping[str, Any]
    id: str | None = None

    def encode(self) -> bytes:
        lines = [f"id: {self.id}"] if self.id is not None else []
        lines.append(f"event: {self.name}")
        lines.append("data: " + json.dumps(self.data, separators=(",", ":"), ensure_ascii=False))
        return ("\n".join(lines) + "\n\n").encode()


class ByteStream(Response):
    """Streams bytes as they come.

    When the client goes away, the source is closed, and waited for, before the exchange ends: what it still has to
    write down then is written, since the platform may take the processor away afterwards.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        status_code: int = 200,
        *,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(None, status_code, {"X-Accel-Buffering": "no", **(headers or {})}, media_type)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        gone = asyncio.create_task(_until_disconnect(receive))
        try:
            finished = await self._pump(send, gone)
        except OSError:
            finished = False
        finally:
            gone.cancel()
        if finished:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._left()

    async def _pump(self, send: Send, gone: asyncio.Task[None]) -> bool:
        """Send pieces until they end (True) or the client is gone (False)."""
        waiting: asyncio.Task[bytes] | None = None
        try:
            while True:
                waiting = waiting or asyncio.create_task(_next(self._pieces))
                await asyncio.wait({waiting, gone}, timeout=self._silence_seconds, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return False
                if not waiting.done():
                    await _send_piece(send, _KEEP_ALIVE)
                    continue
                try:
                    piece = waiting.result()
                except StopAsyncIteration:
                    return True
                waiting = None
                await _send_piece(send, piece)
        finally:
            await _end(waiting, self._pieces)

    # Only a form that has a way to say nothing may break a silence.
    _silence_seconds: float | None = None

    async def _left(self) -> None:
        """The client is gone, and the source is closed."""


class EventStream(ByteStream):
    """Streams events as they come, with a comment line whenever nothing came for 15 s.

    When the client goes away, `on_disconnect` is awaited before the exchange ends: work that must still be finished
    belongs there, since the platform may take the processor away afterwards.
    """

    def __init__(
        self,
        events: AsyncIterator[Event],
        on_disconnect: Callable[[], Awaitable[None]] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        super().__init__(_encoded(events), media_type="text/event-stream", headers=headers)
        self._on_disconnect = on_disconnect
        self._silence_seconds = keep_alive_seconds

    async def _left(self) -> None:
        if self._on_disconnect is not None:
            await self._on_disconnect()


async def _encoded(events: AsyncIterator[Event]) -> AsyncGenerator[bytes]:
    try:
        async for event in events:
            yield event.encode()
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    return await anext(pieces)


async def _end(waiting: asyncio.Task[bytes] | None, pieces: AsyncIterator[bytes]) -> None:
    """Let the source clean up before the exchange goes on: afterwards nobody may wait for it."""
    if waiting is not None:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    if isinstance(pieces, AsyncGenerator):
        await pieces.aclose()


async def _send_piece(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
