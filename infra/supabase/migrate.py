"""Apply the numbered SQL files of `migrations/` to a database, in order, each in one transaction.

    python -m infra.supabase.migrate --database-url postgresql://postgres:…@host:5432/postgres

What was applied is recorded in `private.migrations` with the file's SHA-256. Running again applies what is new; a file
that was applied and then changed is refused. Two runs at once wait for each other, one transaction at a time, so a
transaction pooler works too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg

MIGRATIONS = Path(__file__).with_name("migrations")
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x6F7072696E61  # any number nobody else uses: the bytes of "oprina"
_LEDGER = """
create schema if not exists private;
create table if not exists private.migrations (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default now()
);
comment on table private.migrations is 'Which migration files were applied, and their SHA-256.';
alter table private.migrations enable row level security;
alter table private.migrations force row level security;
drop policy if exists administration on private.migrations;
create policy administration on private.migrations for all to current_user using (true) with check (true);
"""


class MigrationError(Exception):
    """The migrations on disk and those in the database do not fit together, or one of them failed."""


@dataclass(frozen=True)
class Migration:
    """One file: its name, which orders it, and its text."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """The files of a folder in the order of their numbers.

    Raises:
        MigrationError: a name that is not NNNN_name.sql, or a number used twice.
    """
    numbers: dict[str, str] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is not named NNNN_name.sql")
        if match[1] in numbers:
            raise MigrationError(f"{numbers[match[1]]} and {path.name} have the same number")
        numbers[match[1]] = path.name
    return [Migration(name, (folder / name).read_text(encoding="utf-8")) for name in numbers.values()]


def migrate(database_url: str, *, folder: Path = MIGRATIONS, say: Callable[[str], None] = print) -> list[str]:
    """Bring a database up to date; returns the names applied by this call.

    Raises:
        MigrationError: an applied file changed or is gone, a new file is numbered before an applied one, or the
            database refused one (its transaction is then undone, those before it stay).
    """
    migrations = read_migrations(folder)
    applied: list[str] = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        for migration in migrations:
            if _apply(connection, migration, migrations):
                say(f"applied  {migration.name}")
                applied.append(migration.name)
            else:
                say(f"present  {migration.name}")
    return applied


def _apply(connection: psycopg.Connection, migration: Migration, every: Sequence[Migration]) -> bool:
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        present = _present(connection)
        _compare(present, every)
        if migration.name in present:
            return False
        try:
            connection.execute(cast("psycopg.abc.Query", migration.sql))
        except psycopg.Error as error:
            raise MigrationError(f"{migration.name}: {_say(error)}") from error
        connection.execute(
            "insert into private.migrations (name, sha256) values (%s, %s)", [migration.name, migration.sha256]
        )
    return True


def _present(connection: psycopg.Connection) -> dict[str, str]:
    if connection.execute("select to_regclass('private.migrations') is null").fetchone() == (True,):
        connection.execute(cast("psycopg.abc.Query", _LEDGER))
    return dict(connection.execute("select name, sha256 from private.migrations").fetchall())


def _compare(present: dict[str, str], every: Sequence[Migration]) -> None:
    on_disk = {migration.name: migration.sha256 for migration in every}
    for name, sha256 in sorted(present.items()):
        if name not in on_disk:
            raise MigrationError(f"{name} was applied to this database but is not among the files")
        if on_disk[name] != sha256:
            raise MigrationError(
                f"{name} changed after it was applied to this database. Restore it, and put the change into a new file"
            )
    last = max(present, default="")
    for name in on_disk:
        if name not in present and name < last:
            raise MigrationError(f"{name} is new but numbered before {last}, which was applied already")


def _say(error: psycopg.Error) -> str:
    where = f" (at character {error.diag.statement_position})" if error.diag.statement_position else ""
    return f"{error.diag.message_primary or error}{where}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Apply the database migrations.")
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: DATABASE_URL")
    chosen = parser.parse_args(arguments)
    if not chosen.database_url:
        parser.error("--database-url is missing")
    try:
        applied = migrate(chosen.database_url)
    except (MigrationError, psycopg.OperationalError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    print(f"{len(applied)} applied" if applied else "nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
