"""The whole local cloud in a folder of its own, started as a person starts it, for tests that go from end to end."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local.launcher.prerequisites import named_ports
from local.places import HOST, REPOSITORY, Places

READY_WITHIN_SECONDS = 90.0
STOP_WITHIN_SECONDS = 20.0
PASSWORD = "correct horse battery staple"
_LINK = re.compile(r"#[a-z-]+=([A-Za-z0-9_-]{20,})")

# Engines without weights, cheap password hashes, no provider quotas; and one more trusted proxy, so that a test can be
# many addresses (see `StackPerson.headers`) and meets the limits of none but those it asks for.
SCRIPTED: Mapping[str, str] = {
    "SPEECH_ENGINE": "scripted",
    "MODEL": "scripted",
    "SCRIPTED_TOKEN_MS": "2",
    "PASSWORD_COST": "4",
    "ALLOW_WEAK_PASSWORD_HASHES": "true",
    "TRUSTED_HOPS": "2",
    "QUOTA_AGENT_PER_MINUTE": "0",
    "QUOTA_SPEECH_RECOGNIZE_PER_MINUTE": "0",
    "QUOTA_SPEECH_STREAMING_PER_MINUTE": "0",
    "QUOTA_TEXTTOSPEECH_PER_MINUTE": "0",
}
REAL_ENGINES: Mapping[str, str] = {"SPEECH_ENGINE": "local", "MODEL": "default", "TRUSTED_HOPS": "2"}


class StackFailed(AssertionError):
    """The local cloud did not come up, or went down by itself; the text holds what it said."""


@dataclass(frozen=True)
class StackPerson:
    """A verified person, signed in, who calls from an address of her own."""

    email: str
    password: str
    id: str
    access_token: str
    refresh_token: str
    address: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}", "X-Forwarded-For": self.address}


class Stack:
    """One local cloud. Start it once for many tests: `with Stack(folder) as stack`."""

    def __init__(
        self, folder: Path, engines: Mapping[str, str] = SCRIPTED, environment: Mapping[str, str] | None = None
    ) -> None:
        """`engines` is SCRIPTED or REAL_ENGINES; `environment` adds to it, or changes it.

        The attribute of that name counts at the next start.
        """
        self.places = Places(folder / "data", free_ports())
        self.output = folder / "output.txt"
        self.environment = {**engines, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._addresses = itertools.count(1)
        if not self.places.database_folder.is_relative_to(folder):
            # Run by root, with a temporary folder that only root may enter: the database lies elsewhere.
            atexit.register(shutil.rmtree, self.places.database_folder, ignore_errors=True)

    @property
    def base_url(self) -> str:
        return self.places.gateway_url

    @property
    def pid(self) -> int:
        """The launcher's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> float:
        """Start, and wait until everything is ready. Returns the seconds it took. Raises StackFailed."""
        began = time.monotonic()
        self.launch()
        while not self.state().get("ready"):
            if self._process is None or self._process.poll() is not None:
                raise StackFailed(f"the local cloud ended while it started:\n{self.said()}")
            if time.monotonic() - began > READY_WITHIN_SECONDS:
                said = self.said()
                self.stop()
                raise StackFailed(f"the local cloud was not ready within {READY_WITHIN_SECONDS:.0f} s:\n{said}")
            time.sleep(0.05)
        return time.monotonic() - began

    def launch(self) -> None:
        """Start without waiting."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        places = {"DATA": str(self.places.data), "PORT": str(self.places.port), "PYTHONPATH": str(REPOSITORY)}
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local"],
                env={**os.environ, **places, **self.environment},
                cwd=self.output.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Stop as Ctrl-C would. Returns the launcher's exit status; None when it was not running."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            return process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise StackFailed(
                f"the local cloud did not stop within {STOP_WITHIN_SECONDS:.0f} s:\n{self.said()}"
            ) from None

    def wait(self, seconds: float) -> int:
        """Wait for the launcher to end by itself. Returns its exit status."""
        assert self._process is not None
        status = self._process.wait(seconds)
        self._process = None
        return status

    def state(self) -> dict[str, Any]:
        """What the launcher says of its processes; empty before it says anything."""
        try:
            state: dict[str, Any] = json.loads(self.places.state_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        # A launcher that was killed leaves its last words behind.
        return state if self._process is not None and state["launcher"] == self._process.pid else {}

    def pids(self) -> dict[str, int]:
        return {part["name"]: part["pid"] for part in self.state().get("parts", [])}

    def said(self) -> str:
        """Everything the launcher printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def log(self, name: str) -> str:
        return (self.places.logs / f"{name}.log").read_text(errors="replace")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base_url, timeout=30, trust_env=False)

    def mails(self, to: str) -> list[dict[str, Any]]:
        """The mails of a recipient, newest first."""
        with self.client() as client:
            mails: list[dict[str, Any]] = client.get("/local/mail", params={"to": to}).json()
        return mails

    def mail(self, to: str, containing: str = "", seconds: float = 15) -> dict[str, Any]:
        """The newest mail to a recipient whose subject or text contains something; waits for it to arrive."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for mail in self.mails(to):
                if containing in mail["subject"] or containing in mail["text"]:
                    return mail
            time.sleep(0.05)
        raise AssertionError(f"no mail to {to} containing {containing!r} arrived within {seconds:.0f} s")

    def mailed_token(self, to: str, seconds: float = 15) -> str:
        """The token in the link of the newest mail to a recipient."""
        found = _LINK.search(self.mail(to, "/#", seconds)["text"])
        assert found is not None
        return found.group(1)

    def set_faults(self, faults: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """Replace all faults: {stand-in: {method: fault}}."""
        with self.client() as client:
            answer = client.put("/local/faults", json=faults)
        assert answer.status_code == 200, answer.text

    @contextlib.contextmanager
    def faults(self, faults: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[None]:
        """Have these faults inside the block, and none after it."""
        self.set_faults(faults)
        try:
            yield
        finally:
            self.set_faults({})

    def new_address(self) -> str:
        """A caller's address that no other person of this stack has."""
        number = next(self._addresses)
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def person(self, email: str | None = None, **profile: str) -> StackPerson:
        """Register, verify by the mail, and sign in. `profile` are further fields of the registration."""
        email = email or f"person-{uuid.uuid4().hex[:12]}@oprina.test"
        address = self.new_address()
        with self.client() as client:
            client.headers["X-Forwarded-For"] = address
            credentials = {"email": email, "password": PASSWORD}
            _expect(202, client.post("/v1/auth/register", json=credentials | profile))
            _expect(200, client.post("/v1/auth/email/verify", json={"token": self.mailed_token(email)}))
            signed_in = _expect(200, client.post("/v1/auth/login", json=credentials))
        tokens = (signed_in["access_token"], signed_in["refresh_token"])
        return StackPerson(email, PASSWORD, signed_in["user"]["id"], *tokens, address)


def _expect(status: int, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == status, f"{answer.request.url} answered {answer.status_code}: {answer.text}"
    content: dict[str, Any] = answer.json() if answer.content else {}
    return content


@contextlib.contextmanager
def stack_folder() -> Iterator[Path]:
    """A folder of its own for a stack, gone afterwards. PostgreSQL's account has to be able to enter it."""
    with tempfile.TemporaryDirectory(prefix="oprina-stack-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def free_ports() -> int:
    """The first of ten ports in a row that are all free, below those that the system hands out by itself."""
    for _ in range(200):
        first = random.randrange(12_000, 30_000, 10)
        if all(_free(port) for port in named_ports(Places(Path(), first)).values()):
            return first
    raise StackFailed("no ten free ports in a row were found")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
