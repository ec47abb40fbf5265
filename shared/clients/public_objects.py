"""Public static objects, such as the issuer's keys: plain HTTP GET (RFC 9110), kept for a minute."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

import httpx

from shared.runtime import clock

_LIFESPAN_MS = 60_000
_TIMEOUT = httpx.Timeout(5.0)
_MAX_BYTES = 256 * 1024


class ObjectUnavailable(Exception):
    """The object's address does not answer with the object."""


class _Objects:
    def __init__(self) -> None:
        self._pool = httpx.AsyncClient(timeout=_TIMEOUT)
        self._kept: dict[str, tuple[float, bytes]] = {}

    async def get(self, url: str, *, fresh: bool) -> bytes:
        kept = self._kept.get(url)
        if not fresh and kept is not None and clock.monotonic_ms() - kept[0] < _LIFESPAN_MS:
            return kept[1]
        content = await self._fetch(url)
        self._kept[url] = (clock.monotonic_ms(), content)
        return content

    async def _fetch(self, url: str) -> bytes:
        try:
            answer = await self._pool.get(url)
        except httpx.HTTPError as error:
            raise ObjectUnavailable(type(error).__name__) from error
        if answer.status_code != 200 or len(answer.content) > _MAX_BYTES:
            raise ObjectUnavailable(f"status {answer.status_code}, {len(answer.content)} bytes")
        return answer.content


# One for each event loop: a process has one, tests may have several.
_objects: WeakKeyDictionary[asyncio.AbstractEventLoop, _Objects] = WeakKeyDictionary()


async def fetch(url: str, *, fresh: bool = False) -> bytes:
    """The object's bytes, at most a minute old; `fresh`, from its address now.

    Raises:
        ObjectUnavailable: it could not be fetched.
    """
    loop = asyncio.get_running_loop()
    if loop not in _objects:
        _objects[loop] = _Objects()
    return await _objects[loop].get(url, fresh=fresh)
