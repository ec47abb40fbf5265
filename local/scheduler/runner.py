"""Runs jobs when their schedules match, tries them again as they ask for it, and never two executions at once.

An execution that is late because the one before it was still under way starts when that one ends, for the latest tick
that has passed; ticks between the two are dropped, so that a slow job does not fall behind for ever. Ticks that passed
while nothing ran here are not made up: Cloud Scheduler is never off, and what it does not run at its time (a paused
job's ticks) it does not run later.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any, Final

from google.cloud.scheduler_v1 import types
from google.protobuf import timestamp_pb2

from local.backoff import exhausted
from local.clock import LocalClock
from local.delivery import Courier, Outcome, Request
from local.faults import FaultBook
from local.google_identity import GoogleIdentity, access_token
from local.scheduler.cron import BadSchedule
from local.scheduler.messages import backoff_of, cron_of, seconds, short
from local.scheduler.store import Execution, JobStore

USER_AGENT: Final = "Google-Cloud-Scheduler"
INTERRUPTED: Final = 499
_CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
_REPLACED: Final = frozenset({"host", "content-length", "user-agent", "transfer-encoding", "connection"})
_RESERVED: Final = ("x-google-", "x-appengine-", "x-cloudscheduler")
_State = types.Job.State

log = logging.getLogger("local.calls")


class Runner:
    """`run` until cancelled; `poke` after anything that changes when something is due."""

    def __init__(
        self, store: JobStore, clock: LocalClock, courier: Courier, identity: GoogleIdentity, faults: FaultBook
    ) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._identity = identity
        self._faults = faults
        self._wake = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()

    def poke(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        self._leave_out_what_was_missed()
        while True:
            self._wake.clear()
            try:
                more = self._start_what_is_due()
            except Exception:
                log.exception("jobs could not be run; trying again in a second")
                more = self._clock.now() + 1
            await self._clock.until(more, self._wake)

    async def close(self) -> None:
        """Break off what is under way. Its outcome stays unknown, so that it will be tried again."""
        for attempt in self._attempts:
            attempt.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)

    def run_now(self, job: Any) -> None:
        """Run a job beside its schedule."""
        now = self._clock.now()
        self._start(self._store.add(job.name, now, now, forced=True))

    def plan(self, job: Any) -> None:
        """Keep a job with the next tick of its schedule; a schedule that became impossible disables it."""
        try:
            next_at = cron_of(job).after(self._clock.now()) if job.state == _State.ENABLED else None
        except (BadSchedule, StopIteration):
            job.state, next_at = _State.DISABLED, None
        self._keep(job, next_at)

    def _keep(self, job: Any, next_at: float | None) -> None:
        moments = [moment for moment in (next_at, self._store.retry_at(job.name)) if moment is not None]
        job.schedule_time = timestamp(min(moments)) if moments else None
        self._store.keep_job(job, next_at)

    def _leave_out_what_was_missed(self) -> None:
        now = self._clock.now()
        for job in self._store.jobs():
            next_at = self._store.next_at(job.name)
            if next_at is None or next_at > now:
                continue
            for execution in self._store.of_schedule(job.name):
                reason = "interrupted, and its next time had come before anything ran here again"
                self._store.note_run(execution, now, now, INTERRUPTED, reason)
                self._store.drop(execution)
            self.plan(job)

    def _start_what_is_due(self) -> float:
        """Returns when there may be more to start."""
        now = self._clock.now()
        for name in self._store.ticking(now):
            self._tick(name, now)
        for execution in self._chosen(now):
            self._start(execution)
        moments = (self._store.next_tick(), self._store.next_due() if not self._held() else None)
        return min((moment for moment in moments if moment is not None), default=math.inf)

    def _tick(self, name: str, now: float) -> None:
        job = self._store.job(name)
        try:
            scheduled_at = cron_of(job).latest(now)
        except (BadSchedule, StopIteration):
            self.plan(job)
            return
        self._store.add(name, scheduled_at, now, forced=False)
        self.plan(job)

    def _held(self) -> bool:
        """Whether one delivery has to end before the next may begin: the seeded mode."""
        return bool(self._attempts) and self._faults.standing_for_delivery("scheduler", "").seed is not None

    def _chosen(self, now: float) -> list[Execution]:
        waiting = self._store.due(now)
        fault = self._faults.standing_for_delivery("scheduler", "")
        if fault.reorder:
            self._faults.chance("scheduler", fault).shuffle(waiting)
        if fault.seed is None:
            return waiting
        return [] if self._held() else waiting[:1]

    def _start(self, execution: Execution) -> None:
        job, now = self._store.job(execution.job), self._clock.now()
        if job is None:
            self._store.drop(execution)
            return
        execution.attempts += 1
        execution.first_attempt_at = now if execution.first_attempt_at is None else execution.first_attempt_at
        self._store.write(execution, running=True)
        job.last_attempt_time = timestamp(now)
        self._keep(job, self._store.next_at(job.name))
        attempt = asyncio.create_task(self._attempt(job, execution, now), name=job.name)
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)
        attempt.add_done_callback(lambda _: self.poke())

    async def _attempt(self, job: Any, execution: Execution, started_at: float) -> None:
        try:
            request = request_for(job, execution.scheduled_at, self._identity)
            outcome = await self._courier.deliver(short(job.name), request)
        except Exception as error:
            log.exception("%s could not be run", job.name)
            outcome = Outcome(503, False, f"the request cannot be made: {error}")
        self._settle(execution, started_at, outcome)

    def _settle(self, execution: Execution, started_at: float, outcome: Outcome) -> None:
        now, job = self._clock.now(), self._store.job(execution.job)
        if job is None:
            return
        self._store.note_run(execution, started_at, now, outcome.status, outcome.reason)
        code = outcome.code
        job.status = {
            "code": code.value[0],
            "message": "" if outcome.succeeded else f"{code.name}({code.value[0]}): HTTP status code {outcome.status}",
        }
        if outcome.succeeded:
            self._store.drop(execution)
        else:
            self._after_failure(job, execution, now, outcome)
        self._keep(job, self._store.next_at(job.name))

    def _after_failure(self, job: Any, execution: Execution, now: float, outcome: Outcome) -> None:
        retries, next_at = job.retry_config, self._store.next_at(job.name)
        pause = max(backoff_of(job).seconds(execution.attempts), outcome.retry_after_seconds)
        first = execution.first_attempt_at if execution.first_attempt_at is not None else now
        given_up = not retries.retry_count or exhausted(
            attempts=execution.attempts - 1,
            most_attempts=retries.retry_count,
            seconds=now - first,
            most_seconds=seconds(retries.max_retry_duration),
        )
        if given_up or next_at is None or now + pause >= next_at:
            log.warning("%s failed and is not tried again: %s", execution.job, outcome.reason)
            self._store.drop(execution)
            return
        execution.due = now + pause
        self._store.write(execution, running=False)


def request_for(job: Any, scheduled_at: float, identity: GoogleIdentity) -> Request:
    """What the worker is sent for one tick; the same for each of its attempts."""
    target = job.http_target
    headers = {name: value for name, value in target.headers.items() if _may_be_set(name)}
    if target.body and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/octet-stream"
    if "oidc_token" in target or "oauth_token" in target:
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Authorization"] = _credential(target, identity)
    headers |= {
        "User-Agent": USER_AGENT,
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": short(job.name),
        "X-CloudScheduler-ScheduleTime": cron_of(job).written(scheduled_at),
    }
    method = types.HttpMethod(target.http_method).name
    deadline = seconds(job.attempt_deadline)
    # The scheduler documents that of a redirected request the redirected answer counts.
    return Request(method, target.uri, headers, target.body, deadline, follow_redirects=True)


def _may_be_set(name: str) -> bool:
    lower = name.lower()
    return lower not in _REPLACED and not lower.startswith(_RESERVED)


def _credential(target: Any, identity: GoogleIdentity) -> str:
    if "oidc_token" in target:
        wanted = target.oidc_token
        return f"Bearer {identity.id_token(wanted.service_account_email, wanted.audience or target.uri)}"
    asked = target.oauth_token
    return f"Bearer {access_token(asked.service_account_email, asked.scope or _CLOUD_PLATFORM)}"


def timestamp(at: float) -> Any:
    """A point in time as messages take it, to the microsecond."""
    made = timestamp_pb2.Timestamp()
    made.FromMicroseconds(math.floor(at * 1e6))
    return made
