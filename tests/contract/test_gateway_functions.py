"""Functions behind the gateway as the platform starts them: by functions-framework, from their source."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from local.gateway.upstreams import FunctionProcess, in_process
from local.launcher.plan import function_command
from local.places import REPOSITORY
from shared.http.declaration import Caller, Function
from tests.support.gateway import eventually, free_socket, running_gateway

SOURCE = """
import asyncio, os
from collections.abc import AsyncIterator
from fastapi import Request
from fastapi.responses import StreamingResponse
from shared.http.declaration import Caller, Function

function = Function(name="test-source", path="/v1/source/{what}", timeout_seconds=20)

@function.get("Streams", caller=Caller.EVERYONE)
async def read(what: str) -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        try:
            for number in range(6 if what == "short" else 1000):
                yield f"{number}\\n"
                await asyncio.sleep(0.05)
        finally:
            open(os.environ["TOLD"], "w").write("ended")
    return StreamingResponse(ticks())

@function.post("Echoes", caller=Caller.EVERYONE)
async def write(request: Request, what: str) -> dict[str, object]:
    body = await request.body()
    return {"what": what, "body": body.decode(), "length": request.headers.get("content-length")}

main = function.entry_point()
"""


@dataclass
class OwnProcess:
    client: httpx.AsyncClient
    process: psutil.Popen
    told: Path


async def read_nothing() -> None:
    """Only declares; the process has the handler."""


@pytest.fixture(scope="module")
async def own_process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnProcess]:
    """A function in a process of its own, as `functions-framework` starts it, behind a gateway."""
    folder = tmp_path_factory.mktemp("function")
    source, told = folder / "main.py", folder / "told"
    source.write_text(SOURCE)
    with free_socket() as probe:
        port = probe.getsockname()[1]
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "TOLD": str(told)}
    process = psutil.Popen(function_command(source, port), env=environment)
    function = Function(name="test-source", path="/v1/source/{what}", timeout_seconds=20, source=source)
    for method in (function.get, function.post):
        method("As the source says", caller=Caller.EVERYONE)(read_nothing)
    async with running_gateway(folder, [function], {"test-source": FunctionProcess(port)}) as gateway:
        for _ in range(200):
            if (await gateway.client.post("/v1/source/x", content=b"")).status_code == 200:
                break
            await asyncio.sleep(0.05)
        yield OwnProcess(gateway.client, process, told)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    process.wait(10)


async def drain(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


class TestFunctionsInTheirOwnProcesses:
    async def test_bodies_pass_both_ways(self, own_process: OwnProcess) -> None:
        answer = await own_process.client.post("/v1/source/a%2Bb?q=1", content=b"hello")
        assert answer.json() == {"what": "a+b", "body": "hello", "length": "5"}
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_streams_pass_piece_by_piece(self, own_process: OwnProcess) -> None:
        async with own_process.client.stream("GET", "/v1/source/short") as answer:
            times = [time.monotonic() async for _ in answer.aiter_raw()]
        assert len(times) == 6
        assert times[-1] - times[0] > 0.08

    async def test_a_caller_who_leaves_is_noticed_in_the_process(self, own_process: OwnProcess) -> None:
        own_process.told.unlink(missing_ok=True)
        async with own_process.client.stream("GET", "/v1/source/long") as answer:
            await anext(answer.aiter_raw())
        assert await eventually(own_process.told.exists)
        assert own_process.told.read_text() == "ended"

    async def test_a_process_that_dies_breaks_the_answer_off_and_is_then_unavailable(
        self, own_process: OwnProcess
    ) -> None:
        async with own_process.client.stream("GET", "/v1/source/long") as answer:
            pieces = answer.aiter_raw()
            await anext(pieces)
            for process in [*own_process.process.children(), own_process.process]:
                process.kill()
            with pytest.raises(httpx.RemoteProtocolError):
                await drain(pieces)
        own_process.process.wait(5)
        answer = await own_process.client.get("/v1/source/short")
        assert (answer.status_code, answer.json()["code"]) == (503, "function_unavailable")


async def test_a_function_in_the_gateways_process_is_loaded_by_the_framework_from_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "main.py"
    source.write_text(SOURCE)
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.setenv("FUNCTION_TARGET", "before")
    app = in_process(Function(name="test-source", path="/v1/source/{what}", source=source))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://function") as client:
        assert (await client.post("/v1/source/x", content=b"hi")).json()["body"] == "hi"
