"""The queue and the scheduler for tests: both stand-ins in this process, their official clients, and a worker."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from google.cloud import scheduler_v1, tasks_v2
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcAsyncIOTransport
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from google.protobuf import duration_pb2, timestamp_pb2
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.background.__main__ import serving
from local.clock import LocalClock
from local.faults import FaultBook
from local.google_identity import GoogleIdentity
from local.places import Places
from tests.support.gateway import free_socket, served

LOCATION = "projects/oprina-local/locations/us-central1"
SECONDS = 10.0


@dataclass
class Arrival:
    """One request as the worker got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass
class Worker:
    """Answers each request with the next of `answers`, and 200 when there are none left.

    An answer is a status, or (status, headers). `hold` keeps every answer back while it is set and not opened.
    """

    arrivals: list[Arrival] = field(default_factory=list)
    answers: list[int | tuple[int, dict[str, str]]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    at_work: int = 0
    most_at_work: int = 0
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        self.arrivals.append(Arrival(request.method, request.url.path, dict(request.headers), body, time.time()))
        answer = self.answers.pop(0) if self.answers else 200
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            if self.hold is not None:
                await self.hold.wait()
            await Response(status_code=status, headers=headers)(scope, receive, send)
        finally:
            self.at_work -= 1

    async def have(self, count: int, seconds: float = 8) -> list[Arrival]:
        """The arrivals, as soon as there are so many.

        Raises:
            AssertionError: fewer came in time.
        """
        until = time.monotonic() + seconds
        while len(self.arrivals) < count and time.monotonic() < until:  # noqa: ASYNC110 - the worker need not tell
            await asyncio.sleep(0.01)
        assert len(self.arrivals) >= count, f"{len(self.arrivals)} of {count} requests arrived"
        return self.arrivals

    def names(self) -> list[str]:
        return [arrival.headers["x-cloudtasks-taskname"] for arrival in self.arrivals]


@dataclass
class Background:
    """Running stand-ins with everything that a test drives them by."""

    places: Places
    port: int
    tasks: tasks_v2.CloudTasksAsyncClient
    jobs: scheduler_v1.CloudSchedulerAsyncClient
    worker: Worker
    clock: LocalClock
    faults: FaultBook

    async def queue(self, name: str = "q", **settings: Any) -> str:
        """A queue that retries after 10 s at the earliest, unless `settings` say otherwise. Returns its name."""
        wanted = {"retry_config": {"min_backoff": seconds(10), "max_backoff": seconds(60)}} | settings
        queue = tasks_v2.Queue(name=f"{LOCATION}/queues/{name}", **wanted)
        return str((await self.tasks.create_queue(parent=LOCATION, queue=queue, timeout=SECONDS)).name)

    async def task(self, queue: str, name: str | None = None, **changes: Any) -> tasks_v2.Task:
        """A task for the worker; `changes` are of its request where they name a field of that."""
        request: dict[str, Any] = {"url": f"{self.worker.url}/tasks/step"}
        request |= {key: changes.pop(key) for key in list(changes) if key in tasks_v2.HttpRequest.meta.fields}
        task = tasks_v2.Task(http_request=request, **changes)
        if name is not None:
            task.name = f"{queue}/tasks/{name}"
        return await self.tasks.create_task(parent=queue, task=task, timeout=SECONDS)

    async def waiting(self, queue: str) -> list[tasks_v2.Task]:
        return [task async for task in await self.tasks.list_tasks(parent=queue, timeout=SECONDS)]

    async def job(self, name: str = "j", schedule: str = "*/5 * * * *", **settings: Any) -> scheduler_v1.Job:
        target: dict[str, Any] = {"uri": f"{self.worker.url}/schedules/{name}"}
        target |= {key: settings.pop(key) for key in list(settings) if key in scheduler_v1.HttpTarget.meta.fields}
        job = scheduler_v1.Job(name=job_name(name), schedule=schedule, http_target=target, **settings)
        return await self.jobs.create_job(parent=LOCATION, job=job, timeout=SECONDS)

    async def job_now(self, name: str = "j") -> scheduler_v1.Job:
        return await self.jobs.get_job(name=job_name(name), timeout=SECONDS)


def job_name(name: str) -> str:
    return f"{LOCATION}/jobs/{name}"


def seconds(length: float) -> duration_pb2.Duration:
    made = duration_pb2.Duration()
    made.FromMilliseconds(round(length * 1000))
    return made


def at(moment: float) -> timestamp_pb2.Timestamp:
    made = timestamp_pb2.Timestamp()
    made.FromMicroseconds(round(moment * 1e6))
    return made


async def until(holds: Callable[[], Any], within: float = 8) -> None:
    """Wait until a coroutine function, or a plain one, gives something true.

    Raises:
        AssertionError: it never did.
    """
    end = time.monotonic() + within
    while time.monotonic() < end:
        found = holds()
        if found if not asyncio.iscoroutine(found) else await found:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to hold in time")


@contextlib.asynccontextmanager
async def clients(
    port: int,
) -> AsyncIterator[tuple[tasks_v2.CloudTasksAsyncClient, scheduler_v1.CloudSchedulerAsyncClient]]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield (
            tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel)),
            scheduler_v1.CloudSchedulerAsyncClient(transport=CloudSchedulerGrpcAsyncIOTransport(channel=channel)),
        )


def socket_at(address: tuple[str, int]) -> socket.socket:
    """A socket bound where another one was a moment ago."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    return listening


@functools.cache
def _identity_key() -> bytes:
    """Making a key takes a good part of a second: the tests share one."""
    with tempfile.TemporaryDirectory() as folder:
        GoogleIdentity(Path(folder) / "key.pem")
        return (Path(folder) / "key.pem").read_bytes()


def _prepare(places: Places) -> None:
    places.data.mkdir(exist_ok=True)
    places.identity_file.write_bytes(_identity_key())


@contextlib.asynccontextmanager
async def open_background(
    folder: Path, worker: Worker | None = None, listening: socket.socket | None = None
) -> AsyncIterator[Background]:
    """Both stand-ins with their state in `folder`, and a worker on a port of its own or on a bound socket."""
    worker, places = worker or Worker(), Places(folder, 1)
    _prepare(places)
    async with contextlib.AsyncExitStack() as stack:
        worker.url = await stack.enter_async_context(served(worker, listening or free_socket()))
        # Whoever is still held back is let go once the stand-ins have ended, never before.
        stack.callback(lambda: worker.hold.set() if worker.hold else None)
        port = await stack.enter_async_context(serving(places, 0))
        tasks, jobs = await stack.enter_async_context(clients(port))
        clock, faults = LocalClock(places.clock_file), FaultBook(places.faults_file)
        yield Background(places, port, tasks, jobs, worker, clock, faults)
