"""Cloud Tasks' stand-in, driven by Google's own client, answers and refuses as the service does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf import field_mask_pb2

from tests.support.background import LOCATION, SECONDS, Background, at, open_background, seconds

DAY = 24 * 3600
View = tasks_v2.Task.View


@pytest.fixture
async def background(tmp_path: Path) -> AsyncIterator[Background]:
    async with open_background(tmp_path) as opened:
        yield opened


@pytest.fixture
async def paused(background: Background) -> str:
    """A queue that sends nothing."""
    return await a_paused_queue(background)


async def a_paused_queue(background: Background) -> str:
    queue = await background.queue("still")
    await background.tasks.pause_queue(name=queue, timeout=SECONDS)
    return queue


@pytest.fixture(scope="module")
async def lasting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Background, str]]:
    """Stand-ins and a paused queue for tests that change nothing."""
    async with open_background(tmp_path_factory.mktemp("lasting")) as opened:
        yield opened, await a_paused_queue(opened)


async def change(background: Background, queue: dict[str, Any], *paths: str) -> tasks_v2.Queue:
    mask = field_mask_pb2.FieldMask(paths=paths) if paths else None
    return await background.tasks.update_queue(queue=tasks_v2.Queue(queue), update_mask=mask, timeout=SECONDS)


async def outcome(operation: Any) -> Any:
    return await operation.result(timeout=SECONDS)


# --- queues


async def test_a_queue_that_says_nothing_gets_the_services_defaults(background: Background) -> None:
    name = f"{LOCATION}/queues/plain"
    made = await background.tasks.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=name), timeout=SECONDS)
    assert made == await background.tasks.get_queue(name=name, timeout=SECONDS)
    assert made.state == tasks_v2.Queue.State.RUNNING
    assert made.rate_limits.max_dispatches_per_second == 500
    assert made.rate_limits.max_concurrent_dispatches == 1000
    assert made.rate_limits.max_burst_size >= 500
    assert (made.retry_config.max_attempts, made.retry_config.max_doublings) == (100, 16)
    assert made.retry_config.min_backoff.total_seconds() == 0.1
    assert made.retry_config.max_backoff.total_seconds() == 3600


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rate_limits": {"max_dispatches_per_second": -1}}, "maxDispatchesPerSecond cannot be negative"),
        ({"rate_limits": {"max_dispatches_per_second": 501}}, "less than or equal to 500"),
        ({"rate_limits": {"max_concurrent_dispatches": -1}}, "maxConcurrentDispatches cannot be negative"),
        ({"rate_limits": {"max_concurrent_dispatches": 5001}}, "less than or equal to 5000"),
        ({"retry_config": {"max_attempts": -2}}, "maxAttempts must be greater or equal to -1"),
        ({"retry_config": {"max_doublings": -1}}, "maxDoublings cannot be negative"),
        ({"retry_config": {"min_backoff": seconds(-1)}}, "minBackoff cannot be negative"),
        ({"retry_config": {"min_backoff": seconds(9), "max_backoff": seconds(8)}}, "minBackoff must be less than"),
        ({"http_target": {"uri_override": {"host": ""}}}, "host cannot be an empty string"),
        ({"http_target": {"oidc_token": {"service_account_email": "a@b.test"}}}, "audience"),
        ({"app_engine_routing_override": {"service": "x"}}, "no App Engine"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_settings_that_no_queue_can_have_are_refused(
    lasting: tuple[Background, str], settings: dict[str, Any], said: str
) -> None:
    background, _ = lasting
    with pytest.raises(exceptions.InvalidArgument, match=said):
        await background.queue("q", **settings)
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        await background.tasks.get_queue(name=f"{LOCATION}/queues/q", timeout=SECONDS)


@pytest.mark.parametrize(
    "name", ["", "q", f"{LOCATION}/queues/", f"{LOCATION}/queues/a_b", f"{LOCATION}/queues/" + "x" * 101]
)
async def test_a_queue_has_a_name_of_the_right_form(lasting: tuple[Background, str], name: str) -> None:
    background, _ = lasting
    with pytest.raises(exceptions.InvalidArgument, match="Queue name must be formatted"):
        await background.tasks.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=name), timeout=SECONDS)


async def test_a_queue_exists_once_and_in_its_own_location(background: Background) -> None:
    await background.queue("q")
    with pytest.raises(exceptions.AlreadyExists, match="Queue already exists"):
        await background.queue("q")
    other = tasks_v2.Queue(name="projects/oprina-local/locations/europe-west1/queues/q")
    with pytest.raises(exceptions.InvalidArgument, match="parent location"):
        await background.tasks.create_queue(parent=LOCATION, queue=other, timeout=SECONDS)


async def test_queues_come_in_pages_and_can_be_asked_for_by_state(background: Background) -> None:
    names = [await background.queue(f"q{number}") for number in range(5)]
    await background.tasks.pause_queue(name=names[3], timeout=SECONDS)
    pages = await background.tasks.list_queues(request={"parent": LOCATION, "page_size": 2}, timeout=SECONDS)
    sizes = [len(page.queues) async for page in pages.pages]
    assert sizes == [2, 2, 1]
    everything = await background.tasks.list_queues(parent=LOCATION, timeout=SECONDS)
    assert [queue.name async for queue in everything] == names
    asked = {"parent": LOCATION, "filter": "state = PAUSED"}
    assert [queue.name async for queue in await background.tasks.list_queues(request=asked, timeout=SECONDS)] == names[
        3:4
    ]
    for wrong in ({"filter": "name = q1"}, {"page_token": "nonsense"}, {"page_size": -1}):
        with pytest.raises(exceptions.InvalidArgument):
            await background.tasks.list_queues(request={"parent": LOCATION, **wrong}, timeout=SECONDS)


async def test_a_page_token_belongs_to_the_filter_it_came_with(background: Background) -> None:
    for number in range(3):
        await background.queue(f"q{number}")
    asked = {"parent": LOCATION, "page_size": 1}
    page = await anext(aiter((await background.tasks.list_queues(request=asked, timeout=SECONDS)).pages))
    asked |= {"page_token": page.next_page_token, "filter": "state = RUNNING"}
    with pytest.raises(exceptions.InvalidArgument, match="page token"):
        await background.tasks.list_queues(request=asked, timeout=SECONDS)


async def test_an_update_changes_what_its_mask_names_and_nothing_else(background: Background) -> None:
    name = await background.queue("q", rate_limits={"max_dispatches_per_second": 5, "max_concurrent_dispatches": 7})
    wanted = {"name": name, "rate_limits": {"max_dispatches_per_second": 9, "max_concurrent_dispatches": 99}}
    changed = await change(background, wanted, "rate_limits.max_dispatches_per_second", "state", "purge_time")
    assert changed.rate_limits.max_dispatches_per_second == 9
    assert changed.rate_limits.max_concurrent_dispatches == 7
    assert changed.retry_config.min_backoff.total_seconds() == 10
    assert changed.state == tasks_v2.Queue.State.RUNNING
    with pytest.raises(exceptions.InvalidArgument, match="update_mask"):
        await change(background, wanted, "rate_limits.speed")
    with pytest.raises(exceptions.InvalidArgument, match="5000"):
        await change(background, {"name": name, "rate_limits": {"max_concurrent_dispatches": 9999}}, "rate_limits")
    assert await background.tasks.get_queue(name=name, timeout=SECONDS) == changed


async def test_an_update_without_a_mask_sets_everything_but_the_state(background: Background, paused: str) -> None:
    changed = await change(background, {"name": paused, "rate_limits": {"max_concurrent_dispatches": 2}})
    assert changed.rate_limits.max_concurrent_dispatches == 2
    assert changed.retry_config.min_backoff.total_seconds() == 0.1
    assert changed.state == tasks_v2.Queue.State.PAUSED


async def test_an_update_of_a_queue_that_is_not_there_makes_it(background: Background) -> None:
    made = await change(background, {"name": f"{LOCATION}/queues/new", "rate_limits": {"max_concurrent_dispatches": 2}})
    assert made.state == tasks_v2.Queue.State.RUNNING
    assert made.rate_limits.max_concurrent_dispatches == 2


async def test_the_name_of_a_deleted_queue_is_free_again_after_seven_days(background: Background) -> None:
    name = await background.queue("q")
    await background.task(name, "t", schedule_time=at(background.clock.now() + 60))
    await background.tasks.delete_queue(name=name, timeout=SECONDS)
    for call in (background.tasks.get_queue, background.tasks.pause_queue, background.tasks.purge_queue):
        with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
            await call(name=name, timeout=SECONDS)
    with pytest.raises(exceptions.NotFound):
        await background.tasks.delete_queue(name=name, timeout=SECONDS)
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        await background.task(name)
    with pytest.raises(exceptions.FailedPrecondition, match="too recently"):
        await background.queue("q")
    background.clock.advance(7 * DAY - 60)
    with pytest.raises(exceptions.FailedPrecondition):
        await change(background, {"name": name})
    background.clock.advance(61)
    assert await background.waiting(await background.queue("q")) == []


async def test_a_purge_takes_what_was_there_and_keeps_the_names(background: Background, paused: str) -> None:
    await background.task(paused, "t")
    purged = await background.tasks.purge_queue(name=paused, timeout=SECONDS)
    assert purged.purge_time is not None
    assert await background.waiting(paused) == []
    with pytest.raises(exceptions.AlreadyExists):
        await background.task(paused, "t")
    await background.task(paused, "u")
    assert len(await background.waiting(paused)) == 1


# --- tasks


async def test_a_task_is_shown_without_its_body_unless_all_of_it_is_asked_for(
    background: Background, paused: str
) -> None:
    made = await background.task(paused, "t", body=b"secret", headers={"X-Own": "1"})
    full = await background.tasks.get_task(request={"name": made.name, "response_view": View.FULL}, timeout=SECONDS)
    listed = [task async for task in await background.tasks.list_tasks(parent=paused, timeout=SECONDS)]
    assert (full.view, full.http_request.body) == (View.FULL, b"secret")
    for shown in (made, *listed):
        assert (shown.view, shown.http_request.body) == (View.BASIC, b"")
        assert shown.http_request.headers["X-Own"] == "1"
    assert made.http_request.http_method == tasks_v2.HttpMethod.POST
    assert made.dispatch_deadline.total_seconds() == 600
    assert made.create_time.timestamp() % 1 == 0
    assert made.dispatch_count == 0


async def test_what_only_the_service_may_say_is_not_taken_from_a_client(background: Background, paused: str) -> None:
    made = await background.task(
        paused, dispatch_count=9, response_count=8, create_time=at(1), first_attempt={"dispatch_time": at(1)}
    )
    assert (made.dispatch_count, made.response_count, "first_attempt" in made) == (0, 0, False)
    assert made.create_time.timestamp() > 1
    assert made.name.startswith(f"{paused}/tasks/")


async def test_tasks_come_in_pages(background: Background, paused: str) -> None:
    made = [(await background.task(paused)).name for _ in range(5)]
    asked = {"parent": paused, "page_size": 2, "response_view": View.FULL}
    pages = [page async for page in (await background.tasks.list_tasks(request=asked, timeout=SECONDS)).pages]
    assert [len(page.tasks) for page in pages] == [2, 2, 1]
    assert [task.name for page in pages for task in page.tasks] == made
    with pytest.raises(exceptions.InvalidArgument):
        await background.tasks.list_tasks(request=asked | {"page_token": "AAAA"}, timeout=SECONDS)


async def test_a_name_is_taken_while_the_task_exists_and_for_a_day_after_it(
    background: Background, paused: str
) -> None:
    await background.task(paused, "t")
    with pytest.raises(exceptions.AlreadyExists, match="Requested entity already exists"):
        await background.task(paused, "t")
    await background.tasks.delete_task(name=f"{paused}/tasks/t", timeout=SECONDS)
    with pytest.raises(exceptions.AlreadyExists):
        await background.task(paused, "t")
    with pytest.raises(exceptions.NotFound, match="existed recently"):
        await background.tasks.get_task(name=f"{paused}/tasks/t", timeout=SECONDS)
    background.clock.advance(DAY - 60)
    with pytest.raises(exceptions.AlreadyExists):
        await background.task(paused, "t")
    background.clock.advance(61)
    await background.task(paused, "t")


async def test_a_name_is_taken_for_a_day_after_the_task_was_executed(background: Background) -> None:
    queue = await background.queue()
    await background.task(queue, "t")
    await background.worker.have(1)
    with pytest.raises(exceptions.AlreadyExists):
        await background.task(queue, "t")
    background.clock.advance(DAY + 60)
    await background.task(queue, "t")
    await background.worker.have(2)


async def test_twenty_callers_with_one_name_make_one_task(background: Background, paused: str) -> None:
    outcomes = await asyncio.gather(*(background.task(paused, "t") for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, tasks_v2.Task) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, exceptions.AlreadyExists) for outcome in outcomes) == 19


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": ""}, "HttpRequest.url is required"),
        ({"url": "ftp://a.test/"}, "must start with"),
        ({"url": "http://a.test/" + "x" * 2083}, "2083"),
        ({"url": "http://a.test/" + "\u00e9" * 400}, "2083"),
        ({"http_method": "GET", "body": b"x"}, "only if the HTTP method is"),
        ({"http_method": "DELETE", "body": b"x"}, "only if the HTTP method is"),
        ({"headers": {"X": "x" * 80 * 1024}}, "80KB"),
        ({"headers": {"X Y": "x"}}, "not a valid HTTP header"),
        ({"headers": {"X": "a\r\nY: b"}}, "not a valid HTTP header"),
        ({"body": b"x" * 1024 * 1024}, "maximum size of a task"),
        ({"oidc_token": {"audience": "x"}}, "serviceAccountEmail is required"),
        ({"dispatch_deadline": seconds(14)}, "dispatchDeadline"),
        ({"dispatch_deadline": seconds(1801)}, "dispatchDeadline"),
        ({"retry_config": {"max_attempts": -5}}, "maxAttempts"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_task_that_cannot_be_sent_is_refused(
    lasting: tuple[Background, str], changes: dict[str, Any], said: str
) -> None:
    background, paused = lasting
    with pytest.raises(exceptions.InvalidArgument, match=said):
        await background.task(paused, **changes)
    assert await background.waiting(paused) == []


async def test_a_task_may_be_scheduled_thirty_days_ahead_and_no_further(background: Background, paused: str) -> None:
    now = background.clock.now()
    await background.task(paused, schedule_time=at(now + 30 * DAY - 60))
    with pytest.raises(exceptions.InvalidArgument, match="30 days"):
        await background.task(paused, schedule_time=at(now + 30 * DAY + 60))
    past = await background.task(paused, schedule_time=at(1))
    assert past.schedule_time.timestamp() == pytest.approx(now, abs=5)


@pytest.mark.parametrize("name", ["not a valid id", "", "x" * 501, "a/b"])
async def test_a_task_name_has_the_right_form(lasting: tuple[Background, str], name: str) -> None:
    background, paused = lasting
    with pytest.raises(exceptions.InvalidArgument, match="Task ID"):
        await background.task(paused, name)


async def test_a_task_belongs_to_the_queue_it_is_put_into(background: Background, paused: str) -> None:
    task = tasks_v2.Task({"name": f"{paused}-other/tasks/t", "http_request": {"url": "http://a.test"}})
    with pytest.raises(exceptions.InvalidArgument, match="must be the same as the queue name"):
        await background.tasks.create_task(parent=paused, task=task, timeout=SECONDS)
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        await background.tasks.create_task(parent=f"{LOCATION}/queues/none", task=task, timeout=SECONDS)
    with pytest.raises(exceptions.InvalidArgument, match="httpRequest is required"):
        await background.tasks.create_task(parent=paused, task=tasks_v2.Task(), timeout=SECONDS)


async def test_a_task_that_never_was_is_not_found(background: Background, paused: str) -> None:
    for call in (background.tasks.get_task, background.tasks.delete_task, background.tasks.run_task):
        with pytest.raises(exceptions.NotFound, match="Requested entity was not found"):
            await call(name=f"{paused}/tasks/none", timeout=SECONDS)


async def test_a_batch_makes_what_can_be_made_and_says_what_could_not(background: Background, paused: str) -> None:
    await background.task(paused, "taken")
    good, other = {"http_request": {"url": "http://a.test"}}, {"http_request": {"url": "ftp://a.test"}}
    tasks = [good, other, good | {"name": f"{paused}/tasks/taken"}, good | {"name": f"{paused}/tasks/fresh"}]
    request = {"parent": paused, "request_id": "one", "requests": [{"parent": paused, "task": task} for task in tasks]}
    operation = await background.tasks.batch_create_tasks(request=request, timeout=SECONDS)
    answer = await outcome(operation)
    assert [task.name for task in answer.tasks][1] == f"{paused}/tasks/fresh"
    metadata = operation.metadata
    assert metadata.state == tasks_v2.BatchCreateTasksMetadata.State.PARTIALLY_SUCCEEDED
    assert {index: status.code for index, status in metadata.failed_requests.items()} == {1: 3, 2: 6}
    again = await background.tasks.batch_create_tasks(request=request, timeout=SECONDS)
    assert again.operation == operation.operation
    assert len(await background.waiting(paused)) == 3
    known = await background.tasks.get_operation(request={"name": operation.operation.name}, timeout=SECONDS)
    assert known == operation.operation


async def test_a_batch_deletes_many_and_a_whole_failure_is_an_error(background: Background, paused: str) -> None:
    names = [(await background.task(paused)).name for _ in range(3)]
    operation = await background.tasks.batch_delete_tasks(request={"parent": paused, "names": names}, timeout=SECONDS)
    await outcome(operation)
    assert await background.waiting(paused) == []
    operation = await background.tasks.batch_delete_tasks(request={"parent": paused, "names": names}, timeout=SECONDS)
    with pytest.raises(exceptions.GoogleAPICallError, match="None of the requests succeeded"):
        await outcome(operation)
    for wrong in ([], [f"{LOCATION}/queues/other/tasks/t"], names * 400):
        with pytest.raises(exceptions.InvalidArgument):
            await background.tasks.batch_delete_tasks(request={"parent": paused, "names": wrong}, timeout=SECONDS)


async def test_what_is_not_served_is_refused_in_words(background: Background, paused: str) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="GetIamPolicy"):
        await background.tasks.get_iam_policy(resource=paused, timeout=SECONDS)
