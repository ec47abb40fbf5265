"""The console's pages of queues, schedules and the time: what they show, what their buttons do, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from google.cloud import tasks_v2

from local.gateway.console import console
from local.places import Places
from tests.support.background import SECONDS, Background, job_name, open_background, seconds, until
from tests.support.gateway import free_socket, served


@dataclass
class Looked:
    """A console over running stand-ins, and what is behind it."""

    client: httpx.AsyncClient
    background: Background

    async def page(self, path: str) -> str:
        answer = await self.client.get(path)
        assert answer.status_code == 200
        return answer.text

    async def press(self, path: str, **form: str) -> httpx.Response:
        return await self.client.post(path, data=form)


@pytest.fixture
async def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Looked]:
    async with open_background(tmp_path) as background:
        monkeypatch.setattr(Places, "background_port", background.port)
        listening = free_socket()
        places = Places(background.places.data, listening.getsockname()[1])
        async with (
            served(console(places, {}), listening) as base,
            httpx.AsyncClient(base_url=base, trust_env=False) as client,
        ):
            yield Looked(client, background)


async def test_before_anything_happened_the_pages_say_so(looked: Looked) -> None:
    assert "There is no queue yet" in await looked.page("/local/tasks")
    assert "There is no job yet" in await looked.page("/local/scheduler")


async def test_a_queue_its_tasks_and_its_attempts_are_shown_escaped(looked: Looked) -> None:
    background = looked.background
    background.worker.answers = [503]
    queue = await background.queue("segments")
    await background.task(queue, "one", url=f"{background.worker.url}/tasks/<b>?a=\"'")
    await background.worker.have(1)
    await until(lambda: background.worker.at_work == 0)
    page = await looked.page(f"/local/tasks?queue={queue}")
    assert "segments" in page
    assert "one" in page
    assert "answered 503" in page
    assert "<b>" not in page


async def test_the_buttons_of_a_queue_do_what_they_say(looked: Looked) -> None:
    background = looked.background
    queue = await background.queue("q")
    assert (await looked.press("/local/tasks", action="pause", queue=queue)).status_code == 303
    await background.task(queue, "one")
    await background.task(queue, "two")
    assert "PAUSED" in await looked.page("/local/tasks")
    await looked.press("/local/tasks", action="run", queue=queue, task=f"{queue}/tasks/one")
    assert (await background.worker.have(1))[0].headers["x-cloudtasks-taskname"] == "one"
    await looked.press("/local/tasks", action="delete", queue=queue, task=f"{queue}/tasks/two")
    await background.task(queue, "three")
    await looked.press("/local/tasks", action="purge", queue=queue)
    assert await background.waiting(queue) == []
    await looked.press("/local/tasks", action="resume", queue=queue)
    state = (await background.tasks.get_queue(name=queue, timeout=SECONDS)).state
    assert state == tasks_v2.Queue.State.RUNNING


async def test_a_dead_letter_is_shown_and_can_be_sent_again(looked: Looked) -> None:
    background = looked.background
    background.worker.answers = [500]
    queue = await background.queue("q", retry_config={"max_attempts": 1, "min_backoff": seconds(1)})
    await background.task(queue, "doomed", body=b"the work", headers={"X-Own": "1"})

    async def buried() -> bool:
        return "doomed" in await looked.page("/local/tasks")

    await until(buried)
    answer = await looked.press("/local/tasks", action="revive", queue=queue, letter="1")
    assert answer.status_code == 303
    arrivals = await background.worker.have(2)
    assert (arrivals[1].body, arrivals[1].headers["x-own"]) == (b"the work", "1")
    assert arrivals[1].headers["x-cloudtasks-taskname"] != "doomed"


async def test_the_buttons_of_a_job_do_what_they_say_and_its_runs_are_shown(looked: Looked) -> None:
    background = looked.background
    await background.job("tidy")
    assert "never" in await looked.page("/local/scheduler")
    assert (await looked.press("/local/scheduler", action="run", job="tidy")).status_code == 303
    await background.worker.have(1)

    async def shown() -> bool:
        return "answered 200" in await looked.page("/local/scheduler")

    await until(shown)
    assert "by hand" in await looked.page("/local/scheduler")
    await looked.press("/local/scheduler", action="pause", job=job_name("tidy"))
    assert "PAUSED" in await looked.page("/local/scheduler")
    refused = await looked.press("/local/scheduler", action="pause", job=job_name("tidy"))
    assert refused.status_code == 200
    assert 'role="alert"' in refused.text
    await looked.press("/local/scheduler", action="resume", job="tidy")
    assert "ENABLED" in await looked.page("/local/scheduler")


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/local/tasks", {"action": "explode"}),
        ("/local/tasks", {"action": "purge", "queue": "no name"}),
        ("/local/tasks", {"action": "run", "task": "<script>"}),
        ("/local/tasks", {"action": "revive", "letter": "99"}),
        ("/local/tasks", {}),
        ("/local/scheduler", {"action": "run", "job": "none"}),
        ("/local/scheduler", {"action": "explode", "job": "none"}),
    ],
)
async def test_what_cannot_be_done_is_said_in_the_page(looked: Looked, path: str, form: dict[str, str]) -> None:
    answer = await looked.press(path, **form)
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text


async def test_the_clock_is_moved_by_json_and_by_the_form(looked: Looked) -> None:
    before = (await looked.client.get("/local/time")).json()
    assert before["ahead_seconds"] == 0
    moved = await looked.client.post("/local/time", json={"advance_seconds": 90.5})
    assert (moved.status_code, moved.json()["ahead_seconds"]) == (200, 90.5)
    form = await looked.press("/local/time", advance_seconds="9.5", back="tasks")
    assert (form.status_code, form.headers["location"]) == (303, "/local/tasks")
    assert looked.background.clock.ahead_seconds == 100
    assert "100 s ahead" in await looked.page("/local/scheduler")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"advance_seconds": -1}', 422),
        (b'{"advance_seconds": "soon"}', 422),
        (b'{"advance_seconds": 1e12}', 422),
        (b'{"advance_seconds": NaN}', 422),
        (b"{}", 422),
        (b"[]", 422),
        (b"7", 422),
        (b"{", 400),
    ],
)
async def test_the_clock_does_not_take_what_is_no_time(looked: Looked, body: bytes, status: int) -> None:
    answer = await looked.client.post("/local/time", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert looked.background.clock.ahead_seconds == 0


async def test_two_who_move_the_clock_at_once_both_move_it(looked: Looked) -> None:
    moves = (looked.client.post("/local/time", json={"advance_seconds": 1}) for _ in range(10))
    assert {answer.status_code for answer in await asyncio.gather(*moves)} == {200}
    assert looked.background.clock.ahead_seconds == 10


@pytest.mark.parametrize("path", ["/local/tasks", "/local/scheduler", "/local/time"])
async def test_another_site_moves_nothing(looked: Looked, path: str) -> None:
    form = {"action": "run", "job": "tidy", "advance_seconds": "60"}
    answer = await looked.client.post(path, data=form, headers={"Origin": "http://evil.test"})
    assert answer.status_code == 403
    assert (await looked.client.get(path, headers={"Host": "evil.test"})).status_code == 403
    assert looked.background.clock.ahead_seconds == 0
