"""Sends tasks when they are due, within each queue's rate and concurrency, and decides what their outcomes mean.

Everything happens on one event loop: the file says what is due, this says what may go. A task is marked as running in
the file before it is sent, so that whoever starts after a crash knows how often it may have been delivered.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from google.cloud.tasks_v2 import types
from google.protobuf import timestamp_pb2

from local.backoff import exhausted
from local.clock import LocalClock
from local.delivery import Courier, Outcome
from local.faults import FaultBook
from local.google_identity import GoogleIdentity
from local.tasks.messages import DAY, RETENTION_SECONDS, backoff_of, queue_of, seconds, short
from local.tasks.requests import Progress, request_for
from local.tasks.store import Kept, TaskStore

NAME_KEPT_SECONDS: Final = DAY
SENT_AT_ONCE: Final = 200
_FORGET_EVERY_SECONDS: Final = 3600.0
_RUNNING = types.Queue.State.RUNNING

log = logging.getLogger("local.calls")


@dataclass
class _Bucket:
    """Tokens of one queue (https://en.wikipedia.org/wiki/Token_bucket); it begins full."""

    tokens: float
    at: float

    def refill(self, now: float, rate: float, burst: int) -> None:
        self.tokens = min(float(burst), self.tokens + max(now - self.at, 0.0) * rate)
        self.at = now


class Dispatcher:
    """`run` until cancelled; `poke` after anything that may let a task go."""

    def __init__(
        self, store: TaskStore, clock: LocalClock, courier: Courier, identity: GoogleIdentity, faults: FaultBook
    ) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._identity = identity
        self._faults = faults
        self._wake = asyncio.Event()
        self._buckets: dict[str, _Bucket] = {}
        self._running: Counter[str] = Counter()
        self._attempts: set[asyncio.Task[None]] = set()
        self._forget_at = 0.0

    def poke(self) -> None:
        self._wake.set()

    def forget_queue(self, name: str) -> None:
        self._buckets.pop(name, None)

    async def run(self) -> None:
        while True:
            self._wake.clear()
            try:
                moment_of_more = self._send_what_may_go()
            except Exception:
                log.exception("tasks could not be sent; trying again in a second")
                moment_of_more = self._clock.now() + 1
            await self._clock.until(moment_of_more, self._wake)
            # A full queue leaves nothing to wait for; the answers of workers still have to be read.
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Break off what is under way. Its outcome stays unknown, so that it will be sent again."""
        for attempt in self._attempts:
            attempt.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)

    def force(self, kept: Kept) -> None:
        """Send a task now, whatever its schedule, its queue's state and limits; nothing while it runs."""
        queue = self._store.queue(queue_of(kept.name))
        if queue is not None and not kept.running:
            self._start(queue, kept, self._clock.now())

    def _send_what_may_go(self) -> float:
        """Returns when there may be more to send."""
        now = self._clock.now()
        if now >= self._forget_at:
            self._store.forget_names(now)
            self._forget_at = now + _FORGET_EVERY_SECONDS
        queues = [queue for queue in self._store.queues() if queue.state == _RUNNING]
        return min((self._send_of(queue, now) for queue in queues), default=math.inf)

    def _send_of(self, queue: Any, now: float) -> float:
        limits = queue.rate_limits
        rate, burst = limits.max_dispatches_per_second, limits.max_burst_size
        bucket = self._buckets.setdefault(queue.name, _Bucket(float(burst), now))
        bucket.refill(now, rate, burst)
        room = min(self._free(queue), int(bucket.tokens), SENT_AT_ONCE)
        for kept in self._chosen(queue, now, room) if room > 0 else ():
            bucket.tokens -= 1
            self._start(queue, kept, now)
        due = self._store.next_due(queue.name)
        if due is None or due > now:
            return math.inf if due is None else due
        if self._free(queue) <= 0:
            return math.inf
        return now + max(1 - bucket.tokens, 0.0) / float(rate)

    def _free(self, queue: Any) -> int:
        if self._faults.standing_for_delivery("tasks", short(queue.name)).seed is not None:
            return 0 if self._attempts else 1
        return int(queue.rate_limits.max_concurrent_dispatches) - self._running[queue.name]

    def _chosen(self, queue: Any, now: float, room: int) -> list[Kept]:
        fault = self._faults.standing_for_delivery("tasks", short(queue.name))
        if not fault.reorder:
            return self._store.due(queue.name, now, room)
        waiting = self._store.due(queue.name, now, SENT_AT_ONCE)
        self._faults.chance("tasks", fault).shuffle(waiting)
        return waiting[:room]

    def _start(self, queue: Any, kept: Kept, now: float) -> None:
        task = kept.task
        task.dispatch_count += 1
        if task.dispatch_count == 1:
            task.first_attempt = types.Attempt(dispatch_time=moment(now))
        task.last_attempt = types.Attempt(schedule_time=moment(kept.due), dispatch_time=moment(now))
        number = self._store.begin_attempt(kept, queue.name, now)
        self._running[queue.name] += 1
        attempt = asyncio.create_task(self._attempt(queue, kept, number), name=task.name)
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)
        # After the attempt is out of the set: in the seeded mode the next one waits for that.
        attempt.add_done_callback(lambda _: self.poke())

    async def _attempt(self, queue: Any, kept: Kept, number: int) -> None:
        progress = Progress(kept.task.dispatch_count - 1, kept.executions, kept.previous_status, kept.due)
        try:
            request = request_for(kept.task, queue, progress, self._identity)
            outcome = await self._courier.deliver(short(queue.name), request)
        except Exception as error:
            log.exception("%s could not be sent", kept.name)
            outcome = Outcome(503, False, f"the request cannot be made: {error}")
        finally:
            self._running[queue.name] -= 1
        self._settle(kept, number, outcome)

    def _settle(self, kept: Kept, number: int, outcome: Outcome) -> None:
        now = self._clock.now()
        self._store.end_attempt(number, now, outcome.status, outcome.reason)
        queue = self._store.queue(queue_of(kept.name))
        if queue is None or not self._store.exists(kept):
            return
        _note(kept, outcome, now)
        if outcome.succeeded:
            self._store.remove(kept, queue.name, now + NAME_KEPT_SECONDS)
            return
        retries = kept.task.retry_config if "retry_config" in kept.task else queue.retry_config
        reason = _given_up(kept, retries, now)
        if reason is not None:
            log.warning("%s is given up: %s; the last attempt %s", kept.name, reason, outcome.reason)
            self._store.bury(
                kept, queue.name, now, f"{reason}; the last attempt {outcome.reason}", now + NAME_KEPT_SECONDS
            )
            return
        pause = max(backoff_of(retries).seconds(kept.task.dispatch_count), outcome.retry_after_seconds)
        kept.due = min(now + pause, kept.created_at + RETENTION_SECONDS)
        kept.task.schedule_time = moment(kept.due)
        self._store.put_back(kept)


