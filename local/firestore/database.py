"""One database: its documents now and in the last hour, on disk before anybody is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf import timestamp_pb2

from local.firestore.journal import Journal
from local.firestore.versions import HORIZON_SECONDS, Version, Versions
from local.refusals import failed_precondition, invalid

SECOND: Final = 1_000_000


class Clock:
    """Moments in microseconds since the epoch, each later than the one before, whatever the machine's clock does."""

    def __init__(self, latest: int = 0, wall: Callable[[], float] = time.time) -> None:
        self._latest = latest
        self._wall = wall

    def now(self) -> int:
        self._latest = max(int(self._wall() * SECOND), self._latest + 1)
        return self._latest

    def seconds(self) -> float:
        """The machine's own clock, for how long something has taken."""
        return self._wall()


class Database:
    """Documents by path. `listeners` are set whenever something has changed."""

    def __init__(self, name: str, journal: Journal, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.versions = Versions()
        self.listeners: set[asyncio.Event] = set()
        self._journal = journal
        for version in journal.load(name):
            self.versions.load(version)
        self.versions.finish_loading()

    def commit(self, documents: Mapping[str, Any | None], moment: int) -> None:
        """Let documents be this from a moment on (None: gone), all of them or, when it raises, none."""
        if not documents:
            return
        self._journal.commit(self.name, documents, moment)
        for path, document in documents.items():
            self.versions.put(path, document, moment)
        for listener in self.listeners:
            listener.set()

    def read_time(self, asked: timestamp_pb2.Timestamp) -> int:
        """A moment that a request asks to read at.

        Raises a refusal: it is in the future, finer than a microsecond, or longer ago than versions are kept.
        """
        now = self.clock.now()
        if asked.nanos % 1000:
            raise invalid("read_time must be a timestamp of microsecond precision.")
        moment: int = asked.ToMicroseconds()
        if moment > now:
            raise invalid("read_time cannot be in the future.")
        if moment <= now - HORIZON_SECONDS * SECOND:
            raise failed_precondition("The requested snapshot version is too old: it is more than an hour ago.")
        return moment

    def forget(self) -> list[Version]:
        """Let go of what nobody may read any more, in memory; the journal is the server's to clear."""
        return self.versions.forget(self.clock.now() - HORIZON_SECONDS * SECOND)


def timestamp(moment: int) -> timestamp_pb2.Timestamp:
    stamp = timestamp_pb2.Timestamp()
    stamp.FromMicroseconds(moment)
    return stamp
