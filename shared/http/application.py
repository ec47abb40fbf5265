"""The application around a function's handlers: request id, trace, CORS, headers, problem documents, the log line."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http import problems
from shared.http.exchange import Exchange, begin_exchange, exchange_of
from shared.http.settings import HttpSettings
from shared.runtime import clock, logs
from shared.runtime.errors import MethodNotAllowed, NotFound, OprinaError, TooLarge
from shared.runtime.settings import load

if TYPE_CHECKING:
    from shared.http.declaration import Operation

_FIXED_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "strict-transport-security": "max-age=31536000",
}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# More digits than any size has; Python refuses to read numbers that are absurdly long.
_LONGEST_SIZE = 18


def build_application(inner: FastAPI, name: str, operations: Sequence[Operation]) -> ASGIApp:
    """Wrap the handlers' application into the kit."""
    problems.install(inner)
    return CORSMiddleware(
        _Kit(inner, name, operations),
        allow_origins=load(HttpSettings).origins,
        allow_methods=sorted({operation.method for operation in operations}),
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "X-Request-Id",
            "traceparent",
            "Last-Event-ID",
        ],
        expose_headers=[
            "X-Request-Id",
            "Idempotency-Replayed",
            "RateLimit",
            "RateLimit-Policy",
            "Retry-After",
        ],
        max_age=600,
    )


class _Kit:
    def __init__(self, app: ASGIApp, name: str, operations: Sequence[Operation]) -> None:
        self._app = app
        self._name = name
        self._operations = {operation.method: operation for operation in operations}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = clock.monotonic_ms()
        exchange = begin_exchange(scope, self._operations.get(scope["method"]), self._name)
        answer = _Answer(send, exchange)
        try:
            await self._serve(scope, receive, answer)
        finally:
            self._log(exchange, answer.status, clock.monotonic_ms() - started)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            _check_path(scope["path"])
            self._check_method(scope["method"])
            _check_announced_size(scope, self._operations[scope["method"]])
            await self._app(scope, receive, answer)
        except OprinaError as error:
            if answer.status:
                # It can only break off now, which the server does. It would log the words of what it is raised.
                exchange_of(Request(scope)).problem_code = error.code
                return
            await problems.answer(Request(scope), error)(scope, receive, answer)
        except ClientDisconnect:
            # The caller left before it had said all; there is nobody to answer.
            exchange_of(Request(scope)).problem_code = "client_gone"
        except Exception:
            logs.logger().exception("a request failed for a reason nobody foresaw", extra={"function": self._name})
            if not answer.status:
                await problems.answer(Request(scope), problems.unforeseen())(scope, receive, answer)

    def _check_method(self, method: str) -> None:
        if method not in self._operations:
            allowed = ", ".join(sorted(self._operations))
            raise MethodNotAllowed(f"This address takes {allowed}.", extra={"allow": allowed})

    def _log(self, exchange: Exchange, status: int, duration_ms: float) -> None:
        level = logging.ERROR if status >= 500 else logging.INFO
        logs.logger().log(
            level,
            "request served",
            extra={
                "function": self._name,
                "route": exchange.route,
                "status": status,
                "code": exchange.problem_code,
                "duration_ms": round(duration_ms, 1),
            },
        )


def _check_path(path: str) -> None:
    """No declared path holds a control character, and the framework's patterns overlook a line break at the end."""
    if _CONTROL.search(path):
        raise NotFound("There is nothing at this address.")


def _check_announced_size(scope: Scope, operation: Operation) -> None:
    """Refuse a body by its Content-Length, before any of it is taken; the rest is counted while it is read."""
    announced = Headers(scope=scope).get("content-length", "")
    if announced.isdecimal() and (len(announced) > _LONGEST_SIZE or int(announced) > operation.max_body_bytes):
        refuse = operation.too_large or _too_large
        raise refuse()


def _too_large() -> TooLarge:
    return TooLarge("The body is larger than this address takes.")


class _Answer:
    """Sends on, adding the headers that every answer carries."""

    def __init__(self, send: Send, exchange: Exchange) -> None:
        self._send = send
        self._exchange = exchange
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _FIXED_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            headers["x-request-id"] = self._exchange.trace.request_id
            for name, value in self._exchange.rate_headers().items():
                headers.setdefault(name, value)
        await self._send(message)
