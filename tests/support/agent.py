"""Agent Runtime's stand-in for tests: started as its own process on a free port, asked as the backend asks it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]
PARENT = "projects/oprina-local/locations/us-central1"
RESOURCE = f"{PARENT}/reasoningEngines/1"
AGENT_PORT_OFFSET = 3

# What the libraries warn of at import and at set-up, and that is nobody's fault here.
LIBRARY_WARNINGS = (
    r"ignore:\[EXPERIMENTAL\] \w*CredentialService:UserWarning",
    "ignore:GOOGLE_GENAI_USE_VERTEXAI is deprecated:DeprecationWarning",
    "ignore:Using `@model_validator` with mode='after':DeprecationWarning",
)


@dataclass
class Answer:
    """What came back for one message. `seconds` are from the request to each event."""

    status: int
    events: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def error(self) -> dict[str, Any]:
        """The error that was the answer, or that ended it; empty where there was none."""
        return dict(self.events[-1].get("error", {})) if self.events else {}

    @property
    def fragments(self) -> list[str]:
        return [_text(event) for event in self.events if event.get("partial")]

    @property
    def text(self) -> str:
        """The whole text of the last event that has one."""
        texts = [_text(event) for event in self.events if not event.get("partial")]
        return next((text for text in reversed(texts) if text), "")

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [part["function_call"] for part in self._parts() if "function_call" in part]

    @property
    def results(self) -> list[dict[str, Any]]:
        return [part["function_response"]["response"] for part in self._parts() if "function_response" in part]

    @property
    def seconds_to_first_words(self) -> float:
        return next(at for at, event in zip(self.seconds, self.events, strict=True) if event.get("partial"))

    def _parts(self) -> list[dict[str, Any]]:
        return [part for event in self.events for part in (event.get("content") or {}).get("parts", [])]


def _text(event: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in (event.get("content") or {}).get("parts", []))


def query(
    message: str,
    *,
    history: Sequence[tuple[str, str]] = (),
    note: str | None = None,
    person: dict[str, Any] | None = None,
    capability: str = "a-capability",
) -> dict[str, Any]:
    """A streamQuery body as the backend sends it; `history` is (role, text), oldest first."""
    run_config: dict[str, Any] = {"streaming_mode": "sse"}
    if note:
        run_config["model_input_context"] = [{"role": "user", "parts": [{"text": note}]}]
    return {
        "classMethod": "async_stream_query",
        "input": {
            "user_id": "0190a5c4-0000-7000-8000-000000000001",
            "message": message,
            "session_events": [_past(index, role, text) for index, (role, text) in enumerate(history)],
            "run_config": run_config,
            "state_delta": {"temp:capability": capability, "temp:person": person or {}},
        },
    }


def _past(index: int, role: str, text: str) -> dict[str, Any]:
    author, spoken = ("user", "user") if role == "user" else ("oprina", "model")
    return {
        "author": author,
        "invocation_id": f"past-{index // 2}",
        "content": {"role": spoken, "parts": [{"text": text}]},
    }


class StandIn:
    """A running stand-in."""

    def __init__(self, port: int, data: Path, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.data = data
        self.log = log
        self.process = process
        self.url = f"http://127.0.0.1:{port + AGENT_PORT_OFFSET}"
        self.client = httpx.Client(base_url=self.url, timeout=120, trust_env=False)

    def ask(self, body: dict[str, Any], resource: str = RESOURCE, version: str = "v1") -> Answer:
        began = time.perf_counter()
        path = f"/{version}/{resource}:streamQuery"
        with self.client.stream("POST", path, params={"alt": "sse"}, json=body) as response:
            answer = Answer(response.status_code)
            for line in response.iter_lines():
                answer.events.append(json.loads(line))
                answer.seconds.append(time.perf_counter() - began)
        return answer

    def set_faults(self, **methods: dict[str, Any]) -> None:
        """Replace the faults; a dot in a method's name is written as two underscores."""
        faults = {"agent": {name.replace("__", "."): fault for name, fault in methods.items()}}
        partial = self.data / "faults.partial"
        partial.write_text(json.dumps(faults))
        partial.replace(self.data / "faults.json")

    def health(self) -> dict[str, str]:
        return dict(self.client.get("/healthz").json())

    def wait(self, state: str, seconds: float = 90) -> None:
        """Until the stand-in is in `state`.

        Raises:
            AssertionError: it ended, or took too long; the message quotes its log.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                if self.health()["state"] == state:
                    return
            time.sleep(0.1)
        raise AssertionError(f"not {state} within {seconds} s: {self.log.read_text()}")


@contextlib.contextmanager
def stand_in(folder: Path, state: str = "ready", **environment: str) -> Iterator[StandIn]:
    """Run the stand-in with its state in `folder`, until the block ends."""
    port, log = _free_port() - AGENT_PORT_OFFSET, folder / "agent.log"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {"PORT": str(port), "DATA": str(folder), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    inherited = {name: value for name, value in os.environ.items() if name not in {"MODEL", "AGENT_RESOURCE"}}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.agent_runtime"],
            cwd=REPOSITORY,
            env=inherited | {"QUOTA_AGENT_PER_MINUTE": "0"} | chosen | environment,
            stdout=output,
            stderr=output,
        )
    running = StandIn(port, folder, log, process)
    try:
        running.wait(state)
        yield running
    finally:
        running.client.close()
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port > 1024 + AGENT_PORT_OFFSET:
            return port
