"""`make dev` as a person meets it: it comes up, it can be signed in to, it stops whole, and it keeps what it had."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from local.launcher.demo import EMAIL, PASSWORD
from local.launcher.prerequisites import MARKER, named_ports
from local.places import REPOSITORY
from tests.support.stack import Stack, StackFailed

PARTS = {"postgres", "postgrest", "cloud", "firestore", "speech", "agent", "gateway", "background", "storage"}


@pytest.fixture(scope="module")
def only_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("make-dev"))
    yield stack
    stack.stop()


@pytest.fixture
def stack(only_stack: Stack) -> Stack:
    """The local cloud of this file, running; a test may stop it."""
    if not only_stack.running:
        only_stack.stop()
        only_stack.start()
    return only_stack


@contextmanager
def started_with(stack: Stack, **environment: str) -> Iterator[None]:
    """The stopped local cloud, started again with other settings for a while."""
    before = dict(stack.environment)
    stack.environment |= environment
    try:
        stack.start()
        yield
    finally:
        stack.stop()
        stack.environment = before


def served(stack: Stack, function: str, route: str, seconds: float = 15) -> bool:
    """Whether a function with a process of its own answers this route with 200 before the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if any(f'"{route}"' in line and '"status": 200' in line for line in stack.log(function).splitlines()):
            return True
        time.sleep(0.1)
    return False


