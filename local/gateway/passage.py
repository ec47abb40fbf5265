"""One request on its way to a function and its answer on the way back, within the limits of the platform.

The figures are those of Cloud Functions (2nd gen) and API Gateway: https://cloud.google.com/functions/quotas and
https://cloud.google.com/api-gateway/docs/quotas. What passes here passes there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.runtime.errors import OprinaError, TooLarge, Unavailable, UpstreamTimeout

MAX_REQUEST_BYTES = 32 * 1024 * 1024
MAX_RESPONSE_BYTES = 32 * 1024 * 1024
MAX_STREAMED_BYTES = 10 * 1024 * 1024
MAX_HEADER_BYTES = 60 * 1024

# How long a function may go on after its answer was cut, as an instance in the cloud may for a while.
LINGER_SECONDS = 20.0

Refuse = Callable[[OprinaError], Awaitable[None]]


class HeadersTooLarge(OprinaError):
    status, title, default_code = 431, "Headers too large", "headers_too_large"


class ResponseTooLarge(OprinaError):
    status, title, default_code = 500, "Answer too large", "response_too_large"


def refused_size(scope: Scope) -> OprinaError | None:
    """What the sizes that a request announces are refused for, if they are."""
    if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        return HeadersTooLarge("The headers of the request exceed 60 KB.")
    announced = Headers(scope=scope).get("content-length", "0")
    if announced.isdecimal() and int(announced) > MAX_REQUEST_BYTES:
        return _body_too_large()
    return None


def _body_too_large() -> OprinaError:
    return TooLarge("The body of the request exceeds 32 MB.")


class Passage:
    """Hands messages through, counts them, and can cut the function off from the caller."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._cut = asyncio.Event()
        self._received_bytes = 0
        self._sent_bytes = 0
        self._sendable_bytes = MAX_STREAMED_BYTES
        self.started = False
        self.reason: OprinaError | None = None

    async def receive(self) -> Message:
        if self._cut.is_set():
            return {"type": "http.disconnect"}
        incoming = asyncio.ensure_future(self._receive())
        cut = asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait({incoming, cut}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cut.cancel()
            if not incoming.done():
                incoming.cancel()
        if not incoming.done() or incoming.cancelled():
            return {"type": "http.disconnect"}
        message = incoming.result()
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > MAX_REQUEST_BYTES:
            self.cut(_body_too_large())
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self._cut.is_set():
            return
        if message["type"] == "http.response.start":
            length = Headers(raw=message["headers"]).get("content-length")
            if length is not None:
                self._sendable_bytes = MAX_RESPONSE_BYTES
                if int(length) > MAX_RESPONSE_BYTES:
                    self.cut(ResponseTooLarge("The function's answer exceeds 32 MB."))
                    return
            self.started = True
        self._sent_bytes += len(message.get("body", b""))
        if self._sent_bytes > self._sendable_bytes:
            self.cut(ResponseTooLarge("The function's streamed answer exceeds 10 MB."))
            return
        await self._send(message)

    def cut(self, reason: OprinaError) -> None:
        self.reason = self.reason or reason
        self._cut.set()

    async def until_cut(self) -> None:
        await self._cut.wait()


class Forwarder:
    """Runs functions behind passages, and looks after those that outlive theirs."""

    def __init__(self, linger_seconds: float = LINGER_SECONDS) -> None:
        self._linger_seconds = linger_seconds
        self._lingering: set[asyncio.Task[None]] = set()

    async def forward(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, seconds: float, refuse: Refuse
    ) -> None:
        """Pass the request to `app`; refuse, or cut a begun answer, when a limit or the deadline is passed.

        The deadline is wall clock over the whole answer. A begun answer is cut by returning without its end, which
        makes the server close the connection.
        """
        passage = Passage(receive, send)
        work = asyncio.ensure_future(app(scope, passage.receive, passage.send))
        cut = asyncio.ensure_future(passage.until_cut())
        try:
            await asyncio.wait({work, cut}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            cut.cancel()
        if not work.done() and passage.reason is None:
            passage.cut(UpstreamTimeout(f"The function did not finish within {seconds:g} s.", code="deadline"))
        error = passage.reason or _failure(work)
        if not work.done():
            self._let_linger(work)
        if error is not None and not passage.started:
            await refuse(error)

    def _let_linger(self, work: asyncio.Future[None]) -> None:
        task = asyncio.create_task(self._linger(work))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    async def _linger(self, work: asyncio.Future[None]) -> None:
        await asyncio.wait({work}, timeout=self._linger_seconds)
        if work.done():
            _failure(work)
        else:
            work.cancel()


def _failure(work: asyncio.Future[None]) -> OprinaError | None:
    if work.cancelled():
        return Unavailable("The function was stopped.", code="function_unavailable")
    error = work.exception()
    if error is None or isinstance(error, OprinaError):
        return error
    raise error
