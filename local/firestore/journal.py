"""Documents on disk: one SQLite file, one transaction for each commit.

What a commit was answered for survives the process being killed at any line: the write-ahead log is in the system's
hands by then. `synchronous = normal` leaves out the wait for the disk itself (measured: 12 µs a commit instead of 208),
which only a loss of power could tell from the other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from google.cloud.firestore_v1.types import document as document_types

from local.firestore.versions import Version

_Document: Any = document_types.Document.pb()

# Moving the log into the file waits for the disk: done every 32 MB instead of every 4, it costs half as much.
_CHECKPOINT_PAGES: Final = 8_000

_SCHEMA: Final = """
create table if not exists documents (
    database text not null, path text not null, updated integer not null, body blob not null,
    primary key (database, path)
);
create table if not exists history (
    database text not null, path text not null, updated integer not null, until integer not null, body blob not null,
    primary key (database, path, updated)
);
create index if not exists history_by_end on history (until);
create table if not exists clock (
    one integer primary key check (one = 1), latest integer not null
);
insert or ignore into clock values (1, 0);
"""


class Journal:
    """The file; made with its folder when it is missing. Only its owner may read it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=32)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.execute(f"pragma wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def latest(self) -> int:
        """The moment of the last commit, in microseconds since the epoch; 0 before the first."""
        row = self._db.execute("select latest from clock").fetchone()
        moment: int = row[0]
        return moment

    def databases(self) -> list[str]:
        rows = self._db.execute("select database from documents union select database from history order by 1")
        return [name for (name,) in rows]

    def load(self, database: str) -> Iterator[Version]:
        """Every version of a database, oldest first for each document."""
        rows = self._db.execute(
            "select path, updated, until, body from history where database = ?"
            " union all select path, updated, null, body from documents where database = ? order by 1, 2",
            (database, database),
        )
        for path, updated, until, body in rows:
            yield Version(path, _Document.FromString(body), updated, until)

    def commit(self, database: str, documents: Mapping[str, Any | None], moment: int) -> None:
        """Write all of it or nothing: documents by path, None for those that are deleted."""
        paths = [(database, path) for path in documents]
        kept = [
            (database, path, moment, document.SerializeToString())
            for path, document in documents.items()
            if document is not None
        ]
        self._db.execute("begin immediate")
        try:
            self._db.executemany(
                "insert into history (database, path, updated, until, body)"
                " select database, path, updated, ?3, body from documents where database = ?1 and path = ?2",
                [(*key, moment) for key in paths],
            )
            self._db.executemany("delete from documents where database = ? and path = ?", paths)
            self._db.executemany("insert into documents (database, path, updated, body) values (?, ?, ?, ?)", kept)
            self._db.execute("update clock set latest = ?", (moment,))
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise

    def forget(self, horizon: int) -> None:
        """Let go of versions that ended at or before a moment."""
        self._db.execute("delete from history where until <= ?", (horizon,))
