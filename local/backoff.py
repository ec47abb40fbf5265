"""How long Cloud Tasks and Cloud Scheduler wait between attempts, and when they give up. Both document it alike:
https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2#retryconfig
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Pauses grow from `min_seconds`, double `max_doublings` times, then grow evenly, and stay at `max_seconds`."""

    min_seconds: float
    max_seconds: float
    max_doublings: int

    def seconds(self, failures: int) -> float:
        """The pause after so many failed attempts (1 or more)."""
        step = failures - 1
        if step <= self.max_doublings:
            # A float's exponent ends at 1023; long before, the longest pause is reached.
            pause = self.min_seconds * 2.0 ** min(step, 500)
        else:
            pause = self.min_seconds * 2.0 ** min(self.max_doublings, 500) * (step - self.max_doublings + 1)
        return min(pause, self.max_seconds)


def exhausted(*, attempts: int, most_attempts: int | None, seconds: float, most_seconds: float) -> bool:
    """Whether a task is given up after `attempts`, `seconds` after the first of them.

    A limit that is not set (None; 0 seconds) does not count. Where both are set, both must be reached.
    """
    reached = []
    if most_attempts is not None:
        reached.append(attempts >= most_attempts)
    if most_seconds > 0:
        reached.append(seconds >= most_seconds)
    return bool(reached) and all(reached)
