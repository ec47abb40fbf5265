"""Faults for a stand-in that speaks HTTP and answers in one piece: late, failing, lost, delivered twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.faults import Fault, FaultBook

_NONSENSE = "<!doctype html><title>Welcome</title><p>It works!"


class AnswerLost(Exception):
    """Raised through the server on purpose: it closes the connection in the middle of an answer."""


def failure(fault: Fault, _: MutableMapping[str, Any]) -> Response:
    """How a call fails that was asked to, in the form of OAuth's refusals (RFC 6749, 5.2)."""
    sentence = fault.says or "This failure was asked for."
    return JSONResponse({"error": "internal_failure", "error_description": sentence}, fault.http_status)


class WithFaults:
    """Wraps an application. `method_of` names the method of a request, as the console's faults do.

    `refusal` is how a call fails in the stand-in's own words. WebSockets pass: whoever serves them asks for faults.
    """

    def __init__(
        self,
        app: ASGIApp,
        stand_in: str,
        faults: FaultBook,
        method_of: Callable[[MutableMapping[str, Any]], str],
        refusal: Callable[[Fault, MutableMapping[str, Any]], Response] = failure,
    ) -> None:
        self._app = app
        self._stand_in = stand_in
        self._faults = faults
        self._method_of = method_of
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fault = self._faults.for_call(self._stand_in, self._method_of(scope))
        await asyncio.sleep(fault.delay_ms / 1000)
        if fault.silent:
            await _until_they_leave(receive)
            return
        if fault.should_fail():
            await self._refusal(fault, scope)(scope, receive, send)
            return
        if fault.nonsense:
            await HTMLResponse(_NONSENSE)(scope, receive, send)
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


async def _until_they_leave(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


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
