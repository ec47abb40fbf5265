"""What the gate in front of the database accepts: the backend's keys and the issuer of access tokens.

    python -m infra.supabase.keys --database-url URL add-backend-key SHA256
    python -m infra.supabase.keys --database-url URL retire-backend-key SHA256
    python -m infra.supabase.keys --database-url URL trust-issuer https://…
    python -m infra.supabase.keys --database-url URL list

A key is given as the SHA-256 of its text in hex (`printf %s "$BACKEND_KEY" | sha256sum`); the key itself never reaches
the database's administration. At most two are live: add the new one, deploy the functions with it, retire the old one.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

import psycopg

_HASH = re.compile(r"[0-9a-f]{64}")


class KeyRefused(Exception):
    """The key cannot be added or retired; the message says why."""


def add_backend_key(connection: psycopg.Connection, key_hash: str) -> None:
    """Make a key live. Adding a live one again changes nothing.

    Raises:
        KeyRefused: it is no SHA-256 in hex, was retired before, or two others are live.
    """
    if not _HASH.fullmatch(key_hash):
        raise KeyRefused("a backend key is added as its SHA-256 in lower-case hex (64 characters)")
    with connection.transaction():
        connection.execute("lock table private.backend_keys in exclusive mode")
        held: dict[str, bool] = dict(
            connection.execute("select key_hash, retired_at is not null from private.backend_keys").fetchall()
        )
        if held.get(key_hash) is False:
            return
        if held.get(key_hash):
            raise KeyRefused("this key was retired; make a new one")
        slots = connection.execute("select slot from private.backend_keys where retired_at is null").fetchall()
        free = {1, 2} - {slot for (slot,) in slots}
        if not free:
            raise KeyRefused("two keys are live already; retire one first")
        connection.execute("insert into private.backend_keys (key_hash, slot) values (%s, %s)", [key_hash, min(free)])


def retire_backend_key(connection: psycopg.Connection, key_hash: str) -> None:
    """End a key at once.

    Raises:
        KeyRefused: it is not live.
    """
    ended = connection.execute(
        "update private.backend_keys set retired_at = now() where key_hash = %s and retired_at is null", [key_hash]
    )
    if ended.rowcount == 0:
        raise KeyRefused("no such key is live")


def trust_issuer(connection: psycopg.Connection, issuer: str) -> None:
    """From now on the gate accepts the tokens of this issuer (`iss`), and of no other."""
    connection.execute(
        "insert into private.settings (name, value) values ('trusted_issuer', %s)"
        " on conflict (name) do update set value = excluded.value",
        [issuer],
    )


def describe(connection: psycopg.Connection) -> list[str]:
    """One line for the issuer and each key."""
    issuer = connection.execute("select value from private.settings where name = 'trusted_issuer'").fetchone()
    keys = connection.execute(
        "select key_hash, created_at, retired_at from private.backend_keys order by created_at"
    ).fetchall()
    return [
        f"trusted issuer  {issuer[0] if issuer else 'none: nobody is let in'}",
        *(
            f"backend key     {name}  since {since:%Y-%m-%d}  {'retired' if end else 'live'}"
            for name, since, end in keys
        ),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Administer what the database's gate accepts.")
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: DATABASE_URL")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("add-backend-key", "retire-backend-key"):
        commands.add_parser(name).add_argument("value", metavar="SHA256")
    commands.add_parser("trust-issuer").add_argument("value", metavar="ISSUER")
    commands.add_parser("list")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if not chosen.database_url:
        parser.error("--database-url is missing")
    changes = {
        "add-backend-key": add_backend_key,
        "retire-backend-key": retire_backend_key,
        "trust-issuer": trust_issuer,
    }
    try:
        with psycopg.connect(chosen.database_url, autocommit=True) as connection:
            if chosen.command in changes:
                changes[chosen.command](connection, chosen.value)
            print("\n".join(describe(connection)))
    except (KeyRefused, psycopg.Error) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
