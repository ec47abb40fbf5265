"""How the launcher knows that a process is ready, without importing a client library for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from local.places import HOST

Probe = Callable[[], Awaitable[bool]]

ATTEMPT_SECONDS = 2.0


class NeverReady(Exception):
    """Waiting longer changes nothing; the text says why."""


def listens(port: int) -> Probe:
    """Ready when something accepts connections on the port."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(HOST, port), ATTEMPT_SECONDS)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return probe


def answers(port: int, path: str, *, below: int = 300) -> Probe:
    """Ready when a GET of the path is answered with a status below the given one."""

    async def probe() -> bool:
        answer = await _get(port, path)
        return answer is not None and 200 <= answer[0] < below

    return probe


def model_is_loaded(port: int) -> Probe:
    """Ready when Agent Runtime says that its model is; a model that is missing or broken is a failure at once."""

    async def probe() -> bool:
        answer = await _get(port, "/healthz")
        if answer is None:
            return False
        health = json.loads(answer[1])
        if health["state"] in {"missing", "failed"}:
            raise NeverReady(health["detail"])
        return bool(health["state"] == "ready")

    return probe


async def _get(port: int, path: str) -> tuple[int, bytes] | None:
    """Status and body; None when nothing sensible answers."""
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            return await _exchange(port, path)
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


async def _exchange(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split(maxsplit=2)[1]), body
    finally:
        writer.close()
