"""The time, as everything in the product asks for it. Tests hold it still with `held`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

_wall: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731


def now() -> datetime:
    """The current time in UTC, aware."""
    return _wall()


def monotonic_ms() -> float:
    """Milliseconds on a clock that never goes back; only differences mean something."""
    return time.perf_counter() * 1000


@contextlib.contextmanager
def held(at: datetime) -> Iterator[Callable[[datetime], None]]:
    """Hold the wall clock at `at`; yields a function that moves it. For tests."""
    global _wall
    before, moment = _wall, [at]
    _wall = lambda: moment[0]  # noqa: E731
    try:
        yield lambda to: moment.__setitem__(0, to)
    finally:
        _wall = before