def _note(kept: Kept, outcome: Outcome, now: float) -> None:
    """Write the outcome into the task, as the service shows it."""
    code = outcome.code
    number = code.value[0]
    kept.task.response_count += outcome.answered
    kept.task.last_attempt.response_time = moment(now)
    kept.task.last_attempt.response_status = {
        "code": number,
        "message": "" if outcome.succeeded else f"{code.name}({number}): HTTP status code {outcome.status}",
    }
    kept.executions += outcome.answered and outcome.status < 500
    kept.previous_status = outcome.status


def _given_up(kept: Kept, retries: Any, now: float) -> str | None:
    """Why a task that failed is not tried again; None where it is."""
    first = kept.first_attempt_at if kept.first_attempt_at is not None else now
    if exhausted(
        attempts=kept.task.dispatch_count,
        most_attempts=None if retries.max_attempts == -1 else retries.max_attempts,
        seconds=now - first,
        most_seconds=seconds(retries.max_retry_duration),
    ):
        return f"its {kept.task.dispatch_count} attempts failed"
    if now >= kept.created_at + RETENTION_SECONDS:
        return "it is older than the 31 days that tasks are kept"
    return None


def moment(at: float) -> Any:
    """A point in time as messages take it, to the microsecond."""
    made = timestamp_pb2.Timestamp()
    made.FromMicroseconds(math.floor(at * 1e6))
    return made
