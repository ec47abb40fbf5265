"""Cloud Scheduler's stand-in, driven by Google's own client: jobs run by the clock, one execution after the other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import jwt
import pytest
from google.api_core import exceptions
from google.cloud import scheduler_v1
from google.protobuf import field_mask_pb2

from local.scheduler.cron import BadSchedule, cron
from tests.support.background import (
    LOCATION,
    SECONDS,
    Background,
    Worker,
    job_name,
    open_background,
    seconds,
    socket_at,
    until,
)
from tests.support.gateway import free_socket

ACCOUNT = "scheduler@oprina-local.iam.gserviceaccount.com"
State = scheduler_v1.Job.State


@pytest.fixture
async def background(tmp_path: Path) -> AsyncIterator[Background]:
    async with open_background(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
async def lasting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Background]:
    """Stand-ins for tests that change nothing."""
    async with open_background(tmp_path_factory.mktemp("lasting")) as opened:
        yield opened


async def to_the_next_tick(background: Background, name: str = "j") -> datetime:
    """Move the clock to the job's next scheduled time, and say which that was."""
    due: datetime = (await background.job_now(name)).schedule_time
    background.clock.advance(max(due.timestamp() - background.clock.now(), 0) + 0.01)
    return due


async def ended(background: Background, count: int, name: str = "j") -> list[dict[str, Any]]:
    """The attempts that ended, once there are so many."""

    def runs() -> list[dict[str, Any]]:
        with sqlite3.connect(background.places.scheduler_file) as db:
            db.row_factory = sqlite3.Row
            found = db.execute("select * from runs where job = ? order by id", (job_name(name),))
            return [dict(row) for row in found]

    await until(lambda: len(runs()) >= count)
    return runs()


# --- running


async def test_a_job_runs_when_its_schedule_matches_with_the_headers_of_the_service(background: Background) -> None:
    token = {"service_account_email": ACCOUNT, "audience": "https://service.test"}
    made = await background.job(body=b"x", headers={"X-Own": "1", "User-Agent": "no"}, oidc_token=token)
    assert (made.state, made.time_zone) == (State.ENABLED, "Etc/UTC")
    assert (made.schedule_time.minute % 5, made.schedule_time.second) == (0, 0)
    assert background.worker.arrivals == []
    due = await to_the_next_tick(background)
    (arrival,) = await background.worker.have(1)
    headers = arrival.headers
    assert (arrival.method, arrival.path, arrival.body) == ("POST", "/schedules/j", b"x")
    assert headers["user-agent"] == "Google-Cloud-Scheduler"
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-own"] == "1"
    assert headers["x-cloudscheduler"] == "true"
    assert headers["x-cloudscheduler-jobname"] == "j"
    assert headers["x-cloudscheduler-scheduletime"] == f"{due:%Y-%m-%dT%H:%M:%S}Z"
    claims = jwt.decode(headers["authorization"].removeprefix("Bearer "), options={"verify_signature": False})
    assert (claims["aud"], claims["email"]) == ("https://service.test", ACCOUNT)
    await ended(background, 1)
    after = await background.job_now()
    assert after.status.code == 0
    assert after.last_attempt_time >= due
    assert (after.schedule_time - due).total_seconds() == 300


async def test_a_job_runs_at_every_tick(background: Background) -> None:
    await background.job()
    ticks = []
    for count in range(1, 4):
        ticks.append(await to_the_next_tick(background))
        await ended(background, count)
    assert [(later - earlier).total_seconds() for earlier, later in pairwise(ticks)] == [300, 300]


async def test_the_time_in_a_zone_is_told_with_its_offset(background: Background) -> None:
    await background.job(time_zone="Asia/Kolkata", schedule="0 * * * *")
    await to_the_next_tick(background)
    (arrival,) = await background.worker.have(1)
    told = arrival.headers["x-cloudscheduler-scheduletime"]
    assert told.endswith(":00:00+05:30")
    assert datetime.fromisoformat(told).minute == 0


async def test_a_failure_is_not_tried_again_unless_the_job_asks_for_it(background: Background) -> None:
    background.worker.answers = [500]
    await background.job()
    await to_the_next_tick(background)
    await ended(background, 1)
    job = await background.job_now()
    assert (job.state, job.status.code) == (State.ENABLED, 13)
    background.clock.advance(200)
    await asyncio.sleep(0.3)
    assert len(background.worker.arrivals) == 1
    await to_the_next_tick(background)
    await ended(background, 2)
    assert (await background.job_now()).status.code == 0


