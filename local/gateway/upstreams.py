"""How the gateway reaches a function: in this process through functions-framework, or in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from local.places import url
from shared.http.declaration import Function
from shared.runtime.errors import Unavailable

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_OWN = frozenset({b"date", b"server"})


def in_process(function: Function) -> ASGIApp:
    """The function's real entry, loaded from its source as the platform does."""
    from functions_framework.aio import create_asgi_app

    app: ASGIApp = create_asgi_app("main", str(function.source))  # type: ignore[no-untyped-call]
    return app


class ClientGone(Exception):
    """The caller left before the request was read whole."""


class FunctionProcess:
    """Streams a request to a function's own port and its answer back; whoever leaves first ends it for both."""

    def __init__(self, port: int) -> None:
        self._base = url(port)
        # The deadline belongs to the gateway; the pool is wide because streams hold their connection long.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=5),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            trust_env=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read_whole = asyncio.Event()
        transfer = asyncio.ensure_future(self._transfer(scope, receive, send, read_whole))
        gone = asyncio.ensure_future(_left(receive, read_whole))
        await asyncio.wait({transfer, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not transfer.done():
            transfer.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        try:
            await transfer
        except (ClientGone, asyncio.CancelledError):
            return

    async def _transfer(self, scope: Scope, receive: Receive, send: Send, read_whole: asyncio.Event) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        target = self._base + scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP | {b"host"}]
        request = httpx.Request(scope["method"], target, headers=headers, content=_body(receive, read_whole))
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError:
            raise Unavailable("The function's process does not answer.", code="function_unavailable") from None
        try:
            await self._answer(response, send)
        finally:
            await response.aclose()

    async def _answer(self, response: httpx.Response, send: Send) -> None:
        kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP | _OWN]
        await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
        try:
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except httpx.TransportError:
            # The function broke off; leaving the answer unfinished tells the caller so.
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(receive: Receive, read_whole: asyncio.Event) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if body := message.get("body", b""):
            yield body
        if not message.get("more_body", False):
            read_whole.set()
            return


async def _left(receive: Receive, read_whole: asyncio.Event) -> None:
    await read_whole.wait()
    while (await receive())["type"] != "http.disconnect":
        pass
