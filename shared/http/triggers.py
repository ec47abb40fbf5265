"""What calls an operation where no client does: a queue with its rates, or a schedule. Parts of the declaration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Queue:
    """The queue that calls an operation (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues).

    A task is given up after `attempts`, or later, after `retry_seconds` where those are more than 0. Pauses begin at
    `min_backoff_seconds`, double `doublings` times, then grow evenly up to `max_backoff_seconds`. `deadline_seconds`
    is what whoever makes a task gives it as dispatch deadline: 15 s to 30 min, and no less than the function's timeout.
    """

    name: str
    dispatches_per_second: float = 10.0
    concurrent_dispatches: int = 10
    attempts: int = 10
    retry_seconds: int = 0
    min_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 300.0
    doublings: int = 8
    deadline_seconds: int = 600


@dataclass(frozen=True)
class Schedule:
    """When the scheduler calls an operation; the job's name is the last part of the operation's path.

    `cron` are the five fields of unix-cron, on the wall clock of `zone`. `deadline_seconds` is 15 s to 30 min, and no
    less than the function's timeout; `retries` 0 to 5, with pauses of `min_backoff_seconds` and more.
    """

    cron: str
    zone: str = "Etc/UTC"
    deadline_seconds: int = 60
    retries: int = 0
    min_backoff_seconds: int = 5