async def test_retries_keep_the_schedule_time_and_double_their_pauses(background: Background) -> None:
    background.worker.answers = [500, 503, 404]
    await background.job(
        schedule="0 * * * *",
        retry_config={"retry_count": 3, "min_backoff_duration": seconds(10), "max_backoff_duration": seconds(60)},
    )
    await to_the_next_tick(background)
    pauses = []
    for count in range(1, 4):
        (*_, last) = await ended(background, count)
        await until(lambda: background.worker.at_work == 0)
        retry = await to_the_next_tick(background)
        pauses.append(round(retry.timestamp() - last["ended_at"]))
    runs = await ended(background, 4)
    assert pauses == [10, 20, 40]
    assert [run["attempt"] for run in runs] == [1, 2, 3, 4]
    assert [run["status"] for run in runs] == [500, 503, 404, 200]
    told = {arrival.headers["x-cloudscheduler-scheduletime"] for arrival in background.worker.arrivals}
    assert len(told) == 1


async def test_retries_end_with_their_number(background: Background) -> None:
    background.worker.answers = [500] * 9
    await background.job(schedule="0 * * * *", retry_config={"retry_count": 1})
    first = await to_the_next_tick(background)
    await ended(background, 1)
    await to_the_next_tick(background)
    await ended(background, 2)
    assert ((await background.job_now()).schedule_time - first).total_seconds() == 3600


async def test_a_retry_never_comes_after_the_next_tick(background: Background) -> None:
    background.worker.answers = [500]
    retries = {"retry_count": 5, "min_backoff_duration": seconds(400)}
    await background.job(retry_config=retries)
    first = await to_the_next_tick(background)
    await ended(background, 1)
    assert ((await background.job_now()).schedule_time - first).total_seconds() == 300


async def test_the_next_execution_waits_for_the_end_of_the_one_before(background: Background) -> None:
    background.worker.hold = asyncio.Event()
    await background.job(attempt_deadline=seconds(1800))
    first = await to_the_next_tick(background)
    await background.worker.have(1)
    background.clock.advance(700)
    await asyncio.sleep(0.3)
    assert len(background.worker.arrivals) == 1
    background.worker.hold.set()
    arrivals = await background.worker.have(2)
    await ended(background, 2)
    assert background.worker.most_at_work == 1
    told = datetime.fromisoformat(arrivals[1].headers["x-cloudscheduler-scheduletime"])
    assert (told - first).total_seconds() == 600, "the latest tick that passed, and only that"


async def test_an_attempt_ends_at_its_deadline(background: Background) -> None:
    background.worker.hold = asyncio.Event()
    await background.job(schedule="0 * * * *", attempt_deadline=seconds(15))
    await to_the_next_tick(background)
    await background.worker.have(1)
    background.clock.advance(15)
    (run,) = await ended(background, 1)
    assert run["status"] == 504
    assert (await background.job_now()).status.code == 4


async def test_a_redirect_is_followed_and_its_answer_counts(background: Background) -> None:
    background.worker.answers = [(307, {"Location": f"{background.worker.url}/elsewhere"}), 200]
    await background.job()
    await to_the_next_tick(background)
    await ended(background, 1)
    assert [arrival.path for arrival in background.worker.arrivals] == ["/schedules/j", "/elsewhere"]
    assert (await background.job_now()).status.code == 0


async def test_a_job_can_be_run_now_beside_its_schedule(background: Background) -> None:
    planned = (await background.job()).schedule_time
    await background.jobs.pause_job(name=job_name("j"), timeout=SECONDS)
    await background.jobs.run_job(name=job_name("j"), timeout=SECONDS)
    await background.worker.have(1)
    (run,) = await ended(background, 1)
    assert run["forced"] == 1
    job = await background.jobs.resume_job(name=job_name("j"), timeout=SECONDS)
    assert job.schedule_time >= planned


async def test_a_paused_job_does_not_run_and_what_it_missed_is_not_made_up(background: Background) -> None:
    await background.job()
    paused = await background.jobs.pause_job(name=job_name("j"), timeout=SECONDS)
    assert (paused.state, "schedule_time" in paused) == (State.PAUSED, False)
    with pytest.raises(exceptions.FailedPrecondition):
        await background.jobs.pause_job(name=job_name("j"), timeout=SECONDS)
    background.clock.advance(3600)
    await asyncio.sleep(0.3)
    resumed = await background.jobs.resume_job(name=job_name("j"), timeout=SECONDS)
    with pytest.raises(exceptions.FailedPrecondition):
        await background.jobs.resume_job(name=job_name("j"), timeout=SECONDS)
    await asyncio.sleep(0.2)
    assert background.worker.arrivals == []
    assert resumed.schedule_time.timestamp() > background.clock.now()


