"""`python -m local.agent_runtime`: Agent Runtime's REST interface on the local cloud's agent port.

The port is open at once; when the model is warm, {"ready": true} is written to standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys

import uvicorn

from local.agent_runtime.application import AgentRuntime, create_application
from local.agent_runtime.assistant import LocalAssistant, State
from local.agent_runtime.engines import Engines
from local.agent_runtime.quick_import import quiet
from local.agent_runtime.settings import RuntimeSettings
from local.faults import FaultBook
from local.models.store import ModelStore
from local.places import PROJECT, Places
from local.quotas import Quota, Quotas
from local.serving import http_server, until_told_to_stop
from shared.runtime.settings import load

_LOG = logging.getLogger("local.agent_runtime")


async def serve() -> int:
    """Serve until told to stop; the exit status is 1 when the port could not be had."""
    places, settings = Places.from_environment(), load(RuntimeSettings)
    assistant = LocalAssistant(settings, ModelStore.from_environment())
    runtime = AgentRuntime(
        assistant,
        Engines(places.data / "agent" / "engines.json", settings.agent_resource),
        Quotas(
            "aiplatform.googleapis.com",
            os.environ.get("GOOGLE_CLOUD_PROJECT") or PROJECT,
            [Quota("Query reasoning engine", frozenset({"query", "streamQuery"}), settings.quota_agent_per_minute)],
        ),
        FaultBook(places.faults_file),
    )
    server = http_server(create_application(runtime), places.agent_port)
    serving = asyncio.create_task(_serve(server))
    loading = asyncio.create_task(_load(assistant))
    stopping = asyncio.create_task(until_told_to_stop())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    loading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loading
    await serving
    stopping.cancel()
    return 0 if server.started else 1


async def _serve(server: uvicorn.Server) -> None:
    # The server says on standard error why it cannot listen, and then asks for the end of the process.
    with contextlib.suppress(SystemExit):
        await server.serve()


async def _load(assistant: LocalAssistant) -> None:
    await assistant.load()
    if assistant.state is State.READY:
        print(json.dumps({"ready": True, "model": assistant.model_name}), flush=True)
    else:
        _LOG.error("%s", assistant.detail)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # ADK logs a failed turn once for each of its layers; here it is logged once.
    logging.getLogger("google_adk").setLevel(logging.CRITICAL)
    quiet()
    status = asyncio.run(serve())
    # The engine's own threads need not be waited for: nothing they do outlives the process.
    sys.stdout.flush()
    os._exit(status)
