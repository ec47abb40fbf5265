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
    """Wraps an application. `method_of` names the method of a request, as the console's faults do."""

    def __init__(
        self, app: ASGIApp, stand_in: str, faults: FaultBook, method_of: Callable[[MutableMapping[str, Any]], str]
    ) -> None:
        self._app = app
        self._stand_in = stand_in
        self._faults = faults
        self._method_of = method_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.for_call(self._stand_in, self._method_of(scope))
        await asyncio.sleep(fault.delay_ms / 1000)
        if fault.should_fail():
            await _fail(send, fault.http_status)
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


async def _fail(send: Send, status: int) -> None:
    sentence = "This failure was asked for."
    body = json.dumps({"error": "internal_failure", "error_description": sentence}).encode()
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
