"""The audit log, read and verified by its administrator.

    python -m infra.supabase.audit verify                   whether every seal fits what it seals, and the one before it
    python -m infra.supabase.audit verify --witness SEAL    and whether the chain holds this seal
    python -m infra.supabase.audit show --hours 24          the entries of the last hours

Reads DATABASE_URL, or --database-url. The chain is computed here, without asking the database to; how, is written in
migrations/0012_lifecycle.sql. Whoever can write past every wall could cut the chain short or forge it whole, so each
sealing leaves its seal in the product's logs ("the audit log was sealed"): one from there is the witness.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

_ENTRIES = """
select id::text, at, actor, actor_kind, action, subject, detail::text, request_id from public.audit_log
where at >= %s and at < %s order by at, id
"""
_SEALS = "select number, hour, entries, previous, seal from public.audit_seals order by number"
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Broken:
    """The first seal that does not fit, or the first hour without the seal it needs, and why."""

    hour: datetime
    reason: str


def verify(connection: psycopg.Connection) -> tuple[int, Broken | None]:
    """How many seals fit, and what the first one that does not is; None where all do."""
    last_seal: str | None = None
    upto: datetime | None = None
    fitting = 0
    for number, hour, entries, previous, seal in connection.execute(_SEALS).fetchall():
        if number != fitting + 1 or previous != last_seal:
            return fitting, Broken(hour, f"seal {number} does not follow seal {fitting}")
        slipped = _first(connection, upto, hour)
        if slipped is not None:
            return fitting, Broken(slipped, "it holds entries that no seal covers")
        computed, counted = _sealed(connection, number, hour, last_seal)
        if counted != entries:
            return fitting, Broken(hour, f"it holds {counted} entries, and {entries} were sealed")
        if computed != seal:
            return fitting, Broken(hour, "an entry, or the seal, is not what it was")
        last_seal, upto, fitting = seal, hour + _HOUR, fitting + 1
    return fitting, None


def _sealed(connection: psycopg.Connection, number: int, hour: datetime, previous: str | None) -> tuple[str, int]:
    """The seal as it has to be, and how many entries it covers."""
    value, counted = _digest(f"{previous or ''}\n{number} {_stamp(hour)}"), 0
    for line in _lines(connection, hour, hour + _HOUR):
        value, counted = _digest(f"{value}\n{line}"), counted + 1
    return value, counted


def holds(connection: psycopg.Connection, seal: str) -> bool:
    """Whether the chain has this seal."""
    return connection.execute("select from public.audit_seals where seal = %s", [seal]).fetchone() is not None


def unsealed(connection: psycopg.Connection) -> int:
    """How many entries wait for a seal: those of the hour that runs, and of closed ones that nobody has sealed."""
    found = connection.execute(
        "select count(*) from public.audit_log"
        " where at >= coalesce((select max(hour) + interval '1 hour' from public.audit_seals), '-infinity')"
    )
    return int((found.fetchone() or (0,))[0])


def _first(connection: psycopg.Connection, upto: datetime | None, end: datetime) -> datetime | None:
    """The first hour with entries before `end`, from `upto` on; from the beginning of all without one."""
    query = (
        "select date_trunc('hour', min(at), 'UTC') from public.audit_log"
        " where at >= coalesce(%s::timestamptz, '-infinity') and at < %s"
    )
    found: datetime | None = (connection.execute(query, [upto, end]).fetchone() or (None,))[0]
    return found


def _lines(connection: psycopg.Connection, first: datetime, end: datetime) -> Iterator[str]:
    with connection.cursor(name="entries") as cursor:
        for row in cursor.execute(_ENTRIES, [first, end]):
            yield _line(row)


def _line(row: tuple[Any, ...]) -> str:
    """An entry as PostgreSQL writes a JSON array."""
    return json.dumps([row[0], _stamp(row[1]), *row[2:]], ensure_ascii=False)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where the chain is broken, 2 where the database cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m infra.supabase.audit", description=__doc__.partition("\n")[0])
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: DATABASE_URL")
    commands = parser.add_subparsers(dest="command", required=True)
    checked = commands.add_parser("verify", help="recompute the chain of seals")
    checked.add_argument("--witness", metavar="SEAL", help="a seal from the product's logs that the chain must hold")
    shown = commands.add_parser("show", help="print the latest entries")
    shown.add_argument("--hours", type=float, default=24.0)
    wanted = parser.parse_args(arguments)
    if not wanted.database_url:
        parser.error("--database-url is missing")
    try:
        with psycopg.connect(wanted.database_url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            if wanted.command == "show":
                return _show(connection, wanted.hours)
            return _verify(connection, wanted.witness)
    except psycopg.OperationalError as error:
        print(f"The database cannot be read: {error}", file=sys.stderr)
        return 2


def _verify(connection: psycopg.Connection, witness: str | None) -> int:
    if witness is not None and not holds(connection, witness):
        print("The chain does not hold the witness: it was cut short, or written anew.")
        return 1
    fitting, broken = verify(connection)
    if broken is None:
        print(f"All {fitting} sealed hours are as they were. {unsealed(connection)} entries wait for a seal.")
        return 0
    print(f"{fitting} sealed hours are as they were. The hour of {_stamp(broken.hour)} is not: {broken.reason}.")
    return 1


def _show(connection: psycopg.Connection, hours: float) -> int:
    now = datetime.now(UTC)
    for line in _lines(connection, now - timedelta(hours=hours), now + _HOUR):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
