"""Cloud Tasks' stand-in delivers what it was given: on time, within its limits, and again until it is taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import jwt
import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2

from local.delivery import retry_after_seconds
from local.google_identity import GoogleIdentity
from tests.support.background import SECONDS, Background, Worker, at, open_background, seconds, socket_at, until
from tests.support.gateway import free_socket

ACCOUNT = "tasks@oprina-local.iam.gserviceaccount.com"


@pytest.fixture
async def background(tmp_path: Path) -> AsyncIterator[Background]:
    async with open_background(tmp_path) as opened:
        yield opened


async def attempts(background: Background, queue: str, count: int) -> None:
    """Until the only task of the queue has failed so often."""

    async def failed() -> bool:
        (task,) = await background.waiting(queue)
        return task.last_attempt.response_time is not None and task.dispatch_count == count

    await until(failed)


async def empty(background: Background, queue: str) -> None:
    async def gone() -> bool:
        return not await background.waiting(queue)

    await until(gone)


# --- what a worker sees


async def test_a_worker_gets_the_task_as_it_was_made_with_the_headers_of_the_service(background: Background) -> None:
    queue = await background.queue("segments")
    task = await background.task(
        queue,
        "step-1",
        body=b'{"step": 1}',
        headers={
            "Content-Type": "application/json",
            "User-Agent": "someone else",
            "Host": "elsewhere.test",
            "X-CloudTasks-TaskRetryCount": "7",
            "X-Google-Internal": "x",
            "X-Own": "kept, with a comma",
            "X-Name": "Zo\u00eb",
        },
    )
    (arrival,) = await background.worker.have(1)
    assert (arrival.method, arrival.path, arrival.body) == ("POST", "/tasks/step", b'{"step": 1}')
    headers = arrival.headers
    assert headers["user-agent"] == "Google-Cloud-Tasks"
    assert headers["content-type"] == "application/json"
    assert headers["x-own"] == "kept, with a comma"
    assert headers["x-name"].encode("latin-1").decode() == "Zo\u00eb"
    assert headers["host"] == background.worker.url.removeprefix("http://")
    assert headers["x-cloudtasks-queuename"] == "segments"
    assert headers["x-cloudtasks-taskname"] == "step-1"
    assert headers["x-cloudtasks-taskretrycount"] == "0"
    assert headers["x-cloudtasks-taskexecutioncount"] == "0"
    assert float(headers["x-cloudtasks-tasketa"]) == pytest.approx(task.schedule_time.timestamp(), abs=0.001)
    unsent = ["x-google-internal", "x-cloudtasks-taskpreviousresponse", "x-cloudtasks-taskretryreason", "authorization"]
    assert not [name for name in unsent if name in headers]


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_every_method_is_sent_as_asked(background: Background, method: str) -> None:
    await background.task(await background.queue(), http_method=method)
    (arrival,) = await background.worker.have(1)
    assert arrival.method == method


async def test_an_identity_token_is_one_that_the_published_keys_confirm(background: Background) -> None:
    queue = await background.queue()
    await background.task(queue, oidc_token={"service_account_email": ACCOUNT, "audience": "https://service.test"})
    await background.task(queue, oidc_token={"service_account_email": ACCOUNT})
    await background.task(queue, oauth_token={"service_account_email": ACCOUNT})
    await background.worker.have(3)
    tokens = [arrival.headers["authorization"].removeprefix("Bearer ") for arrival in background.worker.arrivals]
    opaque = [token for token in tokens if token.startswith("ya29.")]
    assert len(opaque) == 1
    keys = jwt.PyJWKSet.from_json((background.places.public_folder / "google/oauth2/v3/certs").read_text())
    audiences = set()
    for token in set(tokens) - set(opaque):
        key = keys[jwt.get_unverified_header(token)["kid"]].key
        claims = jwt.decode(token, key, ["RS256"], options={"verify_aud": False})
        assert claims["iss"] == "https://accounts.google.com"
        assert (claims["email"], claims["email_verified"]) == (ACCOUNT, True)
        assert claims["sub"] == claims["azp"]
        assert claims["exp"] - claims["iat"] == 3600
        audiences.add(claims["aud"])
    assert audiences == {"https://service.test", f"{background.worker.url}/tasks/step"}


def test_the_identity_survives_a_restart_and_is_published_as_certificates_too(tmp_path: Path) -> None:
    import json

    from cryptography import x509

    first, second = GoogleIdentity(tmp_path / "key.pem"), GoogleIdentity(tmp_path / "key.pem")
    assert first.key_id == second.key_id
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    second.publish(tmp_path)
    certificates = json.loads((tmp_path / "google/oauth2/v1/certs").read_text())
    certificate = x509.load_pem_x509_certificate(certificates[first.key_id].encode())
    jwt.decode(first.id_token(ACCOUNT, "a"), certificate.public_key(), ["RS256"], audience="a")  # type: ignore[arg-type]


async def test_a_queue_can_override_where_and_how_its_tasks_go(background: Background) -> None:
    port = int(background.worker.url.rsplit(":", 1)[1])
    queue = await background.queue(
        http_target={
            "uri_override": {
                "scheme": "HTTP",
                "host": "127.0.0.1",
                "port": port,
                "path_override": {"path": "/elsewhere"},
                "query_override": {"query_params": "a=1"},
            },
            "http_method": "PUT",
            "header_overrides": [{"header": {"key": "x-own", "value": "the queue's"}}],
            "oidc_token": {"service_account_email": ACCOUNT, "audience": "https://queue.test"},
        }
    )
    await background.task(queue, url="https://nowhere.test:1/here", headers={"X-Own": "the task's"})
    (arrival,) = await background.worker.have(1)
    assert (arrival.method, arrival.path) == ("PUT", "/elsewhere")
    assert arrival.headers["x-own"] == "the queue's"
    token = arrival.headers["authorization"].removeprefix("Bearer ")
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == "https://queue.test"


@pytest.mark.parametrize(
    ("url", "override", "expected"),
    [
        ("http://a.test/x?q=1", {"host": "b.test"}, "http://b.test/x?q=1"),
        ("http://a.test:81/x", {"host": "b.test"}, "http://b.test:81/x"),
        ("http://a.test:81/x", {"port": 0}, "http://a.test/x"),
        ("http://a.test/x", {"scheme": "HTTPS", "port": 444}, "https://a.test:444/x"),
        (
            "http://a.test/x?q=1",
            {"path_override": {"path": ""}, "query_override": {"query_params": ""}},
            "http://a.test",
        ),
        (
            "http://a.test/x",
            {
                "host": "b.test",
                "port": 82,
                "path_override": {"path": "/y"},
                "query_override": {"query_params": "z"},
                "uri_override_enforce_mode": "IF_NOT_EXISTS",
            },
            "http://a.test:82/x?z",
        ),
    ],
)
def test_each_part_of_a_url_can_be_overridden(url: str, override: dict[str, Any], expected: str) -> None:
    from local.tasks.requests import overridden_url

    assert overridden_url(url, tasks_v2.UriOverride(override)) == expected


# --- when it is sent


async def test_a_task_waits_for_its_time_and_the_clock_can_be_moved_there(background: Background) -> None:
    queue = await background.queue()
    await background.task(queue, "later", schedule_time=at(background.clock.now() + 3600))
    await background.task(queue, "now")
    await background.worker.have(1)
    await empty_but(background, queue, 1)
    background.clock.advance(3590)
    await asyncio.sleep(0.3)
    assert background.worker.names() == ["now"]
    background.clock.advance(10)
    await background.worker.have(2)
    assert background.worker.names() == ["now", "later"]


async def empty_but(background: Background, queue: str, count: int) -> None:
    async def left() -> bool:
        return len(await background.waiting(queue)) == count

    await until(left)


async def test_a_paused_queue_keeps_its_tasks_until_it_is_resumed(background: Background) -> None:
    queue = await background.queue()
    assert (await background.tasks.pause_queue(name=queue, timeout=SECONDS)).state == tasks_v2.Queue.State.PAUSED
    await background.task(queue)
    await asyncio.sleep(0.2)
    assert background.worker.arrivals == []
    assert (await background.tasks.resume_queue(name=queue, timeout=SECONDS)).state == tasks_v2.Queue.State.RUNNING
    await background.worker.have(1)
    await empty(background, queue)


async def test_a_task_can_be_run_now_whatever_its_time_and_its_queue_say(background: Background) -> None:
    queue = await background.queue()
    await background.tasks.pause_queue(name=queue, timeout=SECONDS)
    task = await background.task(queue, schedule_time=at(background.clock.now() + 3600))
    shown = await background.tasks.run_task(name=task.name, timeout=SECONDS)
    assert (shown.name, shown.dispatch_count) == (task.name, 1)
    await background.worker.have(1)
    await empty(background, queue)


async def test_no_more_tasks_run_at_once_than_the_queue_allows(background: Background) -> None:
    background.worker.hold = asyncio.Event()
    queue = await background.queue(rate_limits={"max_concurrent_dispatches": 3})
    for _ in range(8):
        await background.task(queue)
    await background.worker.have(3)
    await asyncio.sleep(0.2)
    assert len(background.worker.arrivals) == 3
    background.worker.hold.set()
    await background.worker.have(8)
    assert background.worker.most_at_work == 3


async def test_a_queue_sends_a_burst_and_then_at_its_rate(background: Background) -> None:
    queue = await background.queue(rate_limits={"max_dispatches_per_second": 0.5})
    shown = await background.tasks.get_queue(name=queue, timeout=SECONDS)
    burst = shown.rate_limits.max_burst_size
    for _ in range(burst + 5):
        await background.task(queue)
    await background.worker.have(burst)
    await asyncio.sleep(0.2)
    assert len(background.worker.arrivals) == burst
    background.clock.advance(4.1)
    await background.worker.have(burst + 2)
    await asyncio.sleep(0.2)
    assert len(background.worker.arrivals) == burst + 2


async def test_hundreds_of_tasks_are_each_delivered_once(background: Background) -> None:
    queue = await background.queue(rate_limits={"max_concurrent_dispatches": 20})
    for start in range(0, 300, 100):
        requests = [
            tasks_v2.CreateTaskRequest(
                parent=queue,
                task={"name": f"{queue}/tasks/n{number}", "http_request": {"url": f"{background.worker.url}/tasks/n"}},
            )
            for number in range(start, start + 100)
        ]
        await background.tasks.batch_create_tasks(request={"parent": queue, "requests": requests}, timeout=SECONDS)
    await background.worker.have(300, seconds=20)
    await empty(background, queue)
    assert sorted(background.worker.names()) == sorted(f"n{number}" for number in range(300))


# --- when it fails


async def test_pauses_between_attempts_double_grow_evenly_and_end_at_the_longest(background: Background) -> None:
    background.worker.answers = [500] * 8
    retries = {"min_backoff": seconds(10), "max_backoff": seconds(300), "max_doublings": 3, "max_attempts": -1}
    queue = await background.queue(retry_config=retries)
    await background.task(queue)
    pauses = []
    for count in range(1, 9):
        await attempts(background, queue, count)
        (task,) = await background.waiting(queue)
        pauses.append(round(task.schedule_time.timestamp() - task.last_attempt.response_time.timestamp()))
        background.clock.advance(task.schedule_time.timestamp() - background.clock.now())
    assert pauses == [10, 20, 40, 80, 160, 240, 300, 300]
    await empty(background, queue)


async def test_a_retry_tells_the_worker_what_happened_before(background: Background) -> None:
    background.worker.answers = [503, 404, 429, 302, 500]
    queue = await background.queue()
    await background.task(queue)
    for count in range(1, 6):
        await attempts(background, queue, count)
        background.clock.advance(60)
    arrivals = await background.worker.have(6)
    headers = [arrival.headers for arrival in arrivals]
    assert [header["x-cloudtasks-taskretrycount"] for header in headers] == ["0", "1", "2", "3", "4", "5"]
    assert [header["x-cloudtasks-taskexecutioncount"] for header in headers] == ["0", "0", "1", "2", "3", "3"]
    previous = [header.get("x-cloudtasks-taskpreviousresponse") for header in headers]
    assert previous == [None, "503", "404", "429", "302", "500"]
    assert [header.get("x-cloudtasks-taskretryreason") for header in headers] == [None, "", "", "", "", ""]


async def test_a_task_shows_how_its_attempts_ended(background: Background) -> None:
    background.worker.answers = [503, 404]
    queue = await background.queue()
    await background.task(queue, "t")
    await attempts(background, queue, 1)
    background.clock.advance(60)
    await attempts(background, queue, 2)
    task = await background.tasks.get_task(name=f"{queue}/tasks/t", timeout=SECONDS)
    assert (task.dispatch_count, task.response_count) == (2, 2)
    assert task.last_attempt.response_status.code == 5
    assert task.last_attempt.response_status.message == "NOT_FOUND(5): HTTP status code 404"
    assert task.first_attempt.dispatch_time < task.last_attempt.dispatch_time
    assert task.first_attempt.response_time is None


@pytest.mark.parametrize("status", [300, 302, 400, 401, 404, 409, 429, 500, 503])
async def test_only_a_success_takes_a_task_out_of_the_queue(background: Background, status: int) -> None:
    background.worker.answers = [(status, {"Location": f"{background.worker.url}/elsewhere"})]
    queue = await background.queue()
    await background.task(queue)
    await attempts(background, queue, 1)
    assert [arrival.path for arrival in background.worker.arrivals] == ["/tasks/step"]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_any_success_does(background: Background, status: int) -> None:
    background.worker.answers = [status]
    queue = await background.queue()
    await background.task(queue)
    await background.worker.have(1)
    await empty(background, queue)


async def test_retry_after_is_waited_for_when_it_is_longer_than_the_pause(background: Background) -> None:
    background.worker.answers = [(503, {"Retry-After": "100"}), (429, {"Retry-After": "1"})]
    queue = await background.queue()
    await background.task(queue)
    await attempts(background, queue, 1)
    (task,) = await background.waiting(queue)
    assert task.schedule_time.timestamp() - task.last_attempt.response_time.timestamp() == pytest.approx(100, abs=0.01)
    background.clock.advance(101)
    await attempts(background, queue, 2)
    (task,) = await background.waiting(queue)
    assert task.schedule_time.timestamp() - task.last_attempt.response_time.timestamp() == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize(
    ("value", "expected"), [("", 0), ("7", 7), (formatdate(1090, usegmt=True), 90), ("soon", 0), ("-5", 0)]
)
def test_retry_after_is_seconds_or_a_date(value: str, expected: float) -> None:
    assert retry_after_seconds(value, 1000.0) == expected


async def test_an_answer_that_does_not_come_in_time_is_a_failure(background: Background) -> None:
    background.worker.hold = asyncio.Event()
    queue = await background.queue()
    await background.task(queue, dispatch_deadline=seconds(15))
    await background.worker.have(1)
    background.clock.advance(14)
    await asyncio.sleep(0.2)
    (task,) = await background.waiting(queue)
    assert task.last_attempt.response_time is None
    background.clock.advance(1)
    await attempts(background, queue, 1)
    (task,) = await background.waiting(queue)
    assert task.last_attempt.response_status.code == 4
    assert task.response_count == 0
    background.worker.hold.set()
    background.clock.advance(60)
    arrivals = await background.worker.have(2)
    assert arrivals[1].headers["x-cloudtasks-taskpreviousresponse"] == "504"
    assert arrivals[1].headers["x-cloudtasks-taskexecutioncount"] == "0"


async def test_a_worker_that_is_not_there_is_tried_again(background: Background) -> None:
    queue = await background.queue()
    task = await background.task(queue, url="http://127.0.0.1:1/nobody")
    await attempts(background, queue, 1)
    shown = await background.tasks.get_task(name=task.name, timeout=SECONDS)
    assert shown.last_attempt.response_status.code == 14


async def test_a_task_that_used_up_its_attempts_vanishes_and_stays_to_be_looked_at(background: Background) -> None:
    background.worker.answers = [500, 500, 500]
    queue = await background.queue(retry_config={"max_attempts": 2, "min_backoff": seconds(10)})
    task = await background.task(queue, "doomed")
    await attempts(background, queue, 1)
    background.clock.advance(11)
    await empty(background, queue)
    assert len(background.worker.arrivals) == 2
    with pytest.raises(exceptions.NotFound, match="no longer exists"):
        await background.tasks.get_task(name=task.name, timeout=SECONDS)
    (letter,) = dead_letters(background)
    assert letter["name"] == task.name
    assert "2 attempts" in letter["reason"]
    assert "500" in letter["reason"]


def dead_letters(background: Background) -> list[dict[str, Any]]:
    import sqlite3

    with sqlite3.connect(background.places.tasks_file) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("select * from dead")]


async def test_a_task_is_given_up_only_when_attempts_and_duration_are_both_used_up(background: Background) -> None:
    background.worker.answers = [500] * 4
    retries = {"max_attempts": 2, "max_retry_duration": seconds(100), "min_backoff": seconds(10), "max_doublings": 1}
    queue = await background.queue(retry_config=retries)
    await background.task(queue)
    await attempts(background, queue, 1)
    background.clock.advance(11)
    await attempts(background, queue, 2)
    background.clock.advance(50)
    await attempts(background, queue, 3)
    background.clock.advance(50)
    await empty(background, queue)
    assert len(background.worker.arrivals) == 4


async def test_a_task_with_retries_of_its_own_follows_those(background: Background) -> None:
    background.worker.answers = [500]
    queue = await background.queue()
    await background.task(queue, retry_config={"max_attempts": 1})
    await background.worker.have(1)
    await empty(background, queue)


async def test_a_task_that_is_deleted_while_it_runs_is_not_tried_again(background: Background) -> None:
    background.worker.hold, background.worker.answers = asyncio.Event(), [500]
    queue = await background.queue()
    task = await background.task(queue)
    await background.worker.have(1)
    await background.tasks.delete_task(name=task.name, timeout=SECONDS)
    background.worker.hold.set()
    background.clock.advance(3600)
    await asyncio.sleep(0.3)
    assert len(background.worker.arrivals) == 1


# --- what is done wrong on purpose


async def test_a_duplicated_delivery_reaches_the_worker_twice_and_counts_once(background: Background) -> None:
    background.faults.write({"tasks": {"Deliver": {"duplicate": True}}})
    queue = await background.queue()
    await background.task(queue)
    arrivals = await background.worker.have(2)
    await empty(background, queue)
    assert [arrival.headers["x-cloudtasks-taskretrycount"] for arrival in arrivals] == ["0", "0"]


async def test_a_lost_answer_is_work_that_the_queue_believes_failed(background: Background) -> None:
    background.faults.write({"tasks": {"Deliver": {"lose_answer": True}}})
    queue = await background.queue()
    await background.task(queue)
    await background.worker.have(1)
    await attempts(background, queue, 1)
    background.faults.write({})
    background.clock.advance(11)
    await background.worker.have(2)
    await empty(background, queue)


async def test_a_failed_delivery_never_reaches_the_worker(background: Background) -> None:
    background.faults.write({"tasks": {"Deliver/q": {"status": 500}}})
    queue, other = await background.queue("q"), await background.queue("other")
    await background.task(queue)
    await attempts(background, queue, 1)
    await background.task(other)
    await background.worker.have(1)
    assert background.worker.arrivals[0].headers["x-cloudtasks-queuename"] == "other"


async def test_a_delayed_delivery_arrives_late(background: Background) -> None:
    background.faults.write({"tasks": {"Deliver": {"delay_ms": 300}}})
    queue = await background.queue()
    created = time.time()
    await background.task(queue)
    (arrival,) = await background.worker.have(1)
    assert arrival.at - created >= 0.3


async def in_what_order(folder: Path, fault: dict[str, Any]) -> list[str]:
    async with open_background(folder) as background:
        background.faults.write({"tasks": {"Deliver": fault}})
        queue = await background.queue()
        await background.tasks.pause_queue(name=queue, timeout=SECONDS)
        for number in range(12):
            await background.task(queue, f"n{number}")
        await background.tasks.resume_queue(name=queue, timeout=SECONDS)
        await background.worker.have(12)
        assert background.worker.most_at_work == 1
        return background.worker.names()


async def test_a_seed_gives_the_same_disorder_each_time(tmp_path: Path) -> None:
    wrong = {"reorder": True, "seed": 7, "duplicate": True, "fail_rate": 0.0}
    first, second = await in_what_order(tmp_path / "1", wrong), await in_what_order(tmp_path / "2", wrong)
    other = await in_what_order(tmp_path / "3", wrong | {"seed": 8})
    assert first[:12] == second[:12]
    assert first[:12] != other[:12]


async def test_calls_of_the_api_fail_as_asked_and_deliveries_go_on(background: Background) -> None:
    queue = await background.queue()
    background.faults.write({"tasks": {"CreateTask": {"lose_answer": True, "spare": 1}}})
    await background.task(queue, "first")
    with pytest.raises(exceptions.ServiceUnavailable):
        await background.task(queue, "second")
    await background.worker.have(2)
    background.faults.write({"tasks": {"*": {"status": "RESOURCE_EXHAUSTED"}}})
    with pytest.raises(exceptions.ResourceExhausted):
        await background.task(queue)


# --- what survives


async def test_a_task_that_was_being_delivered_is_delivered_again_after_a_restart(tmp_path: Path) -> None:
    worker, listening = Worker(hold=asyncio.Event()), free_socket()
    address = listening.getsockname()
    async with open_background(tmp_path, worker, listening) as background:
        await background.task(await background.queue(), "t")
        await worker.have(1)
    worker.hold = None
    async with open_background(tmp_path, worker, socket_at(address)):
        arrivals = await worker.have(2)
    assert arrivals[1].headers["x-cloudtasks-taskname"] == "t"
    assert arrivals[1].headers["x-cloudtasks-taskretrycount"] == "1"
