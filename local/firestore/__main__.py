"""`python -m local.firestore`: Firestore, in a process of its own, until told to stop."""

from __future__ import annotations

import asyncio
import json
import os

from local.faults import FaultBook
from local.firestore.server import FirestoreServer, settings_from_environment
from local.grpc_server import log_calls_to_stdout
from local.places import Places
from local.serving import until_told_to_stop


async def serve() -> None:
    """Serve until SIGTERM or SIGINT."""
    places = Places.from_environment()
    server = FirestoreServer(
        places.firestore_file, FaultBook(places.faults_file), settings_from_environment(os.environ)
    )
    port = await server.start(places.firestore_port)
    print(json.dumps({"ready": True, "port": port}), flush=True)
    try:
        await until_told_to_stop()
    finally:
        await server.stop()


if __name__ == "__main__":
    log_calls_to_stdout()
    asyncio.run(serve())
