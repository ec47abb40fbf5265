"""`python -m local.background`: Cloud Tasks and Cloud Scheduler on one port.

A process of its own, because sending and signing come in bursts: beside the database's front they would make a
person's turn wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from local.clock import LocalClock
from local.faults import FaultBook
from local.google_identity import GoogleIdentity
from local.grpc_server import GrpcServer, log_calls_to_stdout
from local.places import Places
from local.scheduler.server import open_scheduler
from local.serving import until_told_to_stop
from local.tasks.server import open_tasks


@contextlib.asynccontextmanager
async def serving(places: Places, port: int | None = None) -> AsyncIterator[int]:
    """Serve both, on the port that the places name or another (0: a free one). Gives the port."""
    clock, faults = LocalClock(places.clock_file), FaultBook(places.faults_file)
    identity = GoogleIdentity(places.identity_file)
    identity.publish(places.public_folder)
    async with (
        clock.watched(),
        open_tasks(places.tasks_file, clock, identity, faults) as tasks,
        open_scheduler(places.scheduler_file, clock, identity, faults) as scheduler,
    ):
        server = GrpcServer((tasks, scheduler))
        try:
            yield await server.start(places.background_port if port is None else port)
        finally:
            await server.stop()


async def serve(places: Places) -> None:
    async with serving(places):
        print('{"ready": true}', flush=True)
        await until_told_to_stop()


if __name__ == "__main__":
    log_calls_to_stdout()
    asyncio.run(serve(Places.from_environment()))
