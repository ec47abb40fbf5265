"""A person, the provider, crashes and the clock against the quota, in any order: what must hold after every step.

The machine keeps books of its own, from what the functions answered and what it moved itself, and compares them with
the quota, the sessions and the ledger. A crash between two calls is a call that never comes: every rule may simply not
be followed by the next one.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.avatars import ENDED, AvatarTime
from tests.support.database import Database, DatabasePerson, shared_database, unless

SECONDS = st.integers(1, 1200)


def administrator(database: Database) -> DatabasePerson:
    person = database.person()
    database.run("update public.users set is_admin = true where id = %s", person.id)
    return person


class AvatarMachine(RuleBasedStateMachine):
    administrators: dict[int, DatabasePerson] = {}  # noqa: RUF012 - one for each database, shared by all runs
    steps_taken = 0

    @initialize()
    def somebody(self) -> None:
        database = shared_database()
        self.admin = self.administrators.setdefault(id(database), administrator(database))
        self.time = AvatarTime(database.person())
        self.database = database
        self.period = 0
        self.limits = {0: 900}
        self.plan, self.lasting = 900, 0
        self.current: dict[str, Any] | None = None
        self.reserved_in: dict[str, tuple[int, int]] = {}
        self.ended: dict[str, tuple[int, int]] = {}
        self.charged: dict[int, int] = {}
        self.time.quota()

    # What the person does

    @rule(seconds=SECONDS)
    def reserve(self, seconds: int) -> None:
        remaining = self.limits[self.period] - self.taken()
        expected = "avatar_session_live" if self.current else "quota_exhausted"
        session = unless(expected, lambda: self.time.reserve(seconds))
        if session is None:
            assert self.current or remaining <= 0
            return
        assert not self.current
        assert session["reserved_seconds"] == min(seconds, remaining)
        self.current = session
        self.reserved_in[session["id"]] = (self.period, session["reserved_seconds"])

    @precondition(lambda self: not self.current)
    @rule(seconds=SECONDS)
    def reserve_and_run(self, seconds: int) -> None:
        """What people mostly do, so that short runs reach what happens to a live session."""
        self.reserve(seconds)
        if self.current:
            self.begin()
            self.start()

    @precondition(lambda self: self.current)
    @rule()
    def begin(self) -> None:
        self.attempt("begin_avatar_session", "token_used")

    @precondition(lambda self: self.current)
    @rule()
    def start(self) -> None:
        assert self.current
        session_id = self.current["id"]
        unless("avatar_session_not_begun", lambda: self.time.start(session_id))

    @precondition(lambda self: self.current)
    @rule()
    def heartbeat(self) -> None:
        self.attempt("keep_avatar_alive", "avatar_session_ended")

    @precondition(lambda self: self.current)
    @rule(by_token=st.booleans())
    def stop(self, by_token: bool) -> None:
        assert self.current
        if by_token:
            stopped = self.time.by_token("stop_avatar_by_token", self.current["token"])
        else:
            stopped = self.time.person.serve("stop_avatar_session", p_session_id=self.current["id"])
        if stopped["status"] == "released":
            self.end(self.current["id"], 0, 0)

    # What the provider tells, in any order and more than once

    @precondition(lambda self: self.reserved_in)
    @rule(data=st.data(), seconds=st.integers(0, 1500))
    def provider_record(self, data: st.DataObject, seconds: int) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.reserved_in)))
        told = unless("avatar_session_not_begun", lambda: self.time.settle(session_id, seconds))
        if told is None:
            return
        assert told["changed"] == (session_id not in self.ended)
        if told["changed"]:
            self.end(session_id, told["settled_seconds"], told["absorbed_seconds"])
            assert told["settled_seconds"] + told["absorbed_seconds"] == seconds

    @precondition(lambda self: self.reserved_in)
    @rule(data=st.data(), never_ran=st.booleans())
    def release(self, data: st.DataObject, never_ran: bool) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.reserved_in)))
        told = unless("avatar_session_may_run", lambda: self.time.release(session_id, never_ran=never_ran))
        if told is None:
            return
        assert told["changed"] == (session_id not in self.ended)
        if told["changed"]:
            assert told["status"] == "released"
            self.end(session_id, 0, 0)

    @precondition(lambda self: self.current)
    @rule(alive=st.integers(0, 2000))
    def a_day_without_a_record(self, alive: int) -> None:
        assert self.current
        session_id = self.current["id"]
        self.database.run(
            "update public.avatar_sessions set started_at = now() - interval '50 hours', expires_at ="
            " now() - interval '25 hours', ended_at = null, last_keep_alive_at = now() - interval '50 hours'"
            " + make_interval(secs => %s), status = 'live' where id = %s and started_at is not null",
            alive, session_id,
        )  # fmt: skip
        self.database.call("estimate_avatar_sessions", p_limit=1000)
        status, settled, absorbed = self.stored(session_id)
        if status in ENDED:
            assert settled == min(alive, self.reserved_in[session_id][1])
            self.end(session_id, settled, absorbed)

    # What goes on around them

    @precondition(lambda self: self.current)
    @rule()
    def nobody_begins_in_time(self) -> None:
        assert self.current
        self.database.run(
            "update public.avatar_sessions set expires_at = now() where id = %s and status = 'reserved'",
            self.current["id"],
        )
        self.database.call("release_expired_reservations", p_limit=1000)
        if self.stored(self.current["id"])[0] == "released":
            self.end(self.current["id"], 0, 0)

    @rule(by_schedule=st.booleans())
    def the_period_ends(self, by_schedule: bool) -> None:
        self.time.end_period()
        if by_schedule:
            self.database.call("reset_avatar_quotas", p_limit=1000)
        self.time.quota()
        self.period += 1
        self.limits[self.period] = self.plan + self.lasting

    @rule(seconds=st.integers(1, 500), lasting=st.booleans())
    def grant(self, seconds: int, lasting: bool) -> None:
        self.change(grant={"seconds": seconds, "reason": "an outage", "lasting": lasting})
        self.limits[self.period] += seconds
        self.lasting += seconds if lasting else 0

    @rule(plan=st.sampled_from([("standard", 900), ("plus", 3600)]))
    def change_plan(self, plan: tuple[str, int]) -> None:
        before = self.time.quota()["limit_seconds"]
        self.plan = plan[1]
        after = self.change(plan=plan[0])["limit_seconds"]
        assert after >= before
        self.limits[self.period] = after

    # What always holds

    @invariant()
    def the_books_balance(self) -> None:
        type(self).steps_taken += 1
        found = self.time.books()
        assert found.balanced, found
        assert found.allowance == self.limits[self.period]
        assert found.used == self.charged.get(self.period, 0)
        assert found.used + found.reserved == self.taken()

    @invariant()
    def no_period_is_charged_more_than_it_had(self) -> None:
        assert all(seconds <= self.limits[period] for period, seconds in self.charged.items())

    def teardown(self) -> None:
        if not hasattr(self, "time"):
            return
        ledger = self.database.rows(
            "select coalesce(sum(quantity) filter (where unit = 'seconds'), 0)::int,"
            " coalesce(sum(quantity) filter (where unit = 'absorbed_seconds'), 0)::int from public.usage_events"
            " where user_id = %s and kind = 'avatar'",
            self.time.person.id,
        )
        told = [sum(end[which] for end in self.ended.values()) for which in (0, 1)]
        assert ledger == [tuple(told)]

    # The machine's own books

    def taken(self) -> int:
        """What is charged to the period that runs, or set aside in it."""
        held = self.reserved_in[self.current["id"]] if self.current else (-1, 0)
        return self.charged.get(self.period, 0) + (held[1] if held[0] == self.period else 0)

    def end(self, session_id: str, settled: int, absorbed: int) -> None:
        assert session_id not in self.ended, "a reservation ended twice"
        period, reserved = self.reserved_in[session_id]
        assert settled <= reserved
        self.ended[session_id] = (settled, absorbed)
        self.charged[period] = self.charged.get(period, 0) + settled
        if self.current and self.current["id"] == session_id:
            self.current = None

    def stored(self, session_id: str) -> tuple[str, int, int]:
        ((status, settled, absorbed),) = self.database.rows(
            "select status, coalesce(settled_seconds, 0), coalesce(absorbed_seconds, 0) from public.avatar_sessions"
            " where id = %s",
            session_id,
        )
        return status, settled, absorbed

    def attempt(self, function: str, refusal: str) -> None:
        assert self.current
        token = self.current["token"]
        unless(refusal, lambda: self.time.by_token(function, token))

    def change(self, **changes: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.admin.serve(
            "change_avatar_quota", p_user_id=self.time.person.id, p_changes=changes, p_grant_id=str(uuid4())
        )
        return data
