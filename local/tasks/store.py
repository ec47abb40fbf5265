"""What the queue keeps, in one SQLite file: what was answered is there, whatever happens to the process.

A commit survives the end of the process, not of the machine's power: the file is not forced onto the disk each time.
Times are seconds since the epoch, by the local clock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.cloud.tasks_v2 import types

KEPT_ATTEMPTS: Final = 2000
KEPT_DEAD: Final = 500

_SCHEMA: Final = """
begin;
create table if not exists queues (name text primary key, location text not null, body blob not null) without rowid;
create table if not exists deleted_queues (name text primary key, deleted_at real not null) without rowid;
create table if not exists tasks (
    id integer primary key autoincrement, name text not null unique, queue text not null, due real not null,
    created_at real not null, running integer not null default 0, executions integer not null default 0,
    previous_status integer, first_attempt_at real, body blob not null
);
create index if not exists tasks_due on tasks (queue, running, due, id);
create table if not exists names (name text primary key, queue text not null, free_at real not null) without rowid;
create index if not exists names_free on names (free_at);
create table if not exists attempts (
    id integer primary key autoincrement, task text not null, queue text not null, number integer not null,
    scheduled_at real not null, dispatched_at real not null, answered_at real, status integer, reason text
);
create index if not exists attempts_task on attempts (task);
create index if not exists attempts_queue on attempts (queue);
create table if not exists dead (
    id integer primary key autoincrement, name text not null, queue text not null, died_at real not null,
    reason text not null, body blob not null
);
create table if not exists operations (name text primary key, body blob not null) without rowid;
commit;
"""

_COLUMNS: Final = "id, due, created_at, running, executions, previous_status, first_attempt_at, body"


@dataclass
class Kept:
    """A task as it is kept. `executions` are answers that were not 5xx; `previous_status` is the last outcome's."""

    id: int
    due: float
    created_at: float
    running: bool
    executions: int
    previous_status: int | None
    first_attempt_at: float | None
    task: Any

    @property
    def name(self) -> str:
        return str(self.task.name)


def _kept(row: Sequence[Any]) -> Kept:
    return Kept(row[0], row[1], row[2], bool(row[3]), row[4], row[5], row[6], types.Task.deserialize(row[7]))


