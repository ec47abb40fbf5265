"""Connections for many requests at once.

httpcore looks at every connection of a pool, and at every pair of idle ones, whenever a request begins or ends. With
eighty requests in one pool that takes more of the processor than everything else that a request does; several small
pools take a fraction of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

_POOLS = 16
_REQUESTS_IN_A_POOL = 8
_KEEP_ALIVE_SECONDS = 60.0


class Connections(httpx.AsyncBaseTransport):
    """HTTP/1.1 on purpose: one HTTP/2 connection shared by many requests breaks for all of them at once.

    A request goes to the first pool that has room, so that few requests find few connections, all of them warm. When
    all are full it goes to the least busy: nothing waits here, since the platform bounds what an instance is given.
    """

    def __init__(self) -> None:
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=_REQUESTS_IN_A_POOL, keepalive_expiry=_KEEP_ALIVE_SECONDS
        )
        context = httpx.create_ssl_context()
        self._pools = [httpx.AsyncHTTPTransport(verify=context, limits=limits) for _ in range(_POOLS)]
        self._busy = [0] * _POOLS

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        number = self._with_room()
        self._busy[number] += 1
        try:
            response = await self._pools[number].handle_async_request(request)
        except BaseException:
            self._busy[number] -= 1
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Counted(response.stream, self._busy, number)
        return response

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()

    def _with_room(self) -> int:
        for number, busy in enumerate(self._busy):
            if busy < _REQUESTS_IN_A_POOL:
                return number
        return self._busy.index(min(self._busy))


class _Counted(httpx.AsyncByteStream):
    """An answer's body that makes room in its pool when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, busy: list[int], number: int) -> None:
        self._stream = stream
        self._busy = busy
        self._number = number
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if self._open:
                self._open = False
                self._busy[self._number] -= 1
