"""The time of the local cloud: the machine's own, moved forward by what a developer or a test has asked for.

Every stand-in that waits for a moment (a task's schedule, a retry's pause, a cron tick) asks here, in whatever process
it runs: how far the clock was moved is kept in one file. What verifies signatures keeps the machine's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

LOOK_EVERY_SECONDS: Final = 0.1
MOST_SECONDS: Final = 400 * 24 * 3600
_Stamp = tuple[int, int, int]


class LocalClock:
    """Seconds since the epoch, by the file at `path` (one stat a look); without the file, the machine's time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: _Stamp | None = None
        self._ahead = 0.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        return time.time() + self.ahead_seconds

    @property
    def ahead_seconds(self) -> float:
        """How far the clock was moved in all."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._ahead = 0.0 if stamp is None else self._read()
        return self._ahead

    def advance(self, seconds: float) -> float:
        """Move the clock of every process forward. Returns how far it is ahead of the machine's then.

        Raises:
            ValueError: it would go backwards, or more than `MOST_SECONDS` ahead.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ahead = self.ahead_seconds + seconds
            if not (seconds >= 0 and ahead <= MOST_SECONDS):
                raise ValueError(f"The clock moves forward, and at most {MOST_SECONDS} seconds in all.")
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps({"ahead_seconds": ahead}))
            fresh.replace(self._path)
        return self.ahead_seconds

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """While this is open, those who wait in this process learn of a move within `LOOK_EVERY_SECONDS`."""
        watching = asyncio.create_task(self._watch(), name="clock")
        try:
            yield
        finally:
            watching.cancel()

    async def until(self, moment: float, *earlier: asyncio.Event) -> None:
        """Return when it is `moment`, or when one of `earlier` is set. `math.inf` waits for those alone."""
        while (left := moment - self.now()) > 0 and not any(event.is_set() for event in earlier):
            moved = self._moved
            waits = [asyncio.ensure_future(event.wait()) for event in (moved, *earlier)]
            try:
                # asyncio refuses to wait for longer than the system's timers can count.
                await asyncio.wait(waits, timeout=min(left, 86_400), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _watch(self) -> None:
        known = self.ahead_seconds
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            if (ahead := self.ahead_seconds) != known:
                known = ahead
                moved, self._moved = self._moved, asyncio.Event()
                moved.set()

    def _look(self) -> _Stamp | None:
        try:
            seen = os.stat(self._path)  # noqa: PTH116 - asked several times for each delivery: half the cost
        except FileNotFoundError:
            return None
        return seen.st_mtime_ns, seen.st_ino, seen.st_size

    def _read(self) -> float:
        try:
            return float(json.loads(self._path.read_text())["ahead_seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return self._ahead
