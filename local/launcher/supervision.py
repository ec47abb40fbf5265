"""Processes of the local cloud: each is started with a lifeline, watched, restarted when it falls, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from local.launcher.logs import RollingLog
from local.launcher.probes import NeverReady, Probe
from local.launcher.screen import Screen
from local.places import REPOSITORY

READY_LINE = b'{"ready": true'
LIFELINE = Path(__file__).with_name("lifeline.py")
PROBE_EVERY_SECONDS = 0.05
STOP_WITHIN_SECONDS = 6.0
MAX_RESTARTS = 3
RESTARTS_COUNTED_SECONDS = 60.0


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    FAILED = "failed"


class PartFailed(Exception):
    """A process ended, or did not become ready in time; the text holds its last log lines."""


@dataclass(frozen=True)
class Part:
    """One process: how to start it, how to know that it is ready, and how it wants to be stopped.

    Without a probe it is ready when it says so: by a line of output that begins with READY_LINE. `account` is
    (uid, gid) for a program that refuses to run as root. `port` is only shown.
    """

    name: str
    command: Sequence[str]
    ready: Probe | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    account: tuple[int, int] | None = None
    port: int | None = None
    ready_within_seconds: float = 60.0


class Watched:
    """A part while it runs."""

    def __init__(self, part: Part, logs: Path) -> None:
        self.part = part
        self.state = State.STARTING
        self.started_at = datetime.now(UTC)
        self.restarts = 0
        self.log = RollingLog(logs / f"{part.name}.log")
        self.process: asyncio.subprocess.Process | None = None
        self.stopping = False
        self._pump: asyncio.Task[None] | None = None
        self._said_ready = False

    async def spawn(self) -> None:
        part = self.part
        account = "-" if part.account is None else f"{part.account[0]}:{part.account[1]}"
        lifeline = [sys.executable, "-I", "-S", str(LIFELINE), str(int(part.stop_signal)), str(os.getpid()), account]
        self.log.write(f"--- {datetime.now(UTC).isoformat(timespec='seconds')} starting\n".encode())
        self.process = await asyncio.create_subprocess_exec(
            *lifeline,
            *part.command,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **part.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            cwd=REPOSITORY,
        )
        self.started_at = datetime.now(UTC)
        self._said_ready = False
        self._pump = asyncio.create_task(self._copy_output(self.process), name=f"log of {part.name}")

    async def _copy_output(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while line := await _line(process.stdout):
            self._said_ready = self._said_ready or line.startswith(READY_LINE)
            self.log.write(line)

    async def until_ready(self) -> None:
        """Raises PartFailed when the process ends first, or the time is over."""
        process, began = self.process, time.monotonic()
        while not await self._is_ready():
            if process is None or process.returncode is not None:
                raise PartFailed(await self.epitaph())
            if time.monotonic() - began > self.part.ready_within_seconds:
                raise PartFailed(
                    f"{self.part.name} was not ready within {self.part.ready_within_seconds:.0f} s.\n{self._quote()}"
                )
            await asyncio.sleep(PROBE_EVERY_SECONDS)
        self.state = State.READY

    async def _is_ready(self) -> bool:
        if self.part.ready is None:
            return self._said_ready
        try:
            return await self.part.ready()
        except NeverReady as reason:
            raise PartFailed(f"{self.part.name} cannot become ready: {reason}") from None

    async def ended(self) -> None:
        if self.process is not None:
            await self.process.wait()

    async def epitaph(self) -> str:
        """Which process ended, how, and what it said last."""
        if self._pump is not None:
            # A grandchild may still hold the pipe open, so the last words are not waited for endlessly.
            await asyncio.wait({self._pump}, timeout=0.5)
        return f"{self.part.name} {_ending(self.process)}.\n{self._quote()}"

    def _quote(self) -> str:
        lines = [f"    {line}" for line in self.log.last_lines() if not line.startswith("--- ")]
        return "\n".join(["  Its last words:", *lines] if lines else ["  It said nothing."])

    async def stop(self) -> None:
        """Ask it to end, and kill its whole group when it does not listen."""
        self.stopping = True
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self.part.stop_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), STOP_WITHIN_SECONDS)
            # Whether it listened or not: none of its own children stays behind.
            self.kill()
            await self.process.wait()
        if self._pump is not None:
            self._pump.cancel()
        self.state = State.STOPPED
        self.log.close()

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


async def _line(output: asyncio.StreamReader) -> bytes:
    """The next line, or what there is of one that is longer than the reader's buffer; empty at the end."""
    try:
        return await output.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as overrun:
        return await output.readexactly(overrun.consumed)


