"""The queues and schedules that functions declare: made as declared, brought up to date, and never contradictory."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import scheduler_v1, tasks_v2

from infra.catalogue import consistency, manifest
from local.launcher.environment import SCHEDULER_ACCOUNT
from local.launcher.provision import LOCATION, provision
from shared.http.declaration import Caller, Function, Queue, Schedule
from shared.http.discovery import ROOT, discover
from shared.runtime.settings import load
from tests.support.background import SECONDS, Background, job_name, open_background

TEMPLATE = "https://{service}-1.us-central1.run.app"
SEGMENTS = Queue("segments", dispatches_per_second=5, concurrent_dispatches=3, attempts=7, retry_seconds=60)
HOURLY = Schedule("0 * * * *", zone="Europe/Berlin", deadline_seconds=90, retries=2)


@pytest.fixture
async def background(tmp_path: Path) -> AsyncIterator[Background]:
    async with open_background(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SERVICE_ROOT", TEMPLATE)
    load.cache_clear()
    yield
    load.cache_clear()


def worker(queue: Queue | None = SEGMENTS, caller: Caller = Caller.QUEUE, **changes: Any) -> Function:
    function = Function(name="kit-worker", path="/tasks/segment", **changes)
    function.source = ROOT / "functions" / "kit" / "worker" / "main.py"

    @function.post("Hear a segment", caller=caller, queue=queue)
    async def work() -> None: ...

    return function


def chore(
    schedule: Schedule | None = HOURLY, name: str = "chore", caller: Caller = Caller.SCHEDULER, **changes: Any
) -> Function:
    function = Function(name=f"kit-{name}", path=f"/schedules/{name}", **changes)
    function.source = ROOT / "functions" / "kit" / name / "main.py"

    @function.post("Tidy up", caller=caller, schedule=schedule)
    async def tidy() -> None: ...

    return function


async def made(background: Background, *functions: Function) -> None:
    await asyncio.to_thread(provision, functions, background.port)


async def test_what_is_declared_is_made_with_its_rates_times_and_credentials(background: Background) -> None:
    await made(background, worker(), chore())
    queue = await background.tasks.get_queue(name=f"{LOCATION}/queues/segments", timeout=SECONDS)
    assert queue.rate_limits.max_dispatches_per_second == 5
    assert queue.rate_limits.max_concurrent_dispatches == 3
    assert queue.retry_config.max_attempts == 7
    assert queue.retry_config.max_retry_duration.total_seconds() == 60
    job = await background.job_now("chore")
    assert (job.schedule, job.time_zone) == ("0 * * * *", "Europe/Berlin")
    assert job.attempt_deadline.total_seconds() == 90
    assert job.retry_config.retry_count == 2
    assert job.http_target.uri == "https://kit-chore-1.us-central1.run.app/schedules/chore"
    token = job.http_target.oidc_token
    assert (token.service_account_email, token.audience) == (
        SCHEDULER_ACCOUNT,
        "https://kit-chore-1.us-central1.run.app",
    )


async def test_making_them_again_changes_only_what_is_declared_otherwise(background: Background) -> None:
    await made(background, worker(), chore())
    name = f"{LOCATION}/queues/segments"
    await background.tasks.pause_queue(name=name, timeout=SECONDS)
    await background.jobs.pause_job(name=job_name("chore"), timeout=SECONDS)
    await background.task(name, "waits")
    faster = dataclasses.replace(SEGMENTS, dispatches_per_second=9)
    await made(background, worker(faster), chore(dataclasses.replace(HOURLY, cron="5 * * * *")))
    queue = await background.tasks.get_queue(name=name, timeout=SECONDS)
    assert (queue.state, queue.rate_limits.max_dispatches_per_second) == (tasks_v2.Queue.State.PAUSED, 9)
    assert [task.name.rsplit("/", 1)[1] for task in await background.waiting(name)] == ["waits"]
    job = await background.job_now("chore")
    assert (job.state, job.schedule) == (scheduler_v1.Job.State.PAUSED, "5 * * * *")


async def test_a_schedule_that_is_declared_no_more_goes_and_a_developers_own_stays(background: Background) -> None:
    await made(background, chore(), chore(name="other"))
    await background.job("own")
    await made(background, chore())
    jobs = await background.jobs.list_jobs(parent=LOCATION, timeout=SECONDS)
    assert [job.name.rsplit("/", 1)[1] async for job in jobs] == ["chore", "own"]


async def test_everything_that_the_product_declares_can_be_made(background: Background) -> None:
    functions = await asyncio.to_thread(discover)
    await made(background, *functions)
    jobs = await background.jobs.list_jobs(parent=LOCATION, timeout=SECONDS)
    assert {job.name.rsplit("/", 1)[1] async for job in jobs} == manifest.schedules(functions).keys()
    queues = await background.tasks.list_queues(parent=LOCATION, timeout=SECONDS)
    assert {queue.name.rsplit("/", 1)[1] async for queue in queues} == manifest.queues(functions).keys()
    assert {"deliver-outbox", "reap", "purge"} <= manifest.schedules(functions).keys()


def test_the_manifest_names_each_queue_and_schedule_and_what_they_call() -> None:
    functions = [worker(), chore()]
    assert manifest.queues(functions) == {
        "segments": {name: value for name, value in dataclasses.asdict(SEGMENTS).items() if name != "name"}
    }
    assert manifest.schedules(functions) == {
        "chore": {"function": "kit-chore", "path": "/schedules/chore", **dataclasses.asdict(HOURLY)}
    }
    written = json.loads((ROOT / "infra/functions.json").read_text())
    for job in written["schedules"].values():
        assert written["functions"][job["function"]]["path"] == job["path"]
    for entry in written["functions"].values():
        for operation in entry["operations"]:
            assert operation["queue"] is None or operation["queue"] in written["queues"]
            assert operation["schedule"] is None or operation["schedule"] in written["schedules"]


def test_good_declarations_contradict_nothing() -> None:
    assert consistency.contradictions([worker(), chore()]) == []


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (worker(queue=None), "a declared queue go together"),
        (worker(caller=Caller.EVERYONE), "a declared queue go together"),
        (chore(schedule=None), "a schedule go together"),
        (chore(caller=Caller.QUEUE), "a declared queue go together"),
        (worker(dataclasses.replace(SEGMENTS, name="a_b")), "cannot be a queue's name"),
        (worker(dataclasses.replace(SEGMENTS, dispatches_per_second=501)), "dispatch more than 0"),
        (worker(dataclasses.replace(SEGMENTS, concurrent_dispatches=0)), "dispatches at once"),
        (worker(dataclasses.replace(SEGMENTS, attempts=0)), "number of attempts"),
        (worker(dataclasses.replace(SEGMENTS, min_backoff_seconds=400)), "no longer than its longest"),
        (worker(dataclasses.replace(SEGMENTS, deadline_seconds=10)), "deadline between"),
        (worker(timeout_seconds=700), "while the function may go on for 700 s"),
        (chore(dataclasses.replace(HOURLY, cron="every hour")), "unix-cron"),
        (chore(dataclasses.replace(HOURLY, zone="Mars/Olympus")), "tz database"),
        (chore(dataclasses.replace(HOURLY, retries=6)), "retries"),
    ],
)
def test_a_trigger_that_its_service_would_refuse_is_refused_before(function: Function, reason: str) -> None:
    assert any(reason in found for found in consistency.contradictions([function]))


def test_one_queue_has_one_declaration_and_one_job_name_one_schedule() -> None:
    first, second = worker(), worker(dataclasses.replace(SEGMENTS, attempts=1))
    assert any("declared in 2 ways" in found for found in consistency.contradictions([first, second]))
    assert not any("declared in" in found for found in consistency.contradictions([first, worker()]))
    other = chore()
    other.operations[0] = dataclasses.replace(other.operations[0], path="/schedules/more/chore")
    found = consistency.contradictions([chore(), other])
    assert any("the schedule chore is declared 2 times" in reason for reason in found)
