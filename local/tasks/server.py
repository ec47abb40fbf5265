"""Everything of Cloud Tasks that runs: its API, ready to be served, and the loop that sends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from local.clock import LocalClock
from local.delivery import Courier
from local.faults import FaultBook
from local.google_identity import GoogleIdentity
from local.grpc_server import StandIn
from local.tasks.api import TasksApi
from local.tasks.dispatcher import Dispatcher
from local.tasks.store import TaskStore

NAME = "tasks"


@contextlib.asynccontextmanager
async def open_tasks(
    file: Path, clock: LocalClock, identity: GoogleIdentity, faults: FaultBook
) -> AsyncIterator[StandIn]:
    """Send what is due in `file` while this is open. Gives what a GrpcServer serves."""
    store = TaskStore(file)
    courier = Courier(NAME, clock, faults)
    dispatcher = Dispatcher(store, clock, courier, identity, faults)
    sending = asyncio.create_task(dispatcher.run(), name=NAME)
    transport: Any = CloudTasksGrpcTransport
    try:
        yield StandIn(NAME, transport, TasksApi(store, dispatcher, clock), faults)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await dispatcher.close()
        await courier.close()
        store.close()