def _ending(process: asyncio.subprocess.Process | None) -> str:
    code = process.returncode if process else None
    if code is None:
        return "did not start"
    if code < 0:
        return f"was ended by signal {signal.Signals(-code).name}"
    return f"ended with exit status {code}"


class Supervisor:
    """Holds the running parts in the order of their start, and stops them in the opposite one."""

    def __init__(self, logs: Path, state_file: Path, screen: Screen) -> None:
        self._logs = logs
        self._state_file = state_file
        self._screen = screen
        self._parts: list[Watched] = []
        self._guards: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ready = False

    async def start(self, part: Part) -> None:
        """Start a part and return when it is ready.

        Raises:
            PartFailed: it ended before it was ready, or took too long.
        """
        watched = Watched(part, self._logs)
        self._parts.append(watched)
        began = self._screen.seconds
        await watched.spawn()
        self.publish()
        await watched.until_ready()
        self._screen.say(f"ready after {self._screen.seconds - began:.1f} s", part.name)
        self.publish()
        guard = asyncio.create_task(self._guard(watched), name=f"guard of {part.name}")
        self._guards.add(guard)
        guard.add_done_callback(self._guards.discard)

    async def until_broken(self) -> str:
        """Return the reason when a part cannot be kept running; waits for ever otherwise."""
        return await asyncio.shield(self._broken)

    async def stop(self) -> None:
        for guard in list(self._guards):
            guard.cancel()
        if not self._broken.done():
            self._broken.cancel()
        for group in self._stop_order():
            await asyncio.gather(*(watched.stop() for watched in group))
        self._state_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """The hard way out, for an impatient person."""
        for watched in self._parts:
            watched.kill()

    def announce_ready(self) -> None:
        self._ready = True
        self.publish()

    def publish(self) -> None:
        """Write the state file, whole or not at all."""
        state = {
            "launcher": os.getpid(),
            "ready": self._ready,
            "parts": [_describe(watched) for watched in self._parts],
        }
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(self._state_file)

    def _stop_order(self) -> list[list[Watched]]:
        """The last started first; all but the first (the database) in one go, after the one that takes requests."""
        parts = [watched for watched in self._parts if not watched.stopping]
        front = [watched for watched in parts if watched.part.name == "gateway"]
        base = [watched for watched in parts if watched.part.name == "postgres"]
        middle = [watched for watched in parts if watched not in front and watched not in base]
        return [group for group in (front, middle, base) if group]

    async def _guard(self, watched: Watched) -> None:
        falls: deque[float] = deque(maxlen=MAX_RESTARTS + 1)
        while True:
            await watched.ended()
            # Children that outlived it would keep its port.
            watched.kill()
            falls.append(time.monotonic())
            reason = await watched.epitaph()
            if len(falls) > MAX_RESTARTS and falls[-1] - falls[0] < RESTARTS_COUNTED_SECONDS:
                return self._give_up(watched, f"{reason}\n  It fell {len(falls)} times within a minute.")
            self._screen.say(f"{reason}\n  Starting it again.", watched.part.name)
            watched.state, watched.restarts = State.RESTARTING, watched.restarts + 1
            self.publish()
            await asyncio.sleep(0.25 * 2 ** (len(falls) - 1))
            try:
                await watched.spawn()
                await watched.until_ready()
            except PartFailed as failure:
                return self._give_up(watched, str(failure))
            self._screen.say("ready again", watched.part.name)
            self.publish()

    def _give_up(self, watched: Watched, reason: str) -> None:
        watched.state = State.FAILED
        self.publish()
        if not self._broken.done():
            self._broken.set_result(reason)


def _describe(watched: Watched) -> dict[str, object]:
    return {
        "name": watched.part.name,
        "state": watched.state,
        "pid": watched.process.pid if watched.process else None,
        "port": watched.part.port,
        "started_at": watched.started_at.isoformat(timespec="milliseconds"),
        "restarts": watched.restarts,
    }
