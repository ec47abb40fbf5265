"""The local database keeps what it was given, however it is ended, and says plainly what it lacks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from postgrest import APIError

from local.database import binaries
from local.database.binaries import DatabaseUnavailable, postgres_folder, postgrest_program
from local.database.local_database import LocalDatabase
from shared.accounts.tokens import new_keyring, public_jwks
from tests.support.database import ISSUER, Database, free_ports, throwaway_database

REPOSITORY = Path(__file__).resolve().parents[2]
STARTER = """
import json, sys, time
from pathlib import Path
from local.database.local_database import LocalDatabase
folder, ports, jwks, issuer = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
database = LocalDatabase(Path(folder), *ports, jwks=jwks, issuer=issuer)
database.start()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="oprina-kept-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def running() -> Iterator[Database]:
    """For tests that need a database and none of its history."""
    with throwaway_database() as database:
        yield database


def started(folder: Path, keyring: str, ports: list[int]) -> Database:
    local = LocalDatabase(folder, *ports, jwks=public_jwks(keyring), issuer=ISSUER)
    return Database(local, local.start(), keyring)


def processes_of(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or []) and process.pid != os.getpid()
    ]


def test_what_was_stored_is_there_after_a_stop_and_the_keys_are_the_same(folder: Path) -> None:
    keyring, ports = new_keyring(), free_ports(3)
    first = started(folder, keyring, ports)
    person = first.person(full_name="Ada")
    keys = first.running.keys
    first.close()
    assert processes_of(folder) == []
    second = started(folder, keyring, ports)
    try:
        assert second.running.keys == keys
        assert second.call("get_me", person.token, p_entry=second.entry())["data"]["full_name"] == "Ada"
    finally:
        second.close()


def test_after_being_killed_it_starts_again_with_everything_that_was_committed(folder: Path) -> None:
    keyring, ports = new_keyring(), free_ports(3)
    arguments = [str(folder), json.dumps(ports), json.dumps(public_jwks(keyring)), ISSUER]
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, *arguments], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as starter:
        try:
            assert starter.stdout is not None
            assert starter.stdout.readline() == "ready\n"
            with pytest.raises(DatabaseUnavailable, match="Another process is using"):
                started(folder, keyring, ports)
            reached = Database.reached(ports[2], json.loads((folder / "keys.json").read_text()), keyring)
            person = reached.person(full_name="Ada")
            reached.http.close()
            orphans = processes_of(folder)
        finally:
            starter.kill()
    assert any(process.is_running() for process in orphans if process.pid != starter.pid)
    again = started(folder, keyring, ports)
    try:
        assert again.call("get_me", person.token, p_entry=again.entry())["data"]["full_name"] == "Ada"
    finally:
        again.close()


def test_after_postgres_itself_was_killed_a_stale_pid_file_is_no_obstacle(folder: Path) -> None:
    keyring, ports = new_keyring(), free_ports(3)
    first = started(folder, keyring, ports)
    person = first.person(full_name="Ada")
    for process in processes_of(folder):
        process.send_signal(signal.SIGKILL)
    first.close()
    assert (folder / "cluster" / "postmaster.pid").exists()
    second = started(folder, keyring, ports)
    try:
        assert second.call("get_me", person.token, p_entry=second.entry())["data"]["full_name"] == "Ada"
    finally:
        second.close()


def test_other_signing_keys_count_without_a_restart(running: Database) -> None:
    person, next_ring = running.person(), new_keyring()
    token = running.sign(person.id, person.sign_in_id, keyring=next_ring)
    with pytest.raises(APIError):
        running.call("get_me", token, p_entry=running.entry())
    both = public_jwks(running.keyring)["keys"] + public_jwks(next_ring)["keys"]
    running.local.reload_jwks({"keys": both})
    assert eventually_serves(running, token)
    assert eventually_serves(running, running.sign(person.id, person.sign_in_id))


def eventually_serves(db: Database, token: str) -> bool:
    for _ in range(100):
        try:
            db.call("get_me", token, p_entry=db.entry())
        except APIError:
            time.sleep(0.05)
        else:
            return True
    return False


def test_a_backend_key_that_is_replaced_takes_effect_with_the_next_start(folder: Path) -> None:
    keyring, ports = new_keyring(), free_ports(3)
    for _ in range(3):
        db = started(folder, keyring, ports)
        try:
            assert db.call("ping") == {"ok": True}
            live = db.rows("select count(*) from private.backend_keys where retired_at is null")
            assert live[0][0] <= 2
        finally:
            db.close()
        (folder / "keys.json").unlink()


def test_secrets_are_kept_from_other_accounts(running: Database) -> None:
    for name in ("keys.json", "front.secret", "passwords.json", "postgrest.conf", "postgrest.jwks.json"):
        assert (running.local.folder / name).stat().st_mode & 0o077 == 0, name


def test_the_database_listens_on_this_machine_only(running: Database) -> None:
    listening = [
        connection.laddr
        for process in processes_of(running.local.folder)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2  # PostgreSQL and PostgREST
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_missing_programs_are_named_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPRINA_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(DatabaseUnavailable, match="holds no initdb"):
        postgres_folder()
    monkeypatch.setenv("OPRINA_POSTGREST", str(tmp_path / "postgrest"))
    with pytest.raises(DatabaseUnavailable, match="is no program"):
        postgrest_program()
    monkeypatch.delenv("OPRINA_POSTGREST")
    monkeypatch.setattr(binaries, "_NPM_POSTGREST", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatabaseUnavailable, match=r"npm ci.*OPRINA_POSTGREST"):
        postgrest_program()


def test_programs_from_elsewhere_are_used_where_they_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("initdb", "postgrest"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("OPRINA_POSTGRES_BIN", str(tmp_path))
    monkeypatch.setenv("OPRINA_POSTGREST", str(tmp_path / "postgrest"))
    assert postgres_folder() == tmp_path
    assert postgrest_program() == tmp_path / "postgrest"


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to hand the server to another account")
def test_a_folder_that_its_account_cannot_enter_is_refused_plainly(folder: Path) -> None:
    folder.chmod(0o700)
    local = LocalDatabase(folder / "inner", *free_ports(3), jwks={"keys": []}, issuer=ISSUER)
    with pytest.raises(DatabaseUnavailable, match="cannot enter"):
        local.start()
