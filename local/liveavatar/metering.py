"""When a session ends by itself, and what it has cost by then. Pure: the caller brings the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from local.liveavatar.settings import CREDITS_PER_MINUTE, IDLE_SECONDS

IDLE_TIMEOUT: Final = "IDLE_TIMEOUT"
MAX_DURATION_REACHED: Final = "MAX_DURATION_REACHED"
NO_CREDITS: Final = "NO_CREDITS"


@dataclass(frozen=True)
class Session:
    """Moments are seconds since the epoch. `seen_at` is the last sign of life of the client."""

    id: str
    mode: str
    avatar_id: str
    context_id: str | None
    is_sandbox: bool
    max_session_duration: int
    created_at: float
    updated_at: float
    started_at: float | None = None
    seen_at: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    minutes: int = 0
    credits_consumed: int = 0

    @property
    def active(self) -> bool:
        return self.started_at is not None and self.ended_at is None

    @property
    def credits_per_minute(self) -> int:
        return 0 if self.is_sandbox else CREDITS_PER_MINUTE[self.mode]

    def duration(self, now: float) -> int:
        """Whole seconds that it has run until its end, or until now."""
        if self.started_at is None:
            return 0
        return max(int((now if self.ended_at is None else self.ended_at) - self.started_at), 0)


def charged(session: Session) -> Session:
    """With one more minute paid for."""
    return replace(
        session, minutes=session.minutes + 1, credits_consumed=session.credits_consumed + session.credits_per_minute
    )


def ended(session: Session, at: float, reason: str) -> Session:
    return replace(session, ended_at=at, end_reason=reason, updated_at=at)


def settled(session: Session, now: float, pay: Callable[[int], bool]) -> Session:
    """The session as time has left it. `pay` takes credits off the account, or says that there are not enough.

    A minute is paid for when it begins. Of things that fall together an end comes first: the minute that would begin
    then is not charged.
    """
    while session.active:
        at, reason = _what_comes_next(session)
        if at > now:
            break
        if reason is not None:
            session = ended(session, at, reason)
        elif pay(session.credits_per_minute):
            session = charged(session)
        else:
            session = ended(session, at, NO_CREDITS)
    return session


def _what_comes_next(session: Session) -> tuple[float, str | None]:
    """The moment and the reason of the end; no reason where the next thing is another minute."""
    assert session.started_at is not None
    assert session.seen_at is not None
    ends = (
        (session.started_at + session.max_session_duration, MAX_DURATION_REACHED),
        (session.seen_at + IDLE_SECONDS, IDLE_TIMEOUT),
    )
    end = min(ends)
    minute = session.started_at + 60 * session.minutes
    return end if end[0] <= minute else (minute, None)
