"""`python -m local.storage`: the S3 endpoint on the local cloud's storage port, until told to stop.

It has a process of its own, so that gigabytes on their way in delay nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import uvicorn

from local.faults import FaultBook
from local.places import Places
from local.serving import http_server, until_told_to_stop
from local.storage.application import storage
from local.storage.operations import Operations
from local.storage.settings import StorageServerSettings
from local.storage.shelf import Shelf
from shared.runtime.settings import load


async def serve() -> int:
    """Serve until SIGTERM or SIGINT; the exit status is 1 when the port could not be had."""
    places, settings = Places.from_environment(), load(StorageServerSettings)
    operations = Operations(
        Shelf(places.storage_folder),
        settings.storage_bucket,
        settings.storage_region,
        settings.storage_max_object_bytes,
    )
    server = http_server(storage(operations, settings.keys, FaultBook(places.faults_file)), places.storage_port)
    serving = asyncio.create_task(_serve(server))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    if not serving.done():
        print('{"ready": true}', flush=True)
        await until_told_to_stop()
    server.should_exit = True
    await serving
    return 0 if server.started else 1


async def _serve(server: uvicorn.Server) -> None:
    # The server says on standard error why it cannot listen, and then asks for the end of the process.
    with contextlib.suppress(SystemExit):
        await server.serve()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    raise SystemExit(asyncio.run(serve()))
