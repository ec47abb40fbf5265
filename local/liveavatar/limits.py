"""So many requests of one caller to one endpoint in a second of the clock, and the headers that say so.

https://docs.liveavatar.com/docs/rate-limits: the caller is the key or the session token, else the address.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.liveavatar.refusals import too_many


class RateLimited:
    """Wraps an application. `limit` is asked at each request; 0 means no limit."""

    def __init__(
        self,
        app: ASGIApp,
        limit: Callable[[], int],
        now: Callable[[], float],
        method_of: Callable[[MutableMapping[str, Any]], str],
    ) -> None:
        self._app = app
        self._limit = limit
        self._now = now
        self._method_of = method_of
        self._second = -1
        self._used: dict[tuple[str, str], int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._limit()
        if scope["type"] != "http" or not limit:
            await self._app(scope, receive, send)
            return
        second = int(self._now())
        if second != self._second:
            self._second, self._used = second, {}
        caller = (_caller(scope), self._method_of(scope))
        used = self._used.get(caller, 0)
        if used >= limit:
            await too_many(limit, second + 1, 1)(scope, receive, send)
            return
        self._used[caller] = used + 1

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-RateLimit-Limit"] = str(limit)
                headers["X-RateLimit-Remaining"] = str(limit - used - 1)
                headers["X-RateLimit-Reset"] = str(second + 1)
            await send(message)

        await self._app(scope, receive, with_headers)


def _caller(scope: Scope) -> str:
    headers = Headers(scope=scope)
    address = scope["client"][0] if scope.get("client") else ""
    return headers.get("x-api-key") or headers.get("authorization") or address
