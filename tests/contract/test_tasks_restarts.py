"""Nothing that Cloud Tasks' stand-in has acknowledged depends on its process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from google.cloud import tasks_v2

from local.places import REPOSITORY, Places
from tests.support.background import LOCATION, SECONDS, Worker, clients, until
from tests.support.database import free_ports
from tests.support.gateway import free_socket, served

OFFSET = Places(Path(), 0).background_port


async def start_process(folder: Path, first_port: int) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local.background",
        env={**os.environ, "DATA": str(folder), "PORT": str(first_port), "PYTHONPATH": str(REPOSITORY)},
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    while b'"ready"' not in (line := await asyncio.wait_for(process.stdout.readline(), 30)):
        assert line, "it ended before it was ready"
    return process


async def test_no_task_that_was_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    queue, acknowledged = f"{LOCATION}/queues/q", []
    process = await start_process(tmp_path, port - OFFSET)
    async with clients(port) as (tasks, _):
        await tasks.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=queue), timeout=SECONDS)
        await tasks.pause_queue(name=queue, timeout=SECONDS)

        async def create(number: int) -> None:
            request = {"url": "http://127.0.0.1:1/"}
            task = tasks_v2.Task({"name": f"{queue}/tasks/n{number}", "http_request": request})
            acknowledged.append((await tasks.create_task(parent=queue, task=task, timeout=SECONDS)).name)

        creating = [asyncio.create_task(create(number)) for number in range(400)]
        await until(lambda: len(acknowledged) >= 100)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await asyncio.gather(*creating, return_exceptions=True)
    assert 100 <= len(acknowledged) < 400
    process = await start_process(tmp_path, port - OFFSET)
    try:
        async with clients(port) as (tasks, _):
            assert (await tasks.get_queue(name=queue, timeout=SECONDS)).state == tasks_v2.Queue.State.PAUSED
            kept = {task.name async for task in await tasks.list_tasks(parent=queue, timeout=SECONDS)}
    finally:
        process.terminate()
        assert await process.wait() == 0
    assert set(acknowledged) <= kept


async def test_a_delivery_without_an_outcome_is_repeated_by_whoever_starts_after_a_kill(tmp_path: Path) -> None:
    held = asyncio.Event()
    worker, port, queue = Worker(hold=held), free_ports(1)[0], f"{LOCATION}/queues/q"
    async with served(worker, free_socket()) as url:
        process = await start_process(tmp_path, port - OFFSET)
        async with clients(port) as (tasks, _):
            await tasks.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=queue), timeout=SECONDS)
            task = tasks_v2.Task({"http_request": {"url": f"{url}/tasks/step"}})
            name = (await tasks.create_task(parent=queue, task=task, timeout=SECONDS)).name
            await worker.have(1)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        held.set()
        process = await start_process(tmp_path, port - OFFSET)
        arrivals = await worker.have(2)
        process.terminate()
        await process.wait()
    assert [arrival.headers["x-cloudtasks-taskname"] for arrival in arrivals] == [name.rsplit("/", 1)[1]] * 2
    assert [arrival.headers["x-cloudtasks-taskretrycount"] for arrival in arrivals] == ["0", "1"]
