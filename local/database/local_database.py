"""The whole of the local database in one object: for tests, and for whoever wants it without a launcher."""

from __future__ import annotations

import fcntl
import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
import uvicorn

from infra.supabase.keys import add_backend_key, retire_backend_key, trust_issuer
from infra.supabase.migrate import migrate
from local.database.binaries import DatabaseUnavailable
from local.database.cluster import HOST, STOP_SIGNAL, Cluster, write_secret
from local.database.front import Faults, FrontKeys, create_front
from local.database.rest import RELOAD_SIGNAL, Rest
from shared.runtime.crypto import digest

_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class ProjectKeys:
    """What Supabase issues for a project (the two API keys), and our backend's key for the gate."""

    publishable: str
    secret: str
    backend: str

    @classmethod
    def new(cls) -> ProjectKeys:
        """In the forms in which Supabase issues them."""
        return cls(
            f"sb_publishable_{secrets.token_urlsafe(24)}",
            f"sb_secret_{secrets.token_urlsafe(32)}",
            secrets.token_urlsafe(32),
        )


@dataclass(frozen=True)
class RunningDatabase:
    """How to reach a started database. `database_url` is the role `postgres`, for administration."""

    supabase_url: str
    postgrest_url: str
    database_url: str
    keys: ProjectKeys

    def environment(self) -> dict[str, str]:
        """The variables by which functions reach it."""
        return {
            "SUPABASE_URL": self.supabase_url,
            "SUPABASE_PUBLISHABLE_KEY": self.keys.publishable,
            "SUPABASE_SECRET_KEY": self.keys.secret,
            "BACKEND_KEY": self.keys.backend,
        }


class LocalDatabase:
    """PostgreSQL, PostgREST and the front over one folder. State outlives the process, however it ends.

    Args:
        folder: where everything is kept; made when it is missing.
        jwks, issuer: whose access tokens count.
        keys: given where somebody else issues them; otherwise made once and kept in the folder.
        front_port: None where the front runs in another process.
        durable: False only for tests, whose data nobody misses after a crash of the machine.
    """

    def __init__(
        self,
        folder: Path,
        postgres_port: int,
        postgrest_port: int,
        front_port: int | None,
        *,
        jwks: Mapping[str, Any],
        issuer: str,
        keys: ProjectKeys | None = None,
        faults: Faults | None = None,
        durable: bool = True,
    ) -> None:
        self.folder = folder
        self._cluster = Cluster(folder, postgres_port, durable)
        self._rest = Rest(folder, postgrest_port)
        self._front_port = front_port
        self._jwks, self._issuer, self._keys, self._faults = jwks, issuer, keys, faults
        self._lock: IO[str] | None = None
        self._processes: list[tuple[subprocess.Popen[bytes], int]] = []
        self._front: _FrontThread | None = None

    def start(self) -> RunningDatabase:
        """Start what is not running, bring the schema up to date, and return when requests are served.

        Raises:
            DatabaseUnavailable: a program is missing or did not come up, or another process holds the folder.
            MigrationError: the migrations do not fit this database.
        """
        self._hold_folder()
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> RunningDatabase:
        keys = self._keys or kept_keys(self.folder)
        signing_secret = front_secret(self.folder)
        logs = self.folder / "logs"
        self._cluster.prepare()
        self._processes.append((self._cluster.start(logs / "postgres.log"), STOP_SIGNAL))
        self._cluster.open()
        open_for(self._cluster.url, issuer=self._issuer, backend_key=keys.backend)
        self._rest.configure(self._cluster.authenticator_url, self._jwks, signing_secret)
        self._processes.append((self._rest.start(logs / "postgrest.log"), STOP_SIGNAL))
        self._rest.wait()
        if self._front_port is not None:
            front = create_front(self._rest.url, FrontKeys(keys.publishable, keys.secret, signing_secret), self._faults)
            self._front = _FrontThread(front, self._front_port)
        url = f"http://{HOST}:{self._front_port}" if self._front_port is not None else ""
        return RunningDatabase(url, self._rest.url, self._cluster.url, keys)

    def reload_jwks(self, jwks: Mapping[str, Any]) -> None:
        """Let other keys count from now on, without a restart; PostgREST has read them within a moment."""
        self._jwks = jwks
        self._rest.write_keys(jwks, front_secret(self.folder))
        self._processes[-1][0].send_signal(RELOAD_SIGNAL)

    def stop(self) -> None:
        """End everything that was started here."""
        if self._front is not None:
            self._front.stop()
            self._front = None
        while self._processes:
            process, how = self._processes.pop()
            process.send_signal(how)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _hold_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise DatabaseUnavailable(f"Another process is using the database in {self.folder}.") from None
        self._lock = lock


class _FrontThread:
    """The front, served on an event loop of its own."""

    def __init__(self, front: Any, port: int) -> None:
        self._socket = _listening(port)
        config = uvicorn.Config(front, log_level="critical", access_log=False, lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="supabase-front", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        self._socket.close()


def _listening(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer waits for 40 ms.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise DatabaseUnavailable(f"The front cannot listen on port {port}: {error.strerror}.") from error
    return bound


def open_for(database_url: str, *, issuer: str, backend_key: str) -> None:
    """Bring the schema up to date, and let the gate accept this issuer and this backend key.

    A local backend key that is replaced makes room for itself: the oldest live one is retired.
    """
    migrate(database_url, say=lambda _: None)
    key_hash = digest(backend_key)
    with psycopg.connect(database_url, autocommit=True) as connection:
        trust_issuer(connection, issuer)
        live = connection.execute(
            "select key_hash from private.backend_keys where retired_at is null order by created_at"
        ).fetchall()
        if (key_hash,) not in live and len(live) == 2:
            retire_backend_key(connection, live[0][0])
        add_backend_key(connection, key_hash)


def kept_keys(folder: Path) -> ProjectKeys:
    """The project's keys, made on the first call and kept in the folder."""
    return ProjectKeys(**json.loads(_kept(folder / "keys.json", lambda: json.dumps(vars(ProjectKeys.new())))))


def front_secret(folder: Path) -> str:
    """What signs the tokens that the front makes for PostgREST, made on the first call and kept in the folder."""
    return _kept(folder / "front.secret", lambda: secrets.token_urlsafe(48))


def _kept(file: Path, make: Any) -> str:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_secret(file, make())
    return file.read_text()
