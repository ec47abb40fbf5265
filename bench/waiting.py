"""Throughput of one instance while each of its requests waits 300 ms upstream."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import jwt

from bench.figures import Report
from bench.machine import watched
from bench.scenario import Setting
from local.launcher.plan import free_ports
from local.places import HOST, REPOSITORY, url
from shared.accounts import tokens
from shared.http.discovery import ROOT
from tests.support.functions import environment, started
from tests.support.stack import StackPerson

CONCURRENCY = 80
DELAY_MS = 300
# Two a second for each person are allowed on this route.
PEOPLE = 240
PATH, FUNCTION = "/v1/users/me", "accounts-me"
SOURCE = ROOT / "functions/accounts/me/main.py"
FAULT = {"supabase": {"get_me": {"delay_ms": DELAY_MS}}}
WARM_SECONDS = 3.0
FLOOR_PER_SECOND = 250.0
_PATIENCE_SECONDS = 30.0


@dataclass
class Load:
    """What came back, with the moment and the milliseconds each took."""

    until: float
    answers: list[tuple[float, float, int]] = field(default_factory=list)

    async def keep_asking(self, port: int, everyone: Iterator[dict[str, str]], after_seconds: float) -> None:
        """One client with one connection, asking again as soon as it is answered. Only as much HTTP as that takes.

        Clients begin one after the other, since nobody's are in step; those that are stay so for ever.
        """
        await asyncio.sleep(after_seconds)
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            while (began := time.monotonic()) < self.until:
                lines = "".join(f"{name}: {value}\r\n" for name, value in next(everyone).items())
                writer.write(f"GET {PATH} HTTP/1.1\r\nhost: {HOST}\r\n{lines}\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n", 1)[0]))
                ended = time.monotonic()
                self.answers.append((ended, (ended - began) * 1000, int(head.split(" ", 2)[1])))
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def run(setting: Setting) -> None:
    """Ask one instance in front of an upstream that only waits; then the whole, where all share this machine."""
    report, town = setting.report, setting.town
    report.say(f"GET {PATH} at concurrency {CONCURRENCY}, the upstream answers after {DELAY_MS} ms")
    report.say(f"at best {CONCURRENCY / DELAY_MS * 1000:.0f} requests/s")
    town.stop()
    with _instance() as (port, token, pids):
        everyone = itertools.cycle([{"authorization": f"Bearer {token}"}])
        reached = await _measure(setting, "one instance", FUNCTION, port, everyone, pids)
    report.hold("one instance, requests a second", reached, FLOOR_PER_SECOND, at_most=False)
    town.start({})
    people = itertools.cycle([_headers(person) for person in town.people(PEOPLE, report)])
    with town.stack.faults(FAULT):
        gateway = town.stack.places.port
        await _measure(setting, "the whole local cloud", "gateway", gateway, people, town.stack.pids())


def _headers(person: StackPerson) -> dict[str, str]:
    return {name.lower(): value for name, value in person.headers.items()}


@contextlib.contextmanager
def _instance() -> Iterator[tuple[int, str, dict[str, int]]]:
    """A function as the platform starts it, before an upstream in a process of its own; its port and a token for it."""
    with tempfile.TemporaryDirectory() as name:
        folder, (upstream_port,) = Path(name), free_ports(1)
        variables = environment(folder) | {
            "SUPABASE_URL": url(upstream_port),
            "JWKS_URL": url(upstream_port) + "/jwks.json",
        }
        keys = folder / "jwks.json"
        keys.write_text(json.dumps(tokens.public_jwks(variables["ACCESS_TOKEN_KEYRING"])))
        command = [sys.executable, "-m", "bench.upstream", str(upstream_port), str(DELAY_MS), str(keys)]
        upstream = subprocess.Popen(command, cwd=REPOSITORY)
        try:
            with started(SOURCE, variables, folder) as running:
                port = int(running.address.rpartition(":")[2])
                yield port, _token(variables), {FUNCTION: running.process.pid, "upstream": upstream.pid}
        finally:
            upstream.terminate()
            upstream.wait()


def _token(variables: Mapping[str, str]) -> str:
    """An access token of nobody in particular, as the product signs them."""
    keyring, now = tokens.parse_keyring(variables["ACCESS_TOKEN_KEYRING"]), datetime.now(UTC)
    claims = {
        "iss": variables["TOKEN_ISSUER"],
        "aud": variables["TOKEN_AUDIENCE"],
        "iat": now,
        "exp": now + timedelta(minutes=15),
        "sub": str(uuid4()),
        "sid": str(uuid4()),
        "role": tokens.ROLE,
    }
    return jwt.encode(claims, keyring.keys[keyring.active], tokens.ALGORITHM, headers={"kid": keyring.active})


async def _measure(
    setting: Setting, name: str, process: str, port: int, everyone: Iterator[dict[str, str]], pids: Mapping[str, int]
) -> float:
    report, seconds = setting.report, setting.count(30, 10)
    await _until_served(port)
    await _ask(WARM_SECONDS, port, everyone)
    with watched(pids) as usage:
        began = time.monotonic()
        load = await _ask(seconds, port, everyone)
    # Only what was answered while all clients were asking: the last answers come after the end.
    counted = [answer for answer in load.answers if answer[0] <= load.until and answer[2] == 200]
    reached = len(counted) / (load.until - began)
    report.figure(f"{name}: requests a second", reached, "/s")
    report.spread(f"{name}: request", [took for _, took, _ in counted])
    report.figure(
        f"{name}: {process}'s processor time for a request", usage.cpu[process] / len(load.answers) * 1000, "ms"
    )
    usage.say(report)
    _tell_failures(report, name, load)
    return reached


async def _until_served(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with suppress(ConnectionError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return
        assert time.monotonic() < deadline, f"nobody listens on {port}"
        await asyncio.sleep(0.1)


async def _ask(seconds: float, port: int, everyone: Iterator[dict[str, str]]) -> Load:
    load = Load(time.monotonic() + seconds)
    async with asyncio.TaskGroup() as group:
        for number in range(CONCURRENCY):
            group.create_task(load.keep_asking(port, everyone, number * DELAY_MS / 1000 / CONCURRENCY))
    return load


def _tell_failures(report: Report, name: str, load: Load) -> None:
    statuses = Counter(status for _, _, status in load.answers)
    failed = len(load.answers) - statuses[200]
    if failed:
        report.say(f"{name}: statuses {dict(statuses)}")
    report.hold(f"{name}: requests that failed", failed, 0)
