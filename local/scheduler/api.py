"""The API of Cloud Scheduler v1 (google.cloud.scheduler.v1) over the kept jobs.

Semantics: the client's types and https://cloud.google.com/scheduler/docs/reference/rpc/google.cloud.scheduler.v1.
Pub/Sub and App Engine targets and locations are refused in words.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any, Final

import grpc
from google.cloud.scheduler_v1 import types
from google.protobuf import empty_pb2

from local.clock import LocalClock
from local.refusals import Refusal, failed_precondition, invalid, not_found
from local.scheduler import messages
from local.scheduler.messages import checked_job_name, checked_location
from local.scheduler.runner import Runner, timestamp
from local.scheduler.store import JobStore

MAX_PAGE: Final = 500
MAX_JOBS: Final = 5000
_State = types.Job.State


class SchedulerApi:
    """Methods named as in the API; each is done on the event loop, in turn."""

    def __init__(self, store: JobStore, runner: Runner, clock: LocalClock) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock

    async def CreateJob(self, request: Any) -> Any:  # noqa: N802 - named by the API
        location = checked_location(request.parent)
        job = types.Job.deserialize(types.Job.serialize(request.job))
        job.name = checked_job_name(job.name or f"{location}/jobs/{secrets.randbelow(9 * 10**18) + 10**18}")
        if messages.location_of(job.name) != location:
            raise invalid("The job name must begin with the name of the parent location.")
        if self._store.job(job.name) is not None:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"Job {job.name} already exists.")
        if len(self._store.jobs(location)) >= MAX_JOBS:
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "The location has as many jobs as it may have.")
        messages.completed_job(job)
        job.status = job.last_attempt_time = None
        job.state = _State.ENABLED
        return self._planned(job)

    async def GetJob(self, request: Any) -> Any:  # noqa: N802 - named by the API
        return self._job(request.name)

    async def ListJobs(self, request: Any) -> Any:  # noqa: N802 - named by the API
        location = checked_location(request.parent)
        if request.page_size < 0:
            raise invalid("The page size cannot be negative.")
        size = min(request.page_size or MAX_PAGE, MAX_PAGE)
        jobs = self._store.jobs(location, _after(request.page_token))
        more = base64.urlsafe_b64encode(jobs[size - 1].name.encode()).decode() if len(jobs) > size else ""
        return types.ListJobsResponse(jobs=jobs[:size], next_page_token=more)

    async def UpdateJob(self, request: Any) -> Any:  # noqa: N802 - named by the API
        stored = self._job(request.job.name)
        job = messages.completed_job(messages.merged_job(stored, request.job, request.update_mask))
        if job.state == _State.DISABLED:
            job.state = _State.ENABLED
        return self._planned(job)

    async def DeleteJob(self, request: Any) -> Any:  # noqa: N802 - named by the API
        self._store.drop_job(self._job(request.name).name)
        return empty_pb2.Empty()

    async def PauseJob(self, request: Any) -> Any:  # noqa: N802 - named by the API
        job = self._job(request.name)
        if job.state != _State.ENABLED:
            raise failed_precondition("A job must be enabled to be paused.")
        self._store.drop_waiting(job.name)
        job.state = _State.PAUSED
        return self._replanned(job)

    async def ResumeJob(self, request: Any) -> Any:  # noqa: N802 - named by the API
        job = self._job(request.name)
        if job.state != _State.PAUSED:
            raise failed_precondition("A job must be paused to be resumed.")
        job.state = _State.ENABLED
        return self._replanned(job)

    async def RunJob(self, request: Any) -> Any:  # noqa: N802 - named by the API
        self._runner.run_now(self._job(request.name))
        return self._job(request.name)

    def _job(self, name: str) -> Any:
        job = self._store.job(checked_job_name(name))
        if job is None:
            raise not_found("Job not found.")
        return job

    def _planned(self, job: Any) -> Any:
        job.user_update_time = timestamp(self._clock.now())
        return self._replanned(job)

    def _replanned(self, job: Any) -> Any:
        self._runner.plan(job)
        self._runner.poke()
        return job


def _after(token: str) -> str:
    """The name that the last page ended with; empty at the first page."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise invalid("The page token is invalid.") from None
