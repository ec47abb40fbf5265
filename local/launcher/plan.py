"""Which processes the local cloud is made of, and how each is started."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.database.cluster import STOP_SIGNAL, Cluster
from local.database.rest import Rest
from local.launcher.environment import FUNCTION_PORTS, addresses, of_function
from local.launcher.probes import answers, listens, model_is_loaded
from local.launcher.supervision import Part, PartFailed, Supervisor
from local.places import HOST, PROJECT, REPOSITORY, Places

FUNCTIONS_PYTHON = REPOSITORY / ".venv-functions" / "bin" / "python"
# Starting a Python process is work for one core; more at once only makes each of them slower.
STARTED_AT_ONCE = 4
ALL = frozenset({"*"})


def engines(places: Places) -> list[Part]:
    """What thinks, hears and speaks. They need nothing of the others, and take longest to load."""
    return [
        Part(
            name="agent",
            command=module("local.agent_runtime"),
            environment=own(places),
            ready=model_is_loaded(places.agent_port),
            port=places.agent_port,
            ready_within_seconds=180,
        ),
        Part(
            name="speech",
            command=module("local.speech"),
            environment=own(places),
            port=places.speech_port,
            ready_within_seconds=180,
        ),
    ]


def cloud(places: Places) -> Part:
    """Secret Manager, Supabase's front, mail, public objects, Google's accounts, LiveAvatar, HeyGen: in one process."""
    return Part(
        name="cloud",
        command=module("local.cloud"),
        environment=own(places),
        port=places.secrets_port,
    )


def firestore(places: Places) -> Part:
    """Firestore: a query over many documents is work, and would keep everybody else in `cloud` waiting."""
    return Part(
        name="firestore",
        command=module("local.firestore"),
        environment=own(places),
        port=places.firestore_port,
    )


def background(places: Places) -> Part:
    """Cloud Tasks and Cloud Scheduler."""
    return Part(
        name="background",
        command=module("local.background"),
        environment=own(places),
        port=places.background_port,
    )


def postgres(places: Places, cluster: Cluster) -> Part:
    return Part(
        name="postgres",
        command=cluster.command(),
        stop_signal=STOP_SIGNAL,
        account=cluster.account,
        ready=listens(places.postgres_port),
        port=places.postgres_port,
    )


def postgrest(places: Places, rest: Rest) -> Part:
    return Part(
        name="postgrest",
        command=rest.command(),
        # Whoever it answers at all, even with a refusal, can see that the database is connected.
        ready=answers(places.postgrest_port, "/", below=500),
        port=places.postgrest_port,
    )


def storage(places: Places, secrets: Mapping[str, str]) -> Part:
    return Part(
        name="storage",
        command=module("local.storage"),
        environment=own(places) | addresses(places) | dict(secrets),
        port=places.storage_port,
    )


def gateway(places: Places, secrets: Mapping[str, str], function_ports: Mapping[str, int]) -> Part:
    ports = {FUNCTION_PORTS: json.dumps(function_ports)} if function_ports else {}
    return Part(
        name="gateway",
        command=module("local.gateway"),
        environment=own(places) | addresses(places) | dict(secrets) | ports,
        ready=answers(places.port, "/v1/health"),
        port=places.port,
    )


def module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def own(places: Places) -> dict[str, str]:
    """What every process of ours reads to find its places."""
    return {"DATA": str(places.data), "PORT": str(places.port), "GOOGLE_CLOUD_PROJECT": PROJECT}


def function_command(source: Path, port: int) -> list[str]:
    """How the platform starts a function, with only the functions' own packages where they are installed."""
    python = str(FUNCTIONS_PYTHON) if FUNCTIONS_PYTHON.exists() else sys.executable
    framework = ["-m", "functions_framework", "--target", "main", "--host", HOST]
    return [python, *framework, "--source", str(source), "--port", str(port)]


async def start_functions(
    names: frozenset[str], places: Places, secrets: Mapping[str, str], supervisor: Supervisor
) -> dict[str, int]:
    """Start functions in processes of their own, those named or ALL. Returns their ports by name.

    Raises:
        PartFailed: one did not start, or there is none of that name.
    """
    every: list[dict[str, Any]] = json.loads(await run_tool(places, "local.launcher.declared"))
    declared = [item for item in every if names == ALL or item["name"] in names]
    if names != ALL and (unknown := names - {item["name"] for item in declared}):
        known = ", ".join(sorted(item["name"] for item in every))
        raise PartFailed(f"PROCESSES names no function: {', '.join(sorted(unknown))}. There are: {known}")
    ports = dict(zip((item["name"] for item in declared), free_ports(len(declared)), strict=True))
    turn = asyncio.Semaphore(STARTED_AT_ONCE)

    async def start(item: Mapping[str, Any]) -> None:
        port = ports[item["name"]]
        part = Part(
            name=item["name"],
            command=function_command(Path(item["source"]), port),
            environment={"PYTHONPATH": str(REPOSITORY), **of_function(places, secrets, item["reads"])},
            ready=listens(port),
            port=port,
        )
        async with turn:
            await supervisor.start(part)

    async with asyncio.TaskGroup() as group:
        for item in declared:
            group.create_task(start(item))
    return ports


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    held = [socket.socket() for _ in range(count)]
    try:
        for probe in held:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in held]
    finally:
        for probe in held:
            probe.close()


async def run_tool(places: Places, name: str, more: Mapping[str, str] | None = None) -> str:
    """Run one of our tools to its end and return what it printed.

    Raises:
        PartFailed: it ended with an error; the text holds what it said.
    """
    process = await asyncio.create_subprocess_exec(
        *module(name),
        env={**os.environ, **own(places), **(more or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=REPOSITORY,
    )
    try:
        printed, complained = await process.communicate()
    except asyncio.CancelledError:
        process.send_signal(signal.SIGTERM)
        raise
    if process.returncode != 0:
        last = "\n".join(f"    {line}" for line in complained.decode(errors="replace").splitlines()[-12:])
        raise PartFailed(f"{name} ended with exit status {process.returncode}.\n  Its last words:\n{last}")
    return printed.decode()
