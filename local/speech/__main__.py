"""`python -m local.speech`: both speech APIs on one port, until told to stop.

The port is open at once; calls that come before the engines are loaded wait for them. When they are warm, the line
{"ready": true} is printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import time

from local.faults import FaultBook
from local.grpc_server import log_calls_to_stdout
from local.places import PROJECT, Places
from local.serving import until_told_to_stop
from local.speech.server import engines, speech_server_from_environment


async def serve() -> None:
    """Serve until SIGTERM or SIGINT; a failure to load an engine ends the process."""
    started = time.monotonic()
    places = Places.from_environment()
    both = engines(os.environ)
    server = speech_server_from_environment(both, FaultBook(places.faults_file), PROJECT, os.environ)
    await server.start(places.speech_port)
    told, ready = asyncio.create_task(until_told_to_stop()), asyncio.create_task(both.ready())
    try:
        await asyncio.wait((told, ready), return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            ready.result()
            seconds = round(time.monotonic() - started, 2)
            print(json.dumps({"ready": True, "port": places.speech_port, "load_seconds": seconds}), flush=True)
            await told
    finally:
        await server.stop()


if __name__ == "__main__":
    log_calls_to_stdout()
    asyncio.run(serve())
