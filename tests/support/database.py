"""A throwaway local database for tests: real PostgreSQL, real PostgREST, the front, and keys to sign tokens with."""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import itertools
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
import jwt
import psycopg
from jwt.algorithms import ECAlgorithm
from postgrest import APIError, SyncPostgrestClient

from local.database.front import Faults
from local.database.local_database import LocalDatabase, ProjectKeys, RunningDatabase
from shared.accounts.tokens import new_keyring, public_jwks
from shared.runtime.ids import new_id, new_secret

ISSUER = "https://tokens.oprina.test"
T = TypeVar("T")


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, each a different one."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports: list[int] = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def hash_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


@dataclass
class Refusal(Exception):
    """What a SQL function refused: the HTTP status, the code word and the members of `details`."""

    status: int
    code: str
    extra: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""


def unless(code: str, call: Callable[[], T]) -> T | None:
    """What the call returns; None where it is refused with this code. Any other refusal is raised."""
    try:
        return call()
    except Refusal as refusal:
        if refusal.code != code:
            raise
        return None


@dataclass
class DatabasePerson:
    """A verified person with a sign-in, made through the server functions."""

    database: Database
    id: str
    email: str
    sign_in_id: str
    refresh_token: str
    token: str

    def call(self, function: str, **parameters: Any) -> Any:
        """Call a SQL function with this person's token and the backend's key."""
        return self.database.call(function, self.token, **parameters)

    def serve(self, function: str, entry: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """The `data` of a function that opens with `enter`."""
        answer = self.call(function, p_entry=self.database.entry(**(entry or {})), **parameters)
        return answer["data"]

    def session(self, title: str | None = None) -> str:
        created = self.serve("create_session", p_id=str(new_id()), p_title=title)
        return str(created["id"])


class Database:
    """A started local database. `environment` is what functions read to reach it and to sign tokens."""

    def __init__(
        self, local: LocalDatabase | None, running: RunningDatabase, keyring: str, issuer: str = ISSUER
    ) -> None:
        self.started, self.running, self.keyring, self.issuer = local, running, keyring, issuer
        self.url = running.database_url
        self.http = httpx.Client(timeout=30, limits=httpx.Limits(max_connections=64, max_keepalive_connections=64))
        self._numbers = itertools.count()
        self._lock = threading.RLock()
        self._administration: psycopg.Connection | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {**self.running.environment(), "TOKEN_ISSUER": self.issuer, "ACCESS_TOKEN_KEYRING": self.keyring}

    # SQL as the administrator, past every wall

    async def fetch(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(self.rows, query, *parameters)

    async def execute(self, statement: str, *parameters: Any) -> int:
        """Returns how many rows changed."""
        return await asyncio.to_thread(self.run, statement, *parameters)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.administration() as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()

    def run(self, statement: str, *parameters: Any) -> int:
        with self.administration() as connection:
            return connection.execute(statement.encode(), parameters or None).rowcount

    @contextmanager
    def administration(self) -> Iterator[psycopg.Connection]:
        """One connection that commits each statement, kept open, for one thread at a time."""
        with self._lock:
            if self._administration is None:
                self._administration = psycopg.connect(self.url, autocommit=True)
            yield self._administration

    # Requests, as functions make them

    def client(self, apikey: str, token: str | None = None, **headers: str) -> SyncPostgrestClient:
        """The official client with these credentials and nothing else; `headers` names use _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return SyncPostgrestClient(
            f"{self.running.supabase_url}/rest/v1",
            headers={"apikey": apikey, "Authorization": f"Bearer {token or apikey}", **named},
            http_client=self.http,
        )

    def call(self, function: str, token: str | None = None, **parameters: Any) -> Any:
        """Call a SQL function with the backend's key: as a person, or with the server key where no token is given.

        Raises:
            Refusal: the function refused.
        """
        keys = self.running.keys
        client = self.client(keys.publishable if token else keys.secret, token, x_backend_key=keys.backend)
        try:
            return client.rpc(function, parameters).execute().data
        except APIError as error:
            if str(error.code).startswith("PT"):
                extra = json.loads(error.details or "{}")
                raise Refusal(int(str(error.code)[2:]), str(error.message), extra, str(error.hint)) from None
            raise

    def entry(self, route: str = "POST /v1/tests", **members: Any) -> dict[str, Any]:
        """A p_entry that limits nothing."""
        nothing: dict[str, Any] = {"rate": None, "fleet": [], "key": None, "fingerprint": None, "address": "192.0.2.1"}
        return {"route": route, **nothing, **members}

    # People and their tokens

    def sign(self, person_id: str, sign_in_id: str, *, keyring: str | None = None, **changes: Any) -> str:
        """An access token as the product signs them, but for `changes` of its claims (None leaves one out)."""
        ring = json.loads(keyring or self.keyring)
        key = next(key for key in ring["keys"] if key["kid"] == ring["active"])
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": "authenticated", "role": "authenticated", "iat": now, "exp": now + 900,
            "sub": person_id, "sid": sign_in_id,
        } | changes  # fmt: skip
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, cast("Any", ECAlgorithm.from_jwk(key)), "ES256", headers={"kid": key["kid"]})

    def register(self, email: str | None = None, **changes: Any) -> tuple[str, str]:
        """Register an address that is not verified yet. Returns it and the verification token's hash."""
        email = email or f"person-{next(self._numbers)}-{new_id().hex[-6:]}@oprina.test"
        token_hash = hash_of(new_secret())
        parameters = {
            "p_entry": self.entry("POST /v1/auth/register"), "p_user_id": str(new_id()), "p_email": email,
            "p_password_hash": "$2b$04$irrelevant", "p_profile": {}, "p_token_hash": token_hash,
            "p_token_expires_at": "2999-01-01T00:00:00Z", "p_outbox_id": str(new_id()), "p_mail": {"to": email},
            "p_known_mail": {"to": email, "known": True},
        }  # fmt: skip
        self.call("register_person", **(parameters | changes))
        return email, token_hash

    def sign_in(self, person_id: str, email: str) -> DatabasePerson:
        refresh_token, sign_in_id = new_secret(), str(new_id())
        self.call(
            "open_sign_in", p_entry=self.entry("POST /v1/auth/login"), p_user_id=person_id, p_sign_in_id=sign_in_id,
            p_refresh_id=str(new_id()), p_refresh_hash=hash_of(refresh_token),
            p_refresh_expires_at="2999-01-01T00:00:00Z", p_device={"user_agent": "tests"},
        )  # fmt: skip
        return DatabasePerson(self, person_id, email, sign_in_id, refresh_token, self.sign(person_id, sign_in_id))

    def person(self, email: str | None = None, **profile: Any) -> DatabasePerson:
        """A verified person who is signed in."""
        email, token_hash = self.register(email, p_profile=profile)
        verified = self.call("verify_email", p_entry=self.entry(), p_token_hash=token_hash)
        return self.sign_in(str(UUID(verified["data"]["user_id"])), email)

    @classmethod
    def reached(cls, front_port: int, keys: Mapping[str, str], keyring: str) -> Database:
        """A database that another process started; requests only."""
        return cls(None, RunningDatabase(f"http://127.0.0.1:{front_port}", "", "", ProjectKeys(**keys)), keyring)

    @property
    def local(self) -> LocalDatabase:
        assert self.started is not None
        return self.started

    def close(self) -> None:
        self.http.close()
        if self._administration is not None:
            self._administration.close()
        if self.started is not None:
            self.started.stop()


@contextmanager
def throwaway_database(*, faults: Faults | None = None, durable: bool = False) -> Iterator[Database]:
    """A database in a folder of its own that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="oprina-database-"))
    folder.chmod(0o755)  # PostgreSQL's own account has to enter it
    keyring = new_keyring()
    local = LocalDatabase(
        folder, *free_ports(3), jwks=public_jwks(keyring), issuer=ISSUER, faults=faults, durable=durable
    )
    try:
        database = Database(local, local.start(), keyring)
        try:
            yield database
        finally:
            database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared_database() -> Database:
    """One database for the whole test run, started at the first call. Tests make people of their own in it."""
    opened = throwaway_database()
    database = opened.__enter__()
    atexit.register(opened.__exit__, None, None, None)
    return database
