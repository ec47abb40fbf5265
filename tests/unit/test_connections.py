"""Requests spread over small pools: few of them share warm connections, many find room, and every answer makes room."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.clients.connections import Connections


async def _in_pieces() -> AsyncIterator[bytes]:
    yield b"he"
    yield b"re"


class Upstream:
    """Stands where the pools' connections would be, and counts by pool who came."""

    def __init__(self, connections: Connections) -> None:
        self.came: Counter[int] = Counter()
        self.all_came = asyncio.Event()
        self.awaited = 0
        self.answering = asyncio.Event()
        self.answering.set()
        connections._pools = [self._pool(number) for number in range(len(connections._pools))]

    def _pool(self, number: int) -> httpx.AsyncHTTPTransport:
        async def answer(request: httpx.Request) -> httpx.Response:
            self.came[number] += 1
            if self.came.total() == self.awaited:
                self.all_came.set()
            await self.answering.wait()
            if request.url.path == "/broken":
                raise httpx.ReadError("broken off", request=request)
            return httpx.Response(200, content=_in_pieces())

        return httpx.MockTransport(answer)  # type: ignore[return-value]


async def test_requests_one_after_the_other_use_the_first_pool_only() -> None:
    connections = Connections()
    upstream = Upstream(connections)
    async with httpx.AsyncClient(transport=connections) as client:
        for _ in range(30):
            assert (await client.get("http://upstream.test/")).text == "here"
    assert upstream.came == {0: 30}


async def test_eighty_requests_at_once_fill_one_pool_after_the_other_and_none_waits() -> None:
    connections = Connections()
    upstream = Upstream(connections)
    upstream.answering.clear()
    async with httpx.AsyncClient(transport=connections) as client:
        upstream.awaited = 80
        asked = [asyncio.create_task(client.get("http://upstream.test/")) for _ in range(80)]
        await upstream.all_came.wait()
        assert upstream.came == dict.fromkeys(range(10), 8)
        upstream.answering.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        upstream.came.clear()
        await client.get("http://upstream.test/")
    assert upstream.came == {0: 1}


async def test_more_requests_than_all_pools_were_made_for_are_still_sent() -> None:
    connections = Connections()
    upstream = Upstream(connections)
    upstream.answering.clear()
    async with httpx.AsyncClient(transport=connections) as client:
        upstream.awaited = 300
        asked = [asyncio.create_task(client.get("http://upstream.test/")) for _ in range(300)]
        await upstream.all_came.wait()
        upstream.answering.set()
        await asyncio.gather(*asked)
    assert max(upstream.came.values()) - min(upstream.came.values()) <= 1


async def test_requests_that_break_off_or_are_given_up_make_room_again() -> None:
    connections = Connections()
    upstream = Upstream(connections)
    async with httpx.AsyncClient(transport=connections) as client:
        for _ in range(20):
            with pytest.raises(httpx.ReadError):
                await client.get("http://upstream.test/broken")
        upstream.answering.clear()
        given_up = asyncio.create_task(client.get("http://upstream.test/"))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        upstream.answering.set()
        async with client.stream("GET", "http://upstream.test/") as left_early:
            assert left_early.status_code == 200
    assert set(upstream.came) == {0}
    assert connections._busy[0] == 0
