"""When a session of LiveAvatar's stand-in ends and what it costs, whoever looks at it and however often."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from local.liveavatar.metering import MAX_DURATION_REACHED, Session, charged, settled
from local.liveavatar.settings import IDLE_SECONDS

_START = 1_000_000.0
_MOMENTS = st.lists(st.floats(0, 4000), min_size=1, max_size=12).map(sorted)


class Purse:
    def __init__(self, credits_left: int) -> None:
        self.left = credits_left

    def pay(self, credit: int) -> bool:
        if self.left < credit:
            return False
        self.left -= credit
        return True


def started(*, mode: str = "LITE", most: int = 1800, sandbox: bool = False) -> Session:
    session = Session("s", mode, "a", None, sandbox, most, _START, _START, started_at=_START, seen_at=_START)
    return charged(session)


def looked_at(session: Session, purse: Purse, moments: list[float]) -> Session:
    for moment in moments:
        session = settled(session, _START + moment, purse.pay)
    return session


@given(moments=_MOMENTS, most=st.integers(1, 2000), left=st.integers(0, 40), mode=st.sampled_from(["LITE", "FULL"]))
def test_looking_often_and_looking_once_come_to_the_same(moments: list[float], most: int, left: int, mode: str) -> None:
    often, once = Purse(left), Purse(left)
    session = started(mode=mode, most=most)
    assert looked_at(session, often, moments) == looked_at(session, once, moments[-1:])
    assert often.left == once.left


@given(moments=_MOMENTS, most=st.integers(1, 2000), left=st.integers(0, 40), mode=st.sampled_from(["LITE", "FULL"]))
def test_what_is_consumed_is_what_was_taken_for_each_minute_begun(
    moments: list[float], most: int, left: int, mode: str
) -> None:
    purse = Purse(left)
    first = started(mode=mode, most=most)
    session = looked_at(first, purse, moments)
    assert session.credits_consumed - first.credits_consumed == left - purse.left
    ran = session.duration(_START + moments[-1])
    assert ran <= min(most, IDLE_SECONDS)
    exact = (session.ended_at or _START + moments[-1]) - _START
    begun = math.ceil(exact / 60) if session.ended_at is not None else int(exact // 60) + 1
    assert session.minutes == max(begun, 1)


@given(moments=_MOMENTS)
def test_the_sandbox_costs_nothing(moments: list[float]) -> None:
    purse = Purse(0)
    session = looked_at(started(sandbox=True, most=60), purse, moments)
    assert session.credits_consumed == 0
    assert session.end_reason in {None, MAX_DURATION_REACHED}


def test_an_ended_session_stays_as_it_is() -> None:
    purse = Purse(10)
    session = looked_at(started(most=30), purse, [31])
    assert looked_at(session, purse, [5000]) == session
    assert looked_at(replace(session, ended_at=None, end_reason=None), purse, [20]).active
