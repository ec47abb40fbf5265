"""Everything of Cloud Scheduler that runs: its API, ready to be served, and the loop that runs jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcTransport

from local.clock import LocalClock
from local.delivery import Courier
from local.faults import FaultBook
from local.google_identity import GoogleIdentity
from local.grpc_server import StandIn
from local.scheduler.api import SchedulerApi
from local.scheduler.runner import Runner
from local.scheduler.store import JobStore

NAME = "scheduler"


@contextlib.asynccontextmanager
async def open_scheduler(
    file: Path, clock: LocalClock, identity: GoogleIdentity, faults: FaultBook
) -> AsyncIterator[StandIn]:
    """Run the jobs in `file` while this is open. Gives what a GrpcServer serves."""
    store = JobStore(file)
    courier = Courier(NAME, clock, faults)
    runner = Runner(store, clock, courier, identity, faults)
    running = asyncio.create_task(runner.run(), name=NAME)
    transport: Any = CloudSchedulerGrpcTransport
    try:
        yield StandIn(NAME, transport, SchedulerApi(store, runner, clock), faults)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await runner.close()
        await courier.close()
        store.close()
