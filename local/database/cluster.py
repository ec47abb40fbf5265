"""One PostgreSQL cluster on disk: made, adopted after a crash, and the command that runs it."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from local.database.binaries import DatabaseUnavailable, postgres_folder

HOST = "127.0.0.1"
ADMINISTRATOR = "supabase_admin"
STOP_SIGNAL = signal.SIGINT  # PostgreSQL's fast shutdown: sessions are ended, what was committed is written
_ROLES = Path(__file__).with_name("roles.sql")
_START_SECONDS = 30.0
_FLAGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "jit": "off",
}


@dataclass
class Cluster:
    """A cluster in `folder`, reached on `port` of this machine. `durable=False` trades safety for speed, for tests."""

    folder: Path
    port: int
    durable: bool = True

    @property
    def _files(self) -> Path:
        return self.folder / "cluster"

    @property
    def account(self) -> tuple[int, int] | None:
        """(uid, gid) that the server runs as, where that is not our own: PostgreSQL refuses to run as root."""
        if os.getuid() != 0:
            return None
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    @property
    def url(self) -> str:
        """For migrations and administration: the role `postgres`, as on hosted Supabase no superuser."""
        return self._url("postgres")

    @property
    def administrator_url(self) -> str:
        """The superuser, which on hosted Supabase is nobody's but Supabase's."""
        return self._url(ADMINISTRATOR)

    @property
    def authenticator_url(self) -> str:
        """For PostgREST."""
        return self._url("authenticator")

    def prepare(self) -> None:
        """Make the cluster on the first call; end a server that outlived whoever started it.

        Raises:
            DatabaseUnavailable: PostgreSQL is missing, its account cannot reach the folder, or initdb failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_reach()
        self._end_orphan()
        if not self._files.exists():
            self._make()
        elif not self._passwords_file.exists():
            raise DatabaseUnavailable(f"{self._passwords_file} is gone, without which the cluster beside it is shut.")

    def command(self) -> list[str]:
        """What to run, as `account`, in the foreground; it ends on STOP_SIGNAL."""
        flags = {**_FLAGS, "port": str(self.port)}
        if not self.durable:
            flags |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        arguments = [part for name, value in flags.items() for part in ("-c", f"{name}={value}")]
        return [str(self._program("postgres")), "-D", str(self._files), *arguments]

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Run the server in a session of its own, its words appended to `log`; it answers a moment later."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as words:
            return subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
                **self._as(),
            )

    def open(self) -> None:
        """Wait until the server answers, and on the first call make what Supabase makes before any migration.

        Raises:
            DatabaseUnavailable: it did not answer in time.
        """
        with self._connect() as connection:
            found = connection.execute("select from pg_roles where rolname = 'authenticator'").fetchone()
            if found is None:
                with connection.transaction():
                    connection.execute(_ROLES.read_bytes())
                    for role in ("postgres", "authenticator"):
                        change = sql.SQL("alter role {} password {}")
                        connection.execute(change.format(sql.Identifier(role), sql.Literal(self._passwords[role])))

    def _connect(self) -> psycopg.Connection:
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                return psycopg.connect(self.administrator_url, autocommit=True)
            except psycopg.OperationalError as error:
                if time.monotonic() > until:
                    raise DatabaseUnavailable(f"PostgreSQL does not answer on port {self.port}: {error}") from error
                time.sleep(0.02)

    def _url(self, role: str) -> str:
        return f"postgresql://{role}:{self._passwords[role]}@{HOST}:{self.port}/postgres"

    @property
    def _passwords_file(self) -> Path:
        return self.folder / "passwords.json"

    @property
    def _passwords(self) -> Mapping[str, str]:
        held: dict[str, str] = json.loads(self._passwords_file.read_text())
        return held

    def _make(self) -> None:
        """Under another name at first, so that a cluster that is there is a whole one."""
        passwords = {role: secrets.token_urlsafe(24) for role in (ADMINISTRATOR, "postgres", "authenticator")}
        write_secret(self._passwords_file, json.dumps(passwords))
        fresh, told = self.folder / "cluster.new", self.folder / "initdb-password"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        try:
            write_secret(told, passwords[ADMINISTRATOR])
            if self.account:
                os.chown(fresh, *self.account)
                os.chown(told, *self.account)
            made = subprocess.run(
                [
                    str(self._program("initdb")), "--pgdata", str(fresh), "--username", ADMINISTRATOR,
                    "--pwfile", str(told), "--auth", "scram-sha-256", "--encoding", "UTF8",
                    "--no-sync", *self._locale(),
                ],
                capture_output=True, text=True, check=False, **self._as(),
            )  # fmt: skip
        finally:
            told.unlink(missing_ok=True)
        if made.returncode != 0:
            raise DatabaseUnavailable(f"initdb failed: {made.stderr.strip()}")
        fresh.rename(self._files)

    def _locale(self) -> list[str]:
        version = subprocess.run(
            [str(self._program("initdb")), "--version"], capture_output=True, text=True, check=True, **self._as()
        )
        builtin = int(version.stdout.split()[2].split(".")[0]) >= 17
        return ["--locale-provider", "builtin", "--locale", "C.UTF-8"] if builtin else ["--locale", "C.UTF-8"]

    def _as(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account[0], "group": self.account[1], "extra_groups": [], "cwd": "/"}

    def _program(self, name: str) -> Path:
        """A program that the account can reach: the installed one, or a copy where that is in a private folder."""
        folder = postgres_folder()
        if self.account and not _all_may_enter(folder):
            copy = self.folder / "program"
            if not copy.exists():
                shutil.copytree(folder.parent, copy, symlinks=True)
            folder = copy / folder.name
        return folder / name

    def _check_reach(self) -> None:
        if self.account and not _all_may_enter(self.folder):
            raise DatabaseUnavailable(
                f"PostgreSQL does not run as root, and its account `nobody` cannot enter {self.folder}."
                " Choose a folder whose parents everybody may enter (chmod o+x), or start as another user."
            )

    def _end_orphan(self) -> None:
        """A server of this cluster that still runs is ended; a pid file that names anything else is left-over."""
        file = self._files / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError, IndexError, psutil.Error):
            process = psutil.Process(int(file.read_text().splitlines()[0]))
            if str(self._files) in process.cmdline():
                process.send_signal(STOP_SIGNAL)
                _wait(process)
        file.unlink(missing_ok=True)


def _wait(process: psutil.Process) -> None:
    try:
        process.wait(timeout=10)
    except psutil.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(timeout=10)


def _all_may_enter(folder: Path) -> bool:
    resolved = folder.resolve()
    return all(place.stat().st_mode & stat.S_IXOTH for place in (resolved, *resolved.parents))


def write_secret(file: Path, content: str) -> None:
    """Replace a file that only its owner may read, in one step."""
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(content)
    fresh.replace(file)
