"""The account: its credits, its sessions and their records, in one SQLite file that outlives the process."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import jwt

from local.faults import FaultBook
from local.liveavatar import metering
from local.liveavatar.metering import Session
from local.liveavatar.refusals import Refused, no_credits, no_slot, not_authorized, session_not_found
from local.liveavatar.settings import SANDBOX_SECONDS, TOKEN_SECONDS, Settings

STAND_IN: Final = "liveavatar"
# The stand-in's own name for taking a minute's credits; a fault with status 402 lets it find the account empty.
CHARGE: Final = "charge"
_ALGORITHM: Final = "HS256"
_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(Session))
_SCHEMA: Final = """
create table if not exists account (name text primary key, value text not null);
create table if not exists sessions (
    ordinal integer primary key autoincrement, id text not null unique, mode text not null, avatar_id text not null,
    context_id text, is_sandbox integer not null, max_session_duration integer not null, created_at real not null,
    updated_at real not null, started_at real, seen_at real, ended_at real, end_reason text,
    minutes integer not null default 0, credits_consumed integer not null default 0, socket_key text
);
"""


class Account:
    """What the routes and the WebSocket share. Every statement has committed when a method returns."""

    def __init__(self, file: Path, settings: Settings, faults: FaultBook, now: Callable[[], float]) -> None:
        """`now` gives seconds since the epoch."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.executescript("pragma journal_mode = wal; pragma synchronous = full;" + _SCHEMA)
        self._faults = faults
        self.now = now
        first = settings.model_dump() | {"credits_left": settings.first_credits, "signing_key": secrets.token_hex(32)}
        self._db.executemany(
            "insert into account (name, value) values (?, ?) on conflict (name) do nothing",
            [(name, json.dumps(first[name])) for name in ("credits_left", "signing_key")],
        )
        self._settings: dict[str, Any] = settings.model_dump()
        self._ended: list[Callable[[Session], None]] = []

    def close(self) -> None:
        self._db.close()

    def when_a_session_ends(self, tell: Callable[[Session], None]) -> None:
        self._ended.append(tell)

    def get(self, name: str) -> Any:
        """A limit of `Settings`, or `credits_left`."""
        if name in self._settings:
            return self._settings[name]
        return json.loads(self._db.execute("select value from account where name = ?", (name,)).fetchone()[0])

    def change(self, changes: Mapping[str, Any]) -> None:
        """Give the account other credits, kept for good, or other limits, kept while the process lives."""
        for name, value in changes.items():
            if name == "credits_left":
                self._set_credits(value)
            else:
                self._settings[name] = value

    def mint(self, mode: str, asked: Mapping[str, Any]) -> tuple[Session, str]:
        """A new session that has not started, and its token.

        `asked` has `avatar_id`, `context_id`, `is_sandbox` and `max_session_duration` (None for as long as may be).
        """
        now = self.now()
        most = SANDBOX_SECONDS if asked["is_sandbox"] else self.get("plan_seconds")
        wanted = asked["max_session_duration"]
        session = Session(
            id=str(uuid4()),
            mode=mode,
            avatar_id=asked["avatar_id"],
            context_id=asked["context_id"],
            is_sandbox=asked["is_sandbox"],
            max_session_duration=most if wanted is None else min(wanted, most),
            created_at=now,
            updated_at=now,
        )
        self._keep(session)
        claims = {
            "session_id": session.id,
            "iat": int(now),
            "exp": int(now) + TOKEN_SECONDS,
            "start_session_data": {"mode": mode, "avatar_id": session.avatar_id, "is_sandbox": session.is_sandbox},
        }
        return session, jwt.encode(claims, self.get("signing_key"), _ALGORITHM)

    def of_token(self, token: str) -> Session:
        """The session of a token, for as long as it lives. Raises Refused for what is no token of ours."""
        try:
            # How long a token may start its session is this clock's business, which tests move.
            claims = jwt.decode(
                token,
                self.get("signing_key"),
                algorithms=[_ALGORITHM],
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.PyJWTError:
            raise not_authorized() from None
        session = self.session(claims["session_id"])
        if session is None or (session.started_at is None and claims["exp"] <= self.now()):
            raise not_authorized()
        return session

    def start(self, session: Session) -> tuple[Session, str]:
        """Start a session, once. Returns it with the key of its WebSocket.

        Raises:
            Refused: the token was used (400), no slot is free (403), or no minute can be paid (402).
        """
        if session.started_at is not None:
            raise Refused(400, "Session has already been started")
        now = self.now()
        self.settle()
        if self._slots_in_use(now) >= self.get("concurrency"):
            raise no_slot()
        key = secrets.token_urlsafe(24)
        with self._at_once():
            if not self._pay(session.credits_per_minute):
                raise no_credits()
            session = metering.charged(dataclasses.replace(session, started_at=now, seen_at=now, updated_at=now))
            self._keep(session)
            self._db.execute("update sessions set socket_key = ? where id = ?", (key, session.id))
        return session, key

    def keep_alive(self, session_id: str) -> Session:
        """Raises Refused (404) when no such session is running."""
        session = self.running(session_id)
        now = self.now()
        session = dataclasses.replace(session, seen_at=now, updated_at=now)
        self._keep(session)
        return session

    def stop(self, session_id: str, reason: str) -> Session:
        """Raises Refused (404) when no such session is running, so also the second time."""
        session = metering.ended(self.running(session_id), self.now(), reason)
        self._keep(session)
        self._tell(session)
        return session

    def running(self, session_id: str) -> Session:
        session = self.session(session_id)
        if session is None or not session.active:
            raise session_not_found()
        return session

    def session(self, session_id: str) -> Session | None:
        """A session as it is at this moment."""
        found = self._read("where id = ?", (session_id,))
        return self._settled(found[0]) if found else None

    def of_socket(self, session_id: str, key: str) -> Session | None:
        """The running session that a WebSocket's address names."""
        row = self._db.execute("select socket_key from sessions where id = ?", (session_id,)).fetchone()
        if row is None or row[0] is None or not secrets.compare_digest(row[0], key):
            return None
        session = self.session(session_id)
        return session if session is not None and session.active else None

    def settle(self) -> None:
        """End every session whose time has come and take the minutes that have begun."""
        for session in self._read("where started_at is not null and ended_at is null", ()):
            self._settled(session)

    def listed(self, *, active: bool, wanted: Mapping[str, str], page: int, size: int) -> tuple[int, list[Session]]:
        """How many sessions run, or have ended, and one page of them, newest first. `wanted` filters by columns."""
        self.settle()
        state = "ended_at is null" if active else "ended_at is not null"
        where = "".join([f"where started_at is not null and {state}", *(f" and {name} = ?" for name in wanted)])
        values = tuple(wanted.values())
        count = self._db.execute(f"select count(*) from sessions {where}", values).fetchone()[0]  # noqa: S608 - our names
        found = self._read(f"{where} order by ordinal desc limit ? offset ?", (*values, size, (page - 1) * size))
        return count, found

    def _slots_in_use(self, now: float) -> int:
        held_since = now - self.get("slot_release_seconds")
        row = self._db.execute(
            "select count(*) from sessions where started_at is not null and (ended_at is null or ended_at > ?)",
            (held_since,),
        ).fetchone()
        return int(row[0])

    def _settled(self, session: Session) -> Session:
        if not session.active:
            return session
        with self._at_once():
            after = metering.settled(session, self.now(), self._pay)
            if after != session:
                self._keep(after)
        if not after.active:
            self._tell(after)
        return after

    @contextlib.contextmanager
    def _at_once(self) -> Iterator[None]:
        """What is taken off the account and what it was taken for are on disk together, or neither."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def _pay(self, credit: int) -> bool:
        if credit and self._faults.for_call(STAND_IN, CHARGE).status == 402:
            return False
        left = self.get("credits_left")
        if left < credit:
            return False
        self._set_credits(left - credit)
        return True

    def _set_credits(self, left: int) -> None:
        self._db.execute("update account set value = ? where name = 'credits_left'", (json.dumps(left),))

    def _tell(self, session: Session) -> None:
        for tell in self._ended:
            tell(session)

    def _keep(self, session: Session) -> None:
        names = ", ".join(_COLUMNS)
        slots = ", ".join(f":{name}" for name in _COLUMNS)
        changes = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "id")
        self._db.execute(
            f"insert into sessions ({names}) values ({slots}) on conflict (id) do update set {changes}",  # noqa: S608
            dataclasses.asdict(session),
        )

    def _read(self, where: str, values: Iterable[Any]) -> list[Session]:
        return read_sessions(self._db, where, values)


def read_sessions(database: sqlite3.Connection, where: str, values: Iterable[Any] = ()) -> list[Session]:
    """The sessions of an account's file as they were written last."""
    rows = database.execute(f"select {', '.join(_COLUMNS)} from sessions {where}", tuple(values))  # noqa: S608 - our names
    return [Session(**dict(zip(_COLUMNS, row, strict=True)) | {"is_sandbox": bool(row[4])}) for row in rows]
