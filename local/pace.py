"""When a call arrived: a scripted engine takes the time it was told to take, with all the work around it inside."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

_arrived: ContextVar[float | None] = ContextVar("arrived", default=None)


def note_arrival() -> None:
    """Remember this moment for the call that is being served (this task, and what it starts)."""
    _arrived.set(_now())


def arrival() -> float:
    """The moment this call arrived, in the event loop's seconds; now, where nobody noted it."""
    noted = _arrived.get()
    return _now() if noted is None else noted


async def until(due: float) -> None:
    """Return at a moment of the event loop's clock; when it has passed, after letting others run."""
    await asyncio.sleep(max(due - _now(), 0))


def _now() -> float:
    return asyncio.get_running_loop().time()