async def test_a_long_move_of_the_clock_runs_a_job_once(background: Background) -> None:
    await background.job(schedule="* * * * *")
    background.clock.advance(24 * 3600)
    await ended(background, 1)
    await asyncio.sleep(0.3)
    assert len(background.worker.arrivals) == 1


# --- faults


async def test_deliveries_of_one_job_can_be_lost_while_others_arrive(background: Background) -> None:
    background.faults.write({"scheduler": {"Deliver/j": {"status": 503}}})
    await background.job("j")
    await background.job("k")
    await to_the_next_tick(background)
    (run,) = await ended(background, 1)
    assert run["status"] == 503
    assert [arrival.path for arrival in await background.worker.have(1)] == ["/schedules/k"]


async def test_a_duplicated_tick_arrives_twice_with_the_same_time(background: Background) -> None:
    background.faults.write({"scheduler": {"Deliver": {"duplicate": True}}})
    await background.job()
    await to_the_next_tick(background)
    first, second = await background.worker.have(2)
    name = "x-cloudscheduler-scheduletime"
    assert first.headers[name] == second.headers[name]
    assert len(await ended(background, 1)) == 1


# --- the interface


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": ""}, "unix-cron"),
        ({"schedule": "every 5 minutes"}, "unix-cron"),
        ({"schedule": "61 * * * *"}, "never matches or is malformed"),
        ({"schedule": "0 0 30 2 *"}, "never matches"),
        ({"schedule": "0 0 L * *"}, "not a field of unix-cron"),
        ({"schedule": "0 0 * * 1#2"}, "not a field of unix-cron"),
        ({"schedule": "0 0 * * * *"}, "unix-cron"),
        ({"time_zone": "Mars/Olympus"}, "tz database"),
        ({"uri": "ftp://a.test"}, "uri is required"),
        ({"uri": ""}, "uri is required"),
        ({"http_method": "GET", "body": b"x"}, "body is allowed only"),
        ({"attempt_deadline": seconds(14)}, "attemptDeadline"),
        ({"attempt_deadline": seconds(1801)}, "attemptDeadline"),
        ({"retry_config": {"retry_count": 6}}, "retryCount"),
        ({"retry_config": {"retry_count": -1}}, "retryCount"),
        ({"description": "x" * 501}, "500 characters"),
        ({"headers": {"X": "x" * 80 * 1024}}, "80KB"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_job_that_cannot_run_is_refused(lasting: Background, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=said):
        await lasting.job(**({"schedule": "* * * * *"} | changes))
    with pytest.raises(exceptions.NotFound):
        await lasting.job_now()


async def test_jobs_exist_once_are_listed_in_pages_and_can_be_deleted(background: Background) -> None:
    for number in range(5):
        await background.job(f"j{number}")
    with pytest.raises(exceptions.AlreadyExists):
        await background.job("j0")
    pages = await background.jobs.list_jobs(request={"parent": LOCATION, "page_size": 2}, timeout=SECONDS)
    assert [[job.name.rsplit("/", 1)[1] for job in page.jobs] async for page in pages.pages] == [
        ["j0", "j1"],
        ["j2", "j3"],
        ["j4"],
    ]
    await background.jobs.delete_job(name=job_name("j0"), timeout=SECONDS)
    for call in (background.jobs.get_job, background.jobs.delete_job, background.jobs.run_job):
        with pytest.raises(exceptions.NotFound):
            await call(name=job_name("j0"), timeout=SECONDS)
    await background.job("j0")


async def test_an_update_changes_what_its_mask_names_and_plans_the_job_anew(background: Background) -> None:
    await background.job(description="before", retry_config={"retry_count": 2})
    changed = scheduler_v1.Job(name=job_name("j"), schedule="0 0 1 1 *", description="after", state=State.PAUSED)
    mask = field_mask_pb2.FieldMask(paths=["schedule", "state"])
    job = await background.jobs.update_job(job=changed, update_mask=mask, timeout=SECONDS)
    assert (job.schedule, job.description, job.state) == ("0 0 1 1 *", "before", State.ENABLED)
    assert job.retry_config.retry_count == 2
    assert (job.schedule_time.month, job.schedule_time.day, job.schedule_time.hour) == (1, 1, 0)
    wrong, unknown = field_mask_pb2.FieldMask(paths=["colour"]), scheduler_v1.Job(name=job_name("none"))
    with pytest.raises(exceptions.InvalidArgument):
        await background.jobs.update_job(job=changed, update_mask=wrong, timeout=SECONDS)
    with pytest.raises(exceptions.NotFound):
        await background.jobs.update_job(job=unknown, update_mask=mask, timeout=SECONDS)


async def test_other_kinds_of_targets_are_refused_in_words(background: Background) -> None:
    job = scheduler_v1.Job(schedule="* * * * *", pubsub_target={"topic_name": "projects/p/topics/t", "data": b"x"})
    with pytest.raises(exceptions.InvalidArgument, match="no Pub/Sub"):
        await background.jobs.create_job(parent=LOCATION, job=job, timeout=SECONDS)


# --- what survives


async def test_ticks_that_passed_while_nothing_ran_are_not_made_up(tmp_path: Path) -> None:
    worker = Worker()
    async with open_background(tmp_path, worker) as background:
        await background.job()
    background.clock.advance(3600)
    async with open_background(tmp_path, worker) as background:
        await asyncio.sleep(0.3)
        assert worker.arrivals == []
        job = await background.job_now()
        assert 0 < job.schedule_time.timestamp() - background.clock.now() <= 300


async def test_an_execution_without_an_outcome_is_repeated_before_its_next_tick_and_not_after(tmp_path: Path) -> None:
    worker, listening = Worker(hold=asyncio.Event()), free_socket()
    address = listening.getsockname()
    async with open_background(tmp_path, worker, listening) as background:
        await background.job()
        await to_the_next_tick(background)
        await worker.have(1)
    worker.hold = asyncio.Event()
    async with open_background(tmp_path, worker, socket_at(address)):
        first, second = await worker.have(2)
        name = "x-cloudscheduler-scheduletime"
        assert first.headers[name] == second.headers[name]
    background.clock.advance(301)
    async with open_background(tmp_path, worker, socket_at(address)) as background:
        runs = await ended(background, 1)
        assert len(worker.arrivals) == 2
    assert "interrupted" in runs[-1]["reason"]


# --- the wall clock


def ticks(schedule: str, zone: str, start: str, count: int) -> list[str]:
    read, moment, found = cron(schedule, zone), datetime.fromisoformat(start).timestamp(), []
    for _ in range(count):
        moment = read.after(moment)
        found.append(read.written(moment))
    return found


def test_a_time_that_summer_time_leaves_out_is_not_run_that_day() -> None:
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00", 2) == [
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ]