def sign_in(stack: Stack) -> dict[str, object]:
    with stack.client() as client:
        answer = client.post("/v1/auth/login", json={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    content: dict[str, object] = answer.json()
    return content


def family(pid: int) -> list[psutil.Process]:
    launcher = psutil.Process(pid)
    return [launcher, *launcher.children(recursive=True)]


def alive(processes: list[psutil.Process], seconds: float = 8) -> list[str]:
    """The names of those that still run after at most that time."""
    _, left = psutil.wait_procs(processes, timeout=seconds)
    return [" ".join(process.cmdline()[:4]) for process in left if process.status() != psutil.STATUS_ZOMBIE]


def test_it_comes_up_whole_and_the_demo_person_can_sign_in(stack: Stack) -> None:
    assert set(stack.pids()) == PARTS
    assert all(part["state"] == "ready" for part in stack.state()["parts"])
    assert EMAIL in stack.said()
    assert stack.base_url in stack.said()
    headers = {"Authorization": f"Bearer {sign_in(stack)['access_token']}"}
    with stack.client() as client:
        assert client.get("/v1/users/me", headers=headers).json()["email"] == EMAIL
        assert client.get("/v1/users/me").status_code == 401
        assert client.get("/v1/health").json()["status"] == "ok"
        assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
        assert client.get("/docs/swagger-ui-bundle.js").status_code == 200
        assert "postgrest" in client.get("/local/").text
        assert client.get("/local/logs/gateway").status_code == 200


def test_secrets_are_pinned_and_closed_to_others(stack: Stack) -> None:
    file = stack.places.environment_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets = json.loads(file.read_text())
    published = stack.places.jwks_file.read_text()
    (key,) = json.loads(secrets["ACCESS_TOKEN_KEYRING"])["keys"]
    assert key["kid"] in published
    assert key["d"] not in published
    for name in PARTS:
        assert not [value for value in (*secrets.values(), key["d"]) if value in stack.log(name)]


def test_nothing_listens_for_other_machines(stack: Stack) -> None:
    listening = [
        connection.laddr
        for process in family(stack.pid)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} >= set(named_ports(stack.places).values())
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_two_local_clouds_do_not_share_one_folder(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path)
    environment = {**os.environ, "DATA": str(stack.places.data), "PORT": str(other.places.port)}
    second = subprocess.run(
        [sys.executable, "-m", "local"], env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=20
    )
    assert second.returncode == 2
    assert "already running" in second.stderr
    sign_in(stack)


def test_a_part_that_dies_is_named_and_started_again(stack: Stack) -> None:
    before = stack.pids()["cloud"]
    os.kill(before, signal.SIGKILL)
    until = time.monotonic() + 30
    while "ready again" not in stack.said() and time.monotonic() < until:
        time.sleep(0.05)
    assert "cloud was ended by signal SIGKILL" in stack.said()
    assert stack.pids()["cloud"] != before
    sign_in(stack)


def test_ctrl_c_leaves_no_process_and_a_second_start_finds_everything_again(stack: Stack) -> None:
    person = stack.person(full_name="Grace Hopper")
    faults = {"smtp": {"DATA": {"status": 451}}}
    stack.set_faults(faults)
    processes = family(stack.pid)
    assert stack.stop(signal.SIGINT) == 0
    assert alive(processes) == []
    assert "database system is shut down" in stack.log("postgres")

    print(f"second start: {stack.start():.1f} s")  # noqa: T201 - a figure to read, too noisy to assert
    with stack.client() as client:
        signed_in = client.post("/v1/auth/login", json={"email": person.email, "password": person.password})
        assert signed_in.json()["user"]["full_name"] == "Grace Hopper"
        # A token from before the restart: the signing key was kept, and so was the sign-in.
        assert client.get("/v1/users/me", headers=person.headers).status_code == 200
        assert client.get("/local/faults").json() == faults
    stack.set_faults({})
    assert len(stack.mails(person.email)) == 1
    assert len(stack.mails(EMAIL)) == 1


def test_a_killed_launcher_leaves_no_orphans_and_a_folder_that_starts_again(stack: Stack) -> None:
    processes = family(stack.pid)
    assert len(processes) > len(PARTS)
    os.kill(stack.pid, signal.SIGKILL)
    assert alive(processes) == []
    stack.wait(5)
    stack.start()
    sign_in(stack)


def test_fresh_begins_again_without_the_people_of_before(stack: Stack) -> None:
    person = stack.person()
    stack.stop()
    with started_with(stack, FRESH="1"):
        with stack.client() as client:
            credentials = {"email": person.email, "password": person.password}
            assert client.post("/v1/auth/login", json=credentials).status_code == 401
        assert stack.mails(person.email) == []
        sign_in(stack)


def test_functions_may_have_processes_of_their_own_with_the_secrets_they_declare(only_stack: Stack) -> None:
    stack = only_stack
    stack.stop()
    alone = {"accounts-login", "accounts-me", "operations-reap"}
    with started_with(stack, PROCESSES=",".join(alone)):
        assert set(stack.pids()) == PARTS | alone
        headers = {"Authorization": f"Bearer {sign_in(stack)['access_token']}"}
        with stack.client() as client:
            assert client.get("/v1/users/me", headers=headers).json()["email"] == EMAIL
        assert "ACCESS_TOKEN_KEYRING" in psutil.Process(stack.pids()["accounts-login"]).environ()
        assert "ACCESS_TOKEN_KEYRING" not in psutil.Process(stack.pids()["accounts-me"]).environ()
        stack.run_schedule("reap")
        assert served(stack, "operations-reap", "POST /schedules/reap")
        processes = family(stack.pid)
        assert stack.stop() == 0
        assert alive(processes) == []


def test_fresh_empties_only_a_folder_of_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "data"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    stack = Stack(tmp_path, environment={"FRESH": "1"})
    stack.launch()
    assert stack.wait(15) == 2
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert not (mine / MARKER).exists()
    assert "thesis.txt" in stack.said()


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stack.places.smtp_port))
        taken.listen()
        stack.launch()
        assert stack.wait(15) == 2
    assert f"Port {stack.places.smtp_port} (smtp) is already in use" in stack.said()
    assert "PORT=" in stack.said()
    assert "Traceback" not in stack.said()


def test_a_part_that_cannot_start_ends_everything_with_the_reason(tmp_path: Path) -> None:
    stack = Stack(tmp_path, environment={"MODEL": str(tmp_path / "no-such-model.gguf")})
    with pytest.raises(StackFailed, match=r"no-such-model\.gguf"):
        stack.start()
    assert "everything is stopped" in stack.said()
    assert "Traceback" not in stack.said()
