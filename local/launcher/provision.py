"""Makes the queues and schedules that the functions declare, as Terraform does in the cloud; may be run again.

A queue or job that exists is brought to what is declared, its state (paused or not) left alone. A job of ours that is
declared no more is deleted, as it would call nobody; a queue stays, since it may hold tasks and its name would be lost
for seven days.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import grpc
from google.api_core.exceptions import AlreadyExists
from google.cloud import scheduler_v1, tasks_v2
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcTransport
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf import duration_pb2

from infra.catalogue.manifest import job_of
from local.launcher.environment import SCHEDULER_ACCOUNT
from local.places import HOST, PROJECT, REGION
from shared.http.declaration import Function, Operation, Queue, Schedule
from shared.runtime.services import root_of

LOCATION: Final = f"projects/{PROJECT}/locations/{REGION}"
CALL_SECONDS: Final = 10.0
# How a job tells that it was made from a declaration.
MARK: Final = "Declared by "


def provision(functions: Sequence[Function], port: int) -> None:
    """Bring queues and schedules to what `functions` declare. `port` serves both APIs."""
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        tasks = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        for queue in _queues(functions):
            tasks.update_queue(queue=_queue(queue), timeout=CALL_SECONDS)
        _provision_jobs(functions, channel)


def _provision_jobs(functions: Sequence[Function], channel: Any) -> None:
    jobs = scheduler_v1.CloudSchedulerClient(transport=CloudSchedulerGrpcTransport(channel=channel))
    declared = {
        job.name: job
        for function in functions
        for operation in function.operations
        if operation.schedule is not None
        for job in (_job(function, operation, operation.schedule),)
    }
    for job in declared.values():
        try:
            jobs.create_job(parent=LOCATION, job=job, timeout=CALL_SECONDS)
        except AlreadyExists:
            jobs.update_job(job=job, timeout=CALL_SECONDS)
    for job in jobs.list_jobs(parent=LOCATION, timeout=CALL_SECONDS):
        if job.name not in declared and job.description.startswith(MARK):
            jobs.delete_job(name=job.name, timeout=CALL_SECONDS)


def _queues(functions: Sequence[Function]) -> Iterator[Queue]:
    operations = [operation for function in functions for operation in function.operations]
    yield from {operation.queue for operation in operations if operation.queue is not None}


def _queue(queue: Queue) -> Any:
    return tasks_v2.Queue(
        name=f"{LOCATION}/queues/{queue.name}",
        rate_limits={
            "max_dispatches_per_second": queue.dispatches_per_second,
            "max_concurrent_dispatches": queue.concurrent_dispatches,
        },
        retry_config={
            "max_attempts": queue.attempts,
            "max_retry_duration": _duration(queue.retry_seconds),
            "min_backoff": _duration(queue.min_backoff_seconds),
            "max_backoff": _duration(queue.max_backoff_seconds),
            "max_doublings": queue.doublings,
        },
    )


def _job(function: Function, operation: Operation, schedule: Schedule) -> Any:
    root = root_of(function.name)
    return scheduler_v1.Job(
        name=f"{LOCATION}/jobs/{job_of(operation)}",
        description=f"{MARK}{function.name}: {operation.summary}"[:500],
        schedule=schedule.cron,
        time_zone=schedule.zone,
        attempt_deadline=_duration(schedule.deadline_seconds),
        retry_config={
            "retry_count": schedule.retries,
            "min_backoff_duration": _duration(schedule.min_backoff_seconds),
        },
        http_target={
            "uri": root + operation.path,
            "http_method": operation.method,
            "oidc_token": {"service_account_email": SCHEDULER_ACCOUNT, "audience": root},
        },
    )


def _duration(seconds: float) -> duration_pb2.Duration:
    made = duration_pb2.Duration()
    made.FromMilliseconds(round(seconds * 1000))
    return made
