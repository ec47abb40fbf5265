"""The console's pages of what runs in the background: queues and tasks, schedules and their runs, and the time.

What is shown is read from the files that the stand-ins keep; what is done goes through Google's own clients, like
everybody else's calls.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from local.clock import LocalClock
from local.places import HOST, PROJECT, REGION, Places

SHOWN_TASKS: Final = 100
SHOWN_ATTEMPTS: Final = 50
CALL_SECONDS: Final = 5.0
LOCATION: Final = f"projects/{PROJECT}/locations/{REGION}"

Page = Callable[..., Response]


class BackgroundPages:
    """The handlers behind the routes. `page` renders a template."""

    def __init__(self, places: Places, page: Page) -> None:
        self._places = places
        self._page = page
        self._clock = LocalClock(places.clock_file)

    def routes(self) -> list[Route]:
        return [
            Route("/tasks", self.tasks, methods=["GET", "POST"]),
            Route("/scheduler", self.scheduler, methods=["GET", "POST"]),
            Route("/time", self.time, methods=["GET", "POST"]),
        ]

    async def tasks(self, request: Request) -> Response:
        chosen, problem = request.query_params.get("queue", ""), None
        if request.method == "POST":
            typed = await _typed(request)
            chosen = typed.get("queue", "")
            problem = await self._try(self._act_on_tasks(typed))
            if problem is None:
                return RedirectResponse(f"/local/tasks?{urlencode({'queue': chosen})}", 303)
        shown = _queues(self._places.tasks_file, chosen)
        return self._page("tasks.html", **shown, chosen=chosen, problem=problem, **self._now())

    async def scheduler(self, request: Request) -> Response:
        problem = None
        if request.method == "POST":
            problem = await self._try(self._act_on_jobs(await _typed(request)))
            if problem is None:
                return RedirectResponse("/local/scheduler", 303)
        shown = _jobs(self._places.scheduler_file)
        return self._page("scheduler.html", **shown, problem=problem, **self._now())

    async def time(self, request: Request) -> Response:
        """The time of the stand-ins as JSON. POST `{advance_seconds}`, as JSON or as a form, moves it forward."""
        if request.method == "GET":
            return JSONResponse(self._now_as_json())
        is_json = request.headers.get("content-type", "").startswith("application/json")
        try:
            typed: Mapping[str, Any] = await request.json() if is_json else await _typed(request)
            self._clock.advance(float(typed["advance_seconds"]))
        except (json.JSONDecodeError, UnicodeDecodeError):
            return JSONResponse({"detail": "The body is not JSON."}, 400)
        except (KeyError, TypeError, ValueError) as refused:
            reason = str(refused) if isinstance(refused, ValueError) else "Send a number of advance_seconds."
            return JSONResponse({"detail": reason}, 422)
        if is_json:
            return JSONResponse(self._now_as_json())
        return RedirectResponse("/local/tasks" if typed.get("back") == "tasks" else "/local/scheduler", 303)

    def _now_as_json(self) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        return {"now": now.isoformat(timespec="milliseconds"), "ahead_seconds": self._clock.ahead_seconds}

    def _now(self) -> dict[str, Any]:
        return {"now": _told(self._clock.now()), "ahead_seconds": round(self._clock.ahead_seconds)}

    async def _try(self, action: Awaitable[None]) -> str | None:
        """What the stand-in refused with; None where it did not."""
        from google.api_core.exceptions import GoogleAPICallError, RetryError

        try:
            await action
        except (GoogleAPICallError, RetryError, ValueError) as refused:
            return str(getattr(refused, "message", None) or refused)
        return None

    async def _act_on_tasks(self, typed: Mapping[str, str]) -> None:
        import grpc.aio
        from google.cloud import tasks_v2
        from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

        async with grpc.aio.insecure_channel(f"{HOST}:{self._places.background_port}") as channel:
            client = tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
            action = typed.get("action")
            of_queue = {"pause": client.pause_queue, "resume": client.resume_queue, "purge": client.purge_queue}
            of_task = {"run": client.run_task, "delete": client.delete_task}
            if action in of_queue:
                await of_queue[action](name=typed.get("queue", ""), timeout=CALL_SECONDS)
            elif action in of_task:
                await of_task[action](name=typed.get("task", ""), timeout=CALL_SECONDS)
            elif action == "revive":
                task = _revived(self._places.tasks_file, typed.get("letter", ""))
                await client.create_task(parent=typed.get("queue", ""), task=task, timeout=CALL_SECONDS)
            else:
                raise ValueError("There is no such action.")

    async def _act_on_jobs(self, typed: Mapping[str, str]) -> None:
        import grpc.aio
        from google.cloud import scheduler_v1
        from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcAsyncIOTransport

        async with grpc.aio.insecure_channel(f"{HOST}:{self._places.background_port}") as channel:
            client = scheduler_v1.CloudSchedulerAsyncClient(
                transport=CloudSchedulerGrpcAsyncIOTransport(channel=channel)
            )
            actions = {"pause": client.pause_job, "resume": client.resume_job, "run": client.run_job}
            act = actions.get(typed.get("action", ""))
            if act is None:
                raise ValueError("There is no such action.")
            job = typed.get("job", "")
            await act(name=job if "/" in job else f"{LOCATION}/jobs/{job}", timeout=CALL_SECONDS)


async def _typed(request: Request) -> dict[str, str]:
    async with request.form() as form:
        return {name: str(value).strip() for name, value in form.items()}


def _rows(file: Path, query: str, *values: object) -> list[dict[str, Any]]:
    """Rows of a stand-in's file, which only the stand-in writes; none before it has begun."""
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return []
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, values)]
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()