class TaskStore:
    """One for each process that serves; every method is a few microseconds to milliseconds of disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Bodies may hold anything: nobody else's to read.
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_SCHEMA)
        # Whoever was running them is gone: they are due again.
        self._db.execute("update tasks set running = 0 where running")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    # Queues

    def queue(self, name: str) -> Any | None:
        row = self._db.execute("select body from queues where name = ?", (name,)).fetchone()
        return types.Queue.deserialize(row[0]) if row else None

    def queues(self, location: str | None = None, after: str = "") -> list[Any]:
        """All queues by name, or those of one location; those that come after a name."""
        where, values = ("name > ?", [after]) if location is None else ("name > ? and location = ?", [after, location])
        rows = self._db.execute(f"select body from queues where {where} order by name", values)  # noqa: S608 - fixed
        return [types.Queue.deserialize(body) for (body,) in rows]

    def keep_queue(self, queue: Any) -> None:
        location = queue.name.rsplit("/queues/", 1)[0]
        self._db.execute(
            "insert into queues (name, location, body) values (?, ?, ?)"
            " on conflict (name) do update set body = excluded.body",
            (queue.name, location, types.Queue.serialize(queue)),
        )

    def drop_queue(self, name: str, now: float) -> None:
        with self.changing():
            self._db.execute("delete from queues where name = ?", (name,))
            self._db.execute("delete from tasks where queue = ?", (name,))
            self._db.execute("delete from names where queue = ?", (name,))
            self._db.execute("insert or replace into deleted_queues values (?, ?)", (name, now))

    def deleted_at(self, queue: str) -> float | None:
        row = self._db.execute("select deleted_at from deleted_queues where name = ?", (queue,)).fetchone()
        return float(row[0]) if row else None

    def purge(self, queue: str, created_before: float, names_free_at: float) -> int:
        """Take every older task out of a queue; their names stay taken for a while. Returns how many went."""
        with self.changing():
            self._db.execute(
                "insert or replace into names select name, queue, ? from tasks where queue = ? and created_at <= ?",
                (names_free_at, queue, created_before),
            )
            gone = self._db.execute("delete from tasks where queue = ? and created_at <= ?", (queue, created_before))
        return gone.rowcount

    # Tasks

    def add(self, task: Any, queue: str, due: float, now: float) -> None:
        self._db.execute(
            "insert into tasks (name, queue, due, created_at, body) values (?, ?, ?, ?, ?)",
            (task.name, queue, due, now, types.Task.serialize(task)),
        )

    def task(self, name: str) -> Kept | None:
        row = self._db.execute(f"select {_COLUMNS} from tasks where name = ?", (name,)).fetchone()  # noqa: S608 - fixed
        return _kept(row) if row else None

    def tasks(self, queue: str, limit: int, after: int = 0) -> list[Kept]:
        rows = self._db.execute(
            f"select {_COLUMNS} from tasks where queue = ? and id > ? order by id limit ?",  # noqa: S608 - fixed
            (queue, after, limit),
        )
        return [_kept(row) for row in rows]

    def due(self, queue: str, now: float, limit: int) -> list[Kept]:
        """The tasks that may be sent, the longest due first."""
        rows = self._db.execute(
            f"select {_COLUMNS} from tasks where queue = ? and running = 0 and due <= ?"  # noqa: S608 - fixed
            " order by due, id limit ?",
            (queue, now, limit),
        )
        return [_kept(row) for row in rows]

    def next_due(self, queue: str) -> float | None:
        row = self._db.execute("select min(due) from tasks where queue = ? and running = 0", (queue,)).fetchone()
        return None if row[0] is None else float(row[0])

    def name_taken(self, name: str, now: float) -> bool:
        """Whether a task of this name exists or did a short while ago."""
        row = self._db.execute(
            "select 1 from tasks where name = ?1 union all select 1 from names where name = ?1 and free_at > ?2",
            (name, now),
        ).fetchone()
        return row is not None

    def existed(self, name: str, now: float) -> bool:
        row = self._db.execute("select 1 from names where name = ? and free_at > ?", (name, now)).fetchone()
        return row is not None

    def remove(self, kept: Kept, queue: str, name_free_at: float) -> None:
        with self.changing():
            self._db.execute("delete from tasks where id = ?", (kept.id,))
            self._db.execute("insert or replace into names values (?, ?, ?)", (kept.name, queue, name_free_at))

    def forget_names(self, now: float) -> None:
        self._db.execute("delete from names where free_at <= ?", (now,))

    # Attempts

    def begin_attempt(self, kept: Kept, queue: str, now: float) -> int:
        """Keep that a task is being sent, before it is. Returns the attempt's number in the file."""
        kept.running, kept.first_attempt_at = True, now if kept.first_attempt_at is None else kept.first_attempt_at
        with self.changing():
            self._write(kept)
            made = self._db.execute(
                "insert into attempts (task, queue, number, scheduled_at, dispatched_at) values (?, ?, ?, ?, ?)",
                (kept.name, queue, kept.task.dispatch_count, kept.due, now),
            )
        return int(made.lastrowid or 0)

    def end_attempt(self, attempt: int, now: float, status: int, reason: str) -> None:
        self._db.execute(
            "update attempts set answered_at = ?, status = ?, reason = ? where id = ?", (now, status, reason, attempt)
        )
        self._db.execute("delete from attempts where id <= ?", (attempt - KEPT_ATTEMPTS,))

    def put_back(self, kept: Kept) -> None:
        """Keep a task that is to be tried again."""
        kept.running = False
        self._write(kept)

    def bury(self, kept: Kept, queue: str, now: float, reason: str, name_free_at: float) -> None:
        """Take a task out for good, and keep it to be looked at."""
        with self.changing():
            self._db.execute("delete from tasks where id = ?", (kept.id,))
            self._db.execute("insert or replace into names values (?, ?, ?)", (kept.name, queue, name_free_at))
            made = self._db.execute(
                "insert into dead (name, queue, died_at, reason, body) values (?, ?, ?, ?, ?)",
                (kept.name, queue, now, reason, types.Task.serialize(kept.task)),
            )
            self._db.execute("delete from dead where id <= ?", (int(made.lastrowid or 0) - KEPT_DEAD,))

    def exists(self, kept: Kept) -> bool:
        """Whether the task is still there: it may have been deleted while it ran."""
        return self._db.execute("select 1 from tasks where id = ?", (kept.id,)).fetchone() is not None

    def _write(self, kept: Kept) -> None:
        self._db.execute(
            "update tasks set due = ?, running = ?, executions = ?, previous_status = ?, first_attempt_at = ?, body = ?"
            " where id = ?",
            (
                kept.due,
                int(kept.running),
                kept.executions,
                kept.previous_status,
                kept.first_attempt_at,
                types.Task.serialize(kept.task),
                kept.id,
            ),
        )

    # Operations

    def operation(self, name: str) -> bytes | None:
        row = self._db.execute("select body from operations where name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def keep_operation(self, name: str, body: bytes) -> None:
        self._db.execute("insert or replace into operations values (?, ?)", (name, body))
