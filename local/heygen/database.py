"""HeyGen's one SQLite file, and the account that stands in it."""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from local.heygen.settings import Settings

FILE: Final = "heygen.sqlite3"
_SCHEMA: Final = """
pragma journal_mode = wal;
pragma synchronous = full;
create table if not exists account (name text primary key, value text not null);
create table if not exists videos (
    ordinal integer primary key autoincrement, id text not null unique, status text not null, asked text not null,
    created_at real not null, due_at real, completed_at real, duration real, failure_code text, failure_message text,
    batch_id text, item_index integer, micros integer not null default 0
);
create table if not exists batches (
    id text primary key, title text, callback_url text, created_at real not null, items integer not null,
    finished integer not null default 0
);
create table if not exists batch_errors (
    batch_id text not null, item_index integer not null, error text not null, primary key (batch_id, item_index)
);
create table if not exists assets (
    id text primary key, name text not null, mime_type text not null, size_bytes integer not null,
    created_at real not null
);
create table if not exists endpoints (
    ordinal integer primary key autoincrement, id text not null unique, url text not null, secret text not null,
    events text, entity_id text, status text not null, created_at real not null
);
create table if not exists events (
    ordinal integer primary key autoincrement, id text not null unique, type text not null, entity_id text not null,
    body text not null, created_at real not null
);
create table if not exists deliveries (
    ordinal integer primary key autoincrement, event_id text not null, url text not null, endpoint_id text,
    attempts integer not null default 0, due_at real not null, state text not null default 'waiting', said text
);
create table if not exists keys (
    scope text not null, key text not null, status integer not null, body text not null, created_at real not null,
    primary key (scope, key)
);
"""


class Database:
    """Statements commit by themselves, or together inside `at_once`."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / FILE
        file.touch(mode=0o600)
        self.folder = folder
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(_SCHEMA)
        first = {"balance_micros": settings.first_balance_micros, "link_key": secrets.token_hex(32)}
        self._db.executemany(
            "insert into account (name, value) values (?, ?) on conflict (name) do nothing",
            [(name, json.dumps(value)) for name, value in first.items()],
        )
        self._settings: dict[str, Any] = settings.model_dump()

    def close(self) -> None:
        self._db.close()

    def run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._db.execute(statement, values)

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        return self._db.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._db.execute(statement, values).fetchone()
        return found

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is written inside is on disk together, or nothing of it."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def get(self, name: str) -> Any:
        """A limit of `Settings`, or `balance_micros`, or `link_key`."""
        if name in self._settings:
            return self._settings[name]
        found = self.row("select value from account where name = ?", name)
        assert found is not None
        return json.loads(found["value"])

    def change(self, changes: Mapping[str, Any]) -> None:
        """Another balance, kept for good, or other limits, kept while the process lives."""
        for name, value in changes.items():
            if name == "balance_micros":
                self.run("update account set value = ? where name = ?", json.dumps(value), name)
            else:
                self._settings[name] = value