def _queues(file: Path, chosen: str) -> dict[str, Any]:
    from google.cloud.tasks_v2 import types

    counts = _rows(
        file, "select queue, count(*) as waiting, sum(running) as running, min(due) as due from tasks group by queue"
    )
    by_queue = {row["queue"]: row for row in counts}
    dead = _rows(file, "select id, name, queue, died_at, reason from dead order by id desc limit ?", SHOWN_ATTEMPTS)
    queues = [
        _queue(types.Queue.deserialize(row["body"]), by_queue)
        for row in _rows(file, "select body from queues order by name")
    ]
    return {
        "queues": queues,
        "tasks": [_task(row, types) for row in _tasks_of(file, chosen)],
        "attempts": [_attempt(row) for row in _attempts_of(file, chosen)],
        "dead": [{**row, "task": row["name"].rsplit("/", 1)[1], "died_at": _told(row["died_at"])} for row in dead],
    }


def _queue(queue: Any, counts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found = counts.get(queue.name, {"waiting": 0, "running": 0, "due": None})
    return {
        "name": queue.name,
        "short": queue.name.rsplit("/", 1)[1],
        "state": type(queue).State(queue.state).name,
        "rate": f"{queue.rate_limits.max_dispatches_per_second:g}",
        "concurrent": queue.rate_limits.max_concurrent_dispatches,
        "attempts": queue.retry_config.max_attempts,
        "waiting": found["waiting"],
        "running": found["running"],
        "due": _told(found["due"]) if found["due"] is not None else "",
    }


def _tasks_of(file: Path, queue: str) -> list[dict[str, Any]]:
    return _rows(
        file, "select name, due, running, body from tasks where queue = ? order by due, id limit ?", queue, SHOWN_TASKS
    )


def _task(row: Mapping[str, Any], types: Any) -> dict[str, Any]:
    task = types.Task.deserialize(row["body"])
    return {
        "name": row["name"],
        "short": row["name"].rsplit("/", 1)[1],
        "due": _told(row["due"]),
        "running": bool(row["running"]),
        "dispatches": task.dispatch_count,
        "url": task.http_request.url,
        "last": task.last_attempt.response_status.message,
    }


def _attempts_of(file: Path, queue: str) -> list[dict[str, Any]]:
    return _rows(file, "select * from attempts where queue = ? order by id desc limit ?", queue, SHOWN_ATTEMPTS)


def _attempt(row: Mapping[str, Any]) -> dict[str, Any]:
    took = None if row["answered_at"] is None else round((row["answered_at"] - row["dispatched_at"]) * 1000)
    return {
        **row,
        "task": row["task"].rsplit("/", 1)[1],
        "dispatched_at": _told(row["dispatched_at"]),
        "took_ms": took,
        "ok": row["status"] is not None and 200 <= row["status"] <= 299,
    }


def _revived(file: Path, letter: str) -> Any:
    """A new task of a dead letter's request. Raises ValueError where there is no such letter."""
    from google.cloud import tasks_v2

    found = _rows(file, "select body from dead where id = ?", letter)
    if not found:
        raise ValueError("There is no such dead letter.")
    dead = tasks_v2.Task.deserialize(found[0]["body"])
    return tasks_v2.Task(http_request=dead.http_request, dispatch_deadline=dead.dispatch_deadline)


def _jobs(file: Path) -> dict[str, Any]:
    from google.cloud.scheduler_v1 import types

    runs = _rows(file, "select * from runs order by id desc limit ?", SHOWN_ATTEMPTS)
    last = {
        row["job"]: row for row in _rows(file, "select * from runs where id in (select max(id) from runs group by job)")
    }
    jobs = [
        _job(types.Job.deserialize(row["body"]), last) for row in _rows(file, "select body from jobs order by name")
    ]
    return {"jobs": jobs, "runs": [_run(row) for row in runs]}


def _job(job: Any, last: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    run = last.get(job.name)
    return {
        "name": job.name,
        "short": job.name.rsplit("/", 1)[1],
        "state": type(job).State(job.state).name,
        "schedule": job.schedule,
        "zone": job.time_zone,
        "next": _told(job.schedule_time.timestamp()) if "schedule_time" in job else "",
        "description": job.description,
        "last": _run(run) if run else None,
    }


def _run(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "job": row["job"].rsplit("/", 1)[1],
        "scheduled_at": _told(row["scheduled_at"]),
        "started_at": _told(row["started_at"]),
        "took_ms": round((row["ended_at"] - row["started_at"]) * 1000),
        "ok": 200 <= row["status"] <= 299,
    }


def _told(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"
