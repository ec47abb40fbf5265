"""The parts of the launcher that decide without starting anything large."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local.launcher.logs import RollingLog, tail
from local.launcher.prerequisites import MARKER, NotPossible, claim_folder, empty_folder, only_one
from local.launcher.probes import NeverReady
from local.launcher.run import Options
from local.launcher.screen import Screen
from local.launcher.supervision import LIFELINE, Part, PartFailed, Supervisor
from local.places import Places

PRINTS_READY = "import time; print('{\"ready\": true}', flush=True); time.sleep(60)"


def test_a_log_never_grows_beyond_twice_its_bound_and_keeps_the_newest(tmp_path: Path) -> None:
    log = RollingLog(tmp_path / "part.log", max_bytes=1000)
    for number in range(500):
        log.write(b"line %d\n" % number)
    assert (tmp_path / "part.log").stat().st_size <= 1000
    assert (tmp_path / "part.log.1").stat().st_size <= 1000
    assert log.last_lines()[-1] == "line 499"
    assert tail(tmp_path / "part.log")[-1] == "line 499"
    log.close()


def test_the_tail_of_a_log_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log") == []


@pytest.mark.parametrize("raw", ["0", "65527", "-1", "web", "8080.5"])
def test_a_port_that_leaves_no_room_for_the_others_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="PORT"):
        Places.from_environment({"PORT": raw})


def test_the_data_folder_is_relative_to_the_repository_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Places.from_environment({})
    monkeypatch.chdir(tmp_path)
    assert Places.from_environment({}) == before
    assert Places.from_environment({"DATA": str(tmp_path)}).data == tmp_path


def test_processes_takes_a_yes_a_no_or_names() -> None:
    def processes(value: str) -> frozenset[str]:
        return Options.from_environment({"PROCESSES": value}).processes

    assert processes("1") == processes("true") == {"*"}
    assert processes("") == processes("0") == frozenset()
    assert processes("a-b, c") == {"a-b", "c"}


def test_only_a_marked_folder_is_emptied_and_models_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(NotPossible):
        empty_folder(tmp_path)
    with pytest.raises(NotPossible):
        claim_folder(tmp_path)
    (tmp_path / "mine.txt").unlink()
    (tmp_path / "models").mkdir()
    claim_folder(tmp_path)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "kept.txt").touch()
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "database").mkdir()
    empty_folder(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {MARKER, "models"}
    assert (outside / "kept.txt").exists()


def test_a_held_folder_is_refused_until_its_holder_lets_go(tmp_path: Path) -> None:
    claim_folder(tmp_path)
    with only_one(tmp_path), pytest.raises(NotPossible, match="already running"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_a_process_on_a_lifeline_ends_with_its_starter() -> None:
    lifeline = [sys.executable, "-I", "-S", str(LIFELINE), str(int(signal.SIGTERM))]
    start = f"""
import os, subprocess, sys, time
child = subprocess.Popen([*{lifeline!r}, str(os.getpid()), "-", sys.executable, "-c", {PRINTS_READY!r}])
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        child = int(starter.stdout.readline())
        assert starter.stdout.readline().startswith('{"ready"')
        starter.kill()
        # The child held the other end of the pipe: its end is the end of the file.
        assert starter.stdout.read() == ""
    until = time.monotonic() + 5
    while runs(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not runs(child)


def runs(pid: int) -> bool:
    """Whether a process lives; one that only waits to be buried does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


async def supervise(part: Part, folder: Path) -> Supervisor:
    supervisor = Supervisor(folder / "logs", folder / "processes.json", Screen())
    try:
        await supervisor.start(part)
    except PartFailed:
        await supervisor.stop()
        raise
    return supervisor


async def test_a_part_that_ends_before_it_is_ready_is_told_with_its_last_words(tmp_path: Path) -> None:
    part = Part("broken", [sys.executable, "-c", "import sys; print('the reason'); sys.exit(3)"])
    with pytest.raises(PartFailed, match=r"(?s)broken ended with exit status 3.*the reason"):
        await supervise(part, tmp_path)


async def test_a_part_that_can_never_be_ready_is_not_waited_for(tmp_path: Path) -> None:
    async def probe() -> bool:
        raise NeverReady("no model")

    with pytest.raises(PartFailed, match="no model"):
        await supervise(Part("waiting", [sys.executable, "-c", PRINTS_READY], probe), tmp_path)


async def test_a_part_that_takes_too_long_is_told(tmp_path: Path) -> None:
    part = Part("slow", [sys.executable, "-c", "import time; time.sleep(60)"], ready_within_seconds=0.3)
    with pytest.raises(PartFailed, match="not ready within"):
        await supervise(part, tmp_path)


async def test_a_part_that_does_not_listen_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.launcher.supervision.STOP_WITHIN_SECONDS", 0.3)
    stubborn = "import os, signal; os.fork(); signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PRINTS_READY
    supervisor = await supervise(Part("stubborn", [sys.executable, "-c", stubborn]), tmp_path)
    (pid,) = [part["pid"] for part in _state(tmp_path)["parts"]]
    await supervisor.stop()
    await asyncio.sleep(0.1)
    assert [process.pid for process in psutil.process_iter() if group(process.pid) == pid and runs(process.pid)] == []


async def test_a_part_that_keeps_falling_is_given_up_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.launcher.supervision.MAX_RESTARTS", 1)
    falls = "print('{\"ready\": true}', flush=True); import time; time.sleep(0.2); raise SystemExit('fell over')"
    supervisor = await supervise(Part("falling", [sys.executable, "-c", falls]), tmp_path)
    reason = await asyncio.wait_for(supervisor.until_broken(), 20)
    assert "fell over" in reason
    assert "2 times" in reason
    await supervisor.stop()


def _state(folder: Path) -> dict[str, list[dict[str, int]]]:
    state: dict[str, list[dict[str, int]]] = json.loads((folder / "processes.json").read_text())
    return state
