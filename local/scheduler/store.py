"""What the scheduler keeps, in one SQLite file: jobs, the executions under way, and what came of the past ones.

Times are seconds since the epoch, by the local clock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.cloud.scheduler_v1 import types

KEPT_RUNS: Final = 2000

_SCHEMA: Final = """
begin;
create table if not exists jobs (name text primary key, location text not null, next_at real, body blob not null)
without rowid;
create table if not exists executions (
    id integer primary key autoincrement, job text not null, scheduled_at real not null, due real not null,
    attempts integer not null default 0, first_attempt_at real, running integer not null default 0,
    forced integer not null default 0
);
create index if not exists executions_due on executions (running, due);
create index if not exists executions_job on executions (job);
create table if not exists runs (
    id integer primary key autoincrement, job text not null, scheduled_at real not null, attempt integer not null,
    started_at real not null, ended_at real not null, status integer not null, reason text not null,
    forced integer not null
);
create index if not exists runs_job on runs (job);
commit;
"""
_EXECUTION: Final = "id, job, scheduled_at, due, attempts, first_attempt_at, forced"


@dataclass
class Execution:
    """One tick of a job on its way to success or to being given up. `forced` ones are not of the schedule."""

    id: int
    job: str
    scheduled_at: float
    due: float
    attempts: int
    first_attempt_at: float | None
    forced: bool


def _execution(row: Sequence[Any]) -> Execution:
    return Execution(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]))


class JobStore:
    """One for each process that serves."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_SCHEMA)
        # Whoever was running them is gone without an outcome: they are due again.
        self._db.execute("update executions set running = 0 where running")

    def close(self) -> None:
        self._db.close()

    # Jobs

    def job(self, name: str) -> Any | None:
        row = self._db.execute("select body from jobs where name = ?", (name,)).fetchone()
        return types.Job.deserialize(row[0]) if row else None

    def jobs(self, location: str | None = None, after: str = "") -> list[Any]:
        where, values = ("name > ?", [after]) if location is None else ("name > ? and location = ?", [after, location])
        rows = self._db.execute(f"select body from jobs where {where} order by name", values)  # noqa: S608 - fixed
        return [types.Job.deserialize(body) for (body,) in rows]

    def keep_job(self, job: Any, next_at: float | None) -> None:
        """`next_at` is the next tick of its schedule; None while it has none."""
        location = job.name.rsplit("/jobs/", 1)[0]
        self._db.execute(
            "insert into jobs (name, location, next_at, body) values (?, ?, ?, ?)"
            " on conflict (name) do update set next_at = excluded.next_at, body = excluded.body",
            (job.name, location, next_at, types.Job.serialize(job)),
        )

    def drop_job(self, name: str) -> None:
        for table in ("jobs where name", "executions where job", "runs where job"):
            self._db.execute(f"delete from {table} = ?", (name,))  # noqa: S608 - fixed

    def next_at(self, job: str) -> float | None:
        row = self._db.execute("select next_at from jobs where name = ?", (job,)).fetchone()
        return None if row is None or row[0] is None else float(row[0])

    def ticking(self, now: float) -> list[str]:
        """The jobs whose next tick is due and whose last execution has ended."""
        rows = self._db.execute(
            "select name from jobs where next_at <= ? and not exists"
            " (select 1 from executions where job = name and not forced) order by next_at, name",
            (now,),
        )
        return [name for (name,) in rows]

    def next_tick(self) -> float | None:
        """When the next job ticks that is not kept waiting by its own last execution."""
        row = self._db.execute(
            "select min(next_at) from jobs where not exists (select 1 from executions where job = name and not forced)"
        ).fetchone()
        return None if row[0] is None else float(row[0])

    # Executions

    def add(self, job: str, scheduled_at: float, due: float, *, forced: bool) -> Execution:
        made = self._db.execute(
            "insert into executions (job, scheduled_at, due, forced) values (?, ?, ?, ?)",
            (job, scheduled_at, due, int(forced)),
        )
        return Execution(int(made.lastrowid or 0), job, scheduled_at, due, 0, None, forced)

    def due(self, now: float) -> list[Execution]:
        rows = self._db.execute(
            f"select {_EXECUTION} from executions where running = 0 and due <= ? order by due, id",  # noqa: S608 - fixed
            (now,),
        )
        return [_execution(row) for row in rows]

    def of_schedule(self, job: str) -> list[Execution]:
        """The job's execution that its schedule began and that has not ended; at most one."""
        rows = self._db.execute(
            f"select {_EXECUTION} from executions where job = ? and not forced",  # noqa: S608 - fixed
            (job,),
        )
        return [_execution(row) for row in rows]

    def retry_at(self, job: str) -> float | None:
        """When the job's failed execution is tried again."""
        row = self._db.execute(
            "select min(due) from executions where job = ? and running = 0 and not forced and attempts > 0", (job,)
        ).fetchone()
        return None if row[0] is None else float(row[0])

    def next_due(self) -> float | None:
        row = self._db.execute("select min(due) from executions where running = 0").fetchone()
        return None if row[0] is None else float(row[0])

    def exists(self, execution: Execution) -> bool:
        return self._db.execute("select 1 from executions where id = ?", (execution.id,)).fetchone() is not None

    def write(self, execution: Execution, *, running: bool) -> None:
        self._db.execute(
            "update executions set due = ?, attempts = ?, first_attempt_at = ?, running = ? where id = ?",
            (execution.due, execution.attempts, execution.first_attempt_at, int(running), execution.id),
        )

    def drop(self, execution: Execution) -> None:
        self._db.execute("delete from executions where id = ?", (execution.id,))

    def drop_waiting(self, job: str) -> None:
        """Forget executions of the schedule that wait for a retry."""
        self._db.execute("delete from executions where job = ? and running = 0 and not forced", (job,))

    # Runs

    def note_run(self, execution: Execution, started_at: float, ended_at: float, status: int, reason: str) -> None:
        made = self._db.execute(
            "insert into runs (job, scheduled_at, attempt, started_at, ended_at, status, reason, forced)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                execution.job,
                execution.scheduled_at,
                execution.attempts,
                started_at,
                ended_at,
                status,
                reason,
                int(execution.forced),
            ),
        )
        self._db.execute("delete from runs where id <= ?", (int(made.lastrowid or 0) - KEPT_RUNS,))
