"""What the queues and schedules that call functions must agree with their functions, and with the services' limits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from infra.catalogue.manifest import job_of
from shared.http.declaration import Caller, Function, Operation, Queue, Schedule

_DEADLINE_SECONDS = (15, 1800)
_QUEUE_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")
_JOB_NAME = re.compile(r"[A-Za-z0-9_-]{1,500}")
_MOST_DISPATCHES_PER_SECOND, _MOST_CONCURRENT, _MOST_RETRIES = 500, 5000, 5


def shared_names(functions: Sequence[Function]) -> list[str]:
    """A sentence for each queue that is declared in two ways, and for each job name that is declared twice."""
    operations = [operation for function in functions for operation in function.operations]
    declared = {operation.queue for operation in operations if operation.queue is not None}
    found = [
        f"the queue {name} is declared in {count} ways"
        for name, count in Counter(queue.name for queue in declared).items()
        if count > 1
    ]
    jobs = Counter(job_of(operation) for operation in operations if operation.schedule is not None)
    return found + [f"the schedule {name} is declared {count} times" for name, count in jobs.items() if count > 1]


def contradictions(function: Function) -> Iterator[str]:
    """A sentence for each thing that is wrong with a function's triggers."""
    for operation in function.operations:
        yield from _belongs(operation)
        if operation.queue is not None:
            yield from _queue(operation.queue, function)
        if operation.schedule is not None:
            yield from _schedule(operation, operation.schedule, function)


def _belongs(operation: Operation) -> Iterator[str]:
    if (operation.caller is Caller.QUEUE) != (operation.queue is not None):
        yield f"{operation.route}: the caller `queue` and a declared queue go together: it has one without the other"
    if (operation.caller is Caller.SCHEDULER) != (operation.schedule is not None):
        yield f"{operation.route}: the caller `scheduler` and a schedule go together: it has one without the other"


def _queue(queue: Queue, function: Function) -> Iterator[str]:
    if not _QUEUE_NAME.fullmatch(queue.name):
        yield f"{queue.name!r} cannot be a queue's name: letters, digits and hyphens, at most 100"
    if not 0 < queue.dispatches_per_second <= _MOST_DISPATCHES_PER_SECOND:
        yield f"the queue {queue.name} must dispatch more than 0 and at most {_MOST_DISPATCHES_PER_SECOND} a second"
    if not 1 <= queue.concurrent_dispatches <= _MOST_CONCURRENT:
        yield f"the queue {queue.name} must have between 1 and {_MOST_CONCURRENT} dispatches at once"
    if queue.attempts == 0 or queue.attempts < -1:
        yield f"the queue {queue.name} needs a number of attempts, or -1 for no limit"
    if not 0 < queue.min_backoff_seconds <= queue.max_backoff_seconds:
        yield f"the queue {queue.name} must begin with a pause that is no longer than its longest"
    yield from _deadline(f"the queue {queue.name}", queue.deadline_seconds, function)


def _schedule(operation: Operation, schedule: Schedule, function: Function) -> Iterator[str]:
    job = job_of(operation)
    if not _JOB_NAME.fullmatch(job):
        yield f"{operation.path} does not end with what can be a job's name"
    if len(schedule.cron.split()) != 5:
        yield f"the schedule {job} is not in unix-cron format: five fields"
    if not _is_zone(schedule.zone):
        yield f"the schedule {job} names a zone that is not in the tz database"
    if not 0 <= schedule.retries <= _MOST_RETRIES:
        yield f"the schedule {job} must have between 0 and {_MOST_RETRIES} retries"
    yield from _deadline(f"the schedule {job}", schedule.deadline_seconds, function)


def _deadline(named: str, seconds: int, function: Function) -> Iterator[str]:
    least, most = _DEADLINE_SECONDS
    if not least <= seconds <= most:
        yield f"{named} must have a deadline between {least} and {most} s"
    elif seconds < function.timeout_seconds:
        yield f"{named} gives up after {seconds} s, while the function may go on for {function.timeout_seconds} s"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
