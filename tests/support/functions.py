"""The deployable functions as the platform meets them: sources, an environment, processes of their own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.launcher.environment import addresses
from local.places import PORTS, Places
from shared.accounts.tokens import new_keyring
from shared.http.discovery import ROOT

STOP_SECONDS = 10


def sources() -> list[Path]:
    return sorted((ROOT / "functions").glob("*/*/main.py"))


def label(source: Path) -> str:
    return "-".join(source.parts[-3:-1])


def functions_bin() -> Path:
    """The programs of an environment that has requirements.txt installed, and nothing else.

    Raises:
        RuntimeError: there is none and none can be made; the sentence says how to.
    """
    made_by_make = ROOT / ".venv-functions" / "bin"
    if (made_by_make / "functions-framework").exists():
        return made_by_make
    wanted = hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()[:16]
    cached = Path(tempfile.gettempdir()) / f"oprina-functions-{wanted}"
    if not (cached / "complete").exists():
        _install(cached)
        (cached / "complete").touch()
    return cached / "bin"


def _install(folder: Path) -> None:
    uv = [sys.executable, "-m", "uv"]
    make = [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
    fill = [*uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), "--require-hashes"]
    for command in (make, [*fill, "-r", str(ROOT / "requirements.txt")]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"make .venv-functions with `make test`, since this failed:\n{done.stderr}")


def environment(data: Path) -> dict[str, str]:
    """All that any function reads, with every outside system at an address where nobody answers."""
    secrets = {
        "ACCESS_TOKEN_KEYRING": new_keyring(),
        "BACKEND_KEY": "backend-" + "b" * 32,
        "GOOGLE_CLIENT_SECRET": "GOCSPX-" + "g" * 28,
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_" + "p" * 32,
        "SUPABASE_SECRET_KEY": "sb_secret_" + "s" * 32,
    }
    return addresses(Places(data=data, port=_deaf_ports())) | secrets


def _deaf_ports() -> int:
    """The first of neighbouring ports where nobody listens."""
    return next(first for first in range(20_000, 30_000, PORTS) if all(_deaf(first + step) for step in range(PORTS)))


def _deaf(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@dataclass
class Running:
    """One function in a process of its own."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@contextlib.contextmanager
def started(
    source: Path, variables: Mapping[str, str], folder: Path, programs: Path | None = None
) -> Iterator[Running]:
    """Start a function with the plain command, as the platform does, and end it with all its children.

    A source outside of the checkout is an unpacked archive's: it has everything beside it. `programs` is the `bin` of
    the environment it has; by default all functions' own.
    """
    home = ROOT if source.is_relative_to(ROOT) else source.parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / f"{label(source)}-{port}.log"
    plain = [
        str((programs or functions_bin()) / "functions-framework"),
        "--target",
        "main",
        "--source",
        str(source.relative_to(home)),
    ]
    path = {"PYTHONPATH": "."} if home == ROOT else {}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*plain, "--host", "127.0.0.1", "--port", str(port)],
            cwd=home,
            env={"PATH": os.environ["PATH"], **path, **variables},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Running(process, f"http://127.0.0.1:{port}", log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
