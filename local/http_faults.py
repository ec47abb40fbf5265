"""Faults for a stand-in that speaks HTTP and answers in one piece: late, failing, lost, delivered twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.faults import FaultBook


class AnswerLost(Exception):
    """Raised through the server on purpose: it closes the connection in the middle of an answer."""


class WithFaults:
    """Wraps an application. `method_of` names the method of a request, as the console's faults do.

    `body_of` writes a failure in the form of the service that was asked; None from it, or without it, is the usual one.
    """

    def __init__(
        self,
        app: ASGIApp,
        stand_in: str,
        faults: FaultBook,
        method_of: Callable[[MutableMapping[str, Any]], str],
        body_of: Callable[[MutableMapping[str, Any], int, str | None], dict[str, Any] | None] | None = None,
    ) -> None:
        self._app = app
        self._stand_in = stand_in
        self._faults = faults
        self._method_of = method_of
        self._body_of = body_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.for_call(self._stand_in, self._method_of(scope))
        await asyncio.sleep(fault.delay_ms / 1000)
        if fault.should_fail():
            own = self._body_of(scope, fault.http_status, fault.says) if self._body_of else None
            await _fail(send, fault.http_status, own)
            return
        if not (fault.lose_answer or fault.duplicate):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        answer: list[Message] = []
        for _ in range(2 if fault.duplicate else 1):
            answer = await _answer(self._app, scope, body)
        for message in answer:
            await send(message)
            if fault.lose_answer:
                raise AnswerLost("as asked for")


async def _fail(send: Send, status: int, own: dict[str, Any] | None) -> None:
    usual = {"error": "internal_failure", "error_description": "This failure was asked for."}
    body = json.dumps(own or usual).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _answer(app: ASGIApp, scope: Scope, body: bytes) -> list[Message]:
    """What the application answers to one delivery of a request."""
    sent: list[Message] = []
    deliveries = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(deliveries, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    await app(dict(scope), receive, send)
    return sent
