"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

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


class EventStream(Response):
    """Streams events as they come, with a comment line whenever nothing came for 15 s.

    When the client goes away, `on_disconnect` is awaited before the exchange ends: work that must still be finished
    belongs there, since the platform may take the processor away afterwards.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[Event],
        on_disconnect: Callable[[], Awaitable[None]] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self._events = events
        self._on_disconnect = on_disconnect
        self._keep_alive_seconds = keep_alive_seconds

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
        elif self._on_disconnect is not None:
            await self._on_disconnect()

    async def _pump(self, send: Send, gone: asyncio.Task[None]) -> bool:
        """Send events until they end (True) or the client is gone (False)."""
        waiting: asyncio.Task[Event] | None = None
        try:
            while True:
                waiting = waiting or asyncio.create_task(_next(self._events))
                await asyncio.wait(
                    {waiting, gone}, timeout=self._keep_alive_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if gone.done():
                    return False
                if not waiting.done():
                    await _send_piece(send, _KEEP_ALIVE)
                    continue
                try:
                    event = waiting.result()
                except StopAsyncIteration:
                    return True
                waiting = None
                await _send_piece(send, event.encode())
        finally:
            await _end(waiting, self._events)


async def _next(events: AsyncIterator[Event]) -> Event:
    return await anext(events)


async def _end(waiting: asyncio.Task[Event] | None, events: AsyncIterator[Event]) -> None:
    """Let the source of the events clean up before the exchange goes on: afterwards nobody may wait for it."""
    if waiting is not None:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    if isinstance(events, AsyncGenerator):
        await events.aclose()


async def _send_piece(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