def test_a_time_that_occurs_twice_is_run_twice() -> None:
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00", 3) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_a_job_of_every_few_minutes_goes_on_through_the_change() -> None:
    found = ticks("*/30 * * * *", "Europe/Berlin", "2026-03-29T01:00:00+01:00", 3)
    assert found == ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        ("0 0 1 * SAT", "2026-11-28T00:00:00Z"),
        ("0 0 1 * *", "2026-12-01T00:00:00Z"),
        ("0 0 * * 7", "2026-11-29T00:00:00Z"),
        ("5-10/5 8 * JAN,feb mon-fri", "2027-01-01T08:05:00Z"),
        ("*/7 * * * *", "2026-11-25T12:07:00Z"),
    ],
)
def test_the_fields_mean_what_is_documented(schedule: str, first: str) -> None:
    assert ticks(schedule, "", "2026-11-25T12:00:00+00:00", 1) == [first]


@pytest.mark.parametrize(
    "moment", ["2026-10-25T00:45:00+00:00", "2026-10-25T01:45:00+00:00", "2026-03-29T01:10:00+00:00"]
)
def test_the_latest_tick_is_the_one_before_the_next(moment: str) -> None:
    read, now = cron("30 2 * * *", "Europe/Berlin"), datetime.fromisoformat(moment).astimezone(UTC).timestamp()
    latest = read.latest(now)
    assert latest <= now < read.after(latest)
    assert read.latest(latest) == latest


def test_what_is_no_schedule_is_refused() -> None:
    for wrong in ("* * * *", "a * * * *", "* * * * MON#1", "0-70 * * * *", "*/0 * * * *", "0 0 31 2 *"):
        with pytest.raises(BadSchedule):
            cron(wrong, "")
