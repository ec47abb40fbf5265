"""What people have granted to clients, and the codes and tokens that stand for it, in the stand-in's database."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

CODE_SECONDS: Final = 600
ACCESS_TOKEN_SECONDS: Final = 3599
# Beyond these the oldest stops working, silently: https://developers.google.com/identity/protocols/oauth2#expiration
LIVE_REFRESH_TOKENS: Final = 100

SCHEMA: Final = """
create table if not exists grants (
    client text not null, subject text not null, scopes text not null, primary key (client, subject)
);
create table if not exists codes (
    code text primary key, client text not null, subject text not null, redirect_uri text not null,
    scopes text not null, challenge text, nonce text, offline integer not null, refreshable integer not null,
    expires_at real not null, used integer not null default 0
);
create table if not exists access_tokens (
    token text primary key, client text not null, subject text not null, scopes text not null,
    offline integer not null, expires_at real not null
);
create table if not exists refresh_tokens (
    ordinal integer primary key autoincrement, token text not null unique, client text not null,
    subject text not null, scopes text not null
);
"""


@dataclass(frozen=True)
class Code:
    """What an authorization code stands for. `refreshable`: its exchange gives a refresh token too."""

    client: str
    subject: str
    redirect_uri: str
    scopes: frozenset[str]
    challenge: str | None
    nonce: str | None
    offline: bool
    refreshable: bool


@dataclass(frozen=True)
class Access:
    """What a living access token opens, for `seconds_left` more seconds."""

    client: str
    subject: str
    scopes: frozenset[str]
    offline: bool
    seconds_left: int


class Grants:
    """A call is a few statements on one file, made on the event loop, in turn."""

    def __init__(
        self,
        database: sqlite3.Connection,
        now: Callable[[], float],
        access_token_seconds: Callable[[], int] = lambda: ACCESS_TOKEN_SECONDS,
    ) -> None:
        self._db = database
        self._now = now
        self.access_token_seconds = access_token_seconds
        database.executescript(SCHEMA)

    def granted(self, client: str, subject: str) -> frozenset[str]:
        """Everything a person has granted to a client so far."""
        row = self._db.execute(
            "select scopes from grants where client = ? and subject = ?", (client, subject)
        ).fetchone()
        return frozenset(json.loads(row[0])) if row else frozenset()

    def grant(self, client: str, subject: str, scopes: Iterable[str]) -> None:
        """Add to what a person has granted."""
        held = self.granted(client, subject) | set(scopes)
        self._db.execute(
            "insert into grants (client, subject, scopes) values (?, ?, ?)"
            " on conflict (client, subject) do update set scopes = excluded.scopes",
            (client, subject, _listed(held)),
        )

    def issue_code(self, code: Code) -> str:
        self._db.execute("delete from codes where expires_at < ?", (self._now() - 24 * 3600,))
        value = f"4/0A{secrets.token_urlsafe(48)}"
        self._db.execute(
            "insert into codes (code, client, subject, redirect_uri, scopes, challenge, nonce, offline, refreshable,"
            " expires_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                value, code.client, code.subject, code.redirect_uri, _listed(code.scopes), code.challenge, code.nonce,
                code.offline, code.refreshable, self._now() + CODE_SECONDS,
            ),
        )  # fmt: skip
        return value

    def code(self, value: str) -> Code | None:
        """A code that can still be exchanged."""
        row = self._db.execute(
            "select client, subject, redirect_uri, scopes, challenge, nonce, offline, refreshable from codes"
            " where code = ? and not used and expires_at > ?",
            (value, self._now()),
        ).fetchone()
        if row is None:
            return None
        client, subject, redirect_uri, scopes, challenge, nonce, offline, refreshable = row
        held = frozenset(json.loads(scopes))
        return Code(client, subject, redirect_uri, held, challenge, nonce, bool(offline), bool(refreshable))

    def use_code(self, value: str) -> bool:
        """Use a code up. Returns whether it was this call that did."""
        return self._db.execute("update codes set used = 1 where code = ? and not used", (value,)).rowcount == 1

    def issue_access_token(self, client: str, subject: str, scopes: Iterable[str], *, offline: bool) -> str:
        self._db.execute("delete from access_tokens where expires_at < ?", (self._now(),))
        value = f"ya29.a0{secrets.token_urlsafe(96)}"
        self._db.execute(
            "insert into access_tokens (token, client, subject, scopes, offline, expires_at) values (?, ?, ?, ?, ?, ?)",
            (value, client, subject, _listed(scopes), offline, self._now() + self.access_token_seconds()),
        )
        return value

    def issue_refresh_token(self, client: str, subject: str, scopes: Iterable[str]) -> str:
        value = f"1//0{secrets.token_urlsafe(60)}"
        self._db.execute(
            "insert into refresh_tokens (token, client, subject, scopes) values (?, ?, ?, ?)",
            (value, client, subject, _listed(scopes)),
        )
        self._db.execute(
            "delete from refresh_tokens where client = ?1 and subject = ?2 and ordinal not in (select ordinal from"
            " refresh_tokens where client = ?1 and subject = ?2 order by ordinal desc limit ?3)",
            (client, subject, LIVE_REFRESH_TOKENS),
        )
        return value

    def refreshable(self, token: str, client: str) -> tuple[str, frozenset[str]] | None:
        """The person and the scopes of a client's living refresh token."""
        row = self._db.execute(
            "select subject, scopes from refresh_tokens where token = ? and client = ?", (token, client)
        ).fetchone()
        return (row[0], frozenset(json.loads(row[1]))) if row else None

    def access(self, token: str) -> Access | None:
        """What an access token opens; None when it is unknown, expired or revoked. Google's services ask this."""
        row = self._db.execute(
            "select client, subject, scopes, offline, expires_at from access_tokens where token = ?", (token,)
        ).fetchone()
        if row is None or row[4] <= self._now():
            return None
        client, subject, scopes, offline, expires_at = row
        return Access(client, subject, frozenset(json.loads(scopes)), bool(offline), int(expires_at - self._now()))

    def expire(self, subject: str, *, access: bool, refresh: bool) -> None:
        """End a person's tokens of these kinds and leave what they granted, as a changed password or disuse does."""
        if access:
            self._db.execute("delete from access_tokens where subject = ?", (subject,))
        if refresh:
            self._db.execute("delete from refresh_tokens where subject = ?", (subject,))

    def revoke(self, token: str) -> bool:
        """End the whole grant behind an access or refresh token, and all its tokens. Returns whether there was one."""
        row = self._db.execute(
            "select client, subject from refresh_tokens where token = ?1"
            " union select client, subject from access_tokens where token = ?1 and expires_at > ?2",
            (token, self._now()),
        ).fetchone()
        if row is None:
            return False
        with self._db:
            self._db.execute("begin")
            for table in ("refresh_tokens", "access_tokens", "codes", "grants"):
                self._db.execute(f"delete from {table} where client = ? and subject = ?", row)  # noqa: S608 - our names
        return True


def _listed(scopes: Iterable[str]) -> str:
    return json.dumps(sorted(scopes))
