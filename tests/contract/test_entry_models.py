"""Idempotency keys and rate limits against simple models of them, driven at random through the SQL functions."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.runtime.ids import new_id
from tests.support.database import Database, DatabasePerson, Refusal, shared_database

SETTINGS = settings(
    max_examples=6,
    stateful_step_count=25,
    deadline=None,
    # A failure is told as it was found: to make it smaller takes minutes of the database's time.
    phases=[Phase.generate],
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
KEYS = st.sampled_from(["one", "two"])
PAYLOADS = st.sampled_from(["a" * 64, "b" * 64])
LAPSE = (
    "update public.idempotency_keys set lease_until = now() - interval '1 s'"
    " where user_id = %s and key = %s and state = 'running'"
)
PASS_TIME = "update public.rate_limits set full_at = full_at - make_interval(secs => %s) where key like %s"


class Held:
    """What the model knows of one key."""

    def __init__(self, payload: str, call: str) -> None:
        self.payload = payload
        self.call = call
        self.lapsed = False
        self.answer: dict[str, Any] | None = None


class IdempotencyKeys(RuleBasedStateMachine):
    """A key is free, held by one call under a lease, or has its answer for a day."""

    @initialize()
    def a_person(self) -> None:
        self.database: Database = shared_database()
        self.person: DatabasePerson = self.database.person()
        self.held: dict[str, Held] = {}
        self.old_calls: list[tuple[str, str]] = []
        self.items: set[str] = set()

    def entry(self, key: str, payload: str | None) -> dict[str, Any]:
        return self.database.entry("POST /v1/voice/speech", key=key, fingerprint=payload)

    def begin(self, key: str, payload: str, call: str) -> Any:
        """What came of it: a replay, "begun", or the code of a refusal."""
        try:
            said = self.person.call(
                "begin_call", p_entry=self.entry(key, payload), p_call_id=call, p_lease_seconds=3600
            )
        except Refusal as refusal:
            return refusal.code
        return said["entry"]["replay"] or "begun"

    def expected(self, key: str, payload: str) -> Any:
        held = self.held.get(key)
        if held is None:
            return "begun"
        if held.payload != payload:
            return "idempotency_key_reused"
        if held.answer is not None:
            return {"fingerprint": held.payload, **held.answer}
        return "begun" if held.lapsed else "request_in_progress"

    def end(self, key: str, call: str, **answer: Any) -> None:
        item = str(new_id())
        self.items.add(item)
        used = {"id": item, "kind": "speaking", "provider": "p", "unit": "characters", "quantity": 1, "cost_micros": 1}
        for _ in range(2):  # telling it again changes nothing
            self.person.call("end_call", p_entry=self.entry(key, None), p_call_id=call, p_items=[used], **answer)

    def running(self) -> list[str]:
        return [key for key, held in self.held.items() if held.answer is None]

    @rule(key=KEYS, payload=PAYLOADS)
    def begin_a_call(self, key: str, payload: str) -> None:
        call, expected = str(uuid4()), self.expected(key, payload)
        assert self.begin(key, payload, call) == expected
        if expected == "begun":
            if key in self.held:
                self.old_calls.append((key, self.held[key].call))
            self.held[key] = Held(payload, call)

    @rule(key=KEYS, payload=PAYLOADS)
    def begin_calls_together(self, key: str, payload: str) -> None:
        calls, expected = [str(uuid4()) for _ in range(4)], self.expected(key, payload)
        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(lambda call: self.begin(key, payload, call), calls))
        if expected != "begun":
            assert said == [expected] * 4
            return
        assert sorted(said) == ["begun"] + ["request_in_progress"] * 3
        if key in self.held:
            self.old_calls.append((key, self.held[key].call))
        self.held[key] = Held(payload, calls[said.index("begun")])

    @precondition(lambda self: any(not self.held[key].lapsed for key in self.running()))
    @rule(data=st.data())
    def ask_again_for_an_answer_that_was_lost(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([key for key in self.running() if not self.held[key].lapsed]))
        assert self.begin(key, self.held[key].payload, self.held[key].call) == "begun"

    @precondition(lambda self: self.running())
    @rule(data=st.data(), status=st.sampled_from([200, 201, 422]))
    def settle(self, data: st.DataObject, status: int) -> None:
        key = data.draw(st.sampled_from(self.running()))
        held = self.held[key]
        body = {"said": str(uuid4())}
        self.end(key, held.call, p_status=status, p_body=body)
        held.answer = {"status": status, "body": body}

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.running()))
        self.end(key, self.held.pop(key).call)

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def the_lease_runs_out(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.running()))
        self.database.run(LAPSE, self.person.id, key)
        self.held[key].lapsed = True

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def the_lease_runs_out_and_another_call_takes_over(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.running()))
        self.database.run(LAPSE, self.person.id, key)
        self.held[key].lapsed = True
        self.begin_a_call(key, self.held[key].payload)

    @precondition(lambda self: self.old_calls)
    @rule(data=st.data(), settled=st.booleans())
    def a_call_that_was_taken_over_ends_after_all(self, data: st.DataObject, settled: bool) -> None:
        key, call = data.draw(st.sampled_from(self.old_calls))
        self.end(key, call, **({"p_status": 200, "p_body": {"late": True}} if settled else {}))
        if key in self.running() and not self.held[key].lapsed:
            assert self.begin(key, self.held[key].payload, str(uuid4())) == "request_in_progress"

    @rule(key=KEYS)
    def a_day_passes(self, key: str) -> None:
        self.database.run(
            "update public.idempotency_keys set expires_at = now() where user_id = %s and key = %s", self.person.id, key
        )
        self.held.pop(key, None)

    @invariant()
    def what_was_used_is_booked_once(self) -> None:
        if hasattr(self, "person"):
            booked = self.database.rows("select id::text from public.usage_events where user_id = %s", self.person.id)
            assert {row[0] for row in booked} == self.items


class RateLimit(RuleBasedStateMachine):
    """GCRA as a bucket: it holds `burst` tokens, one comes back every step, a request takes some or is refused.

    A step is an hour, so the seconds that the test itself takes never bring one back; time passes by half steps.
    """

    STEP = 3600.0

    @initialize(burst=st.integers(1, 6))
    def a_person(self, burst: int) -> None:
        self.database: Database = shared_database()
        self.person: DatabasePerson = self.database.person()
        self.burst = burst
        self.tokens = float(burst)

    def take(self, cost: int = 1) -> Any:
        rate = {"per_minute": 60 / self.STEP, "burst": self.burst, "cost": cost}
        try:
            return self.person.call("enter_only", p_entry=self.database.entry(rate=rate))["entry"]["rate"]
        except Refusal as refusal:
            return refusal

    @rule(cost=st.integers(1, 3))
    def a_request(self, cost: int) -> None:
        said = self.take(cost)
        if cost > self.tokens:
            assert isinstance(said, Refusal)
            assert (said.status, said.code) == (429, "rate_limited")
            assert said.extra["retry_after_seconds"] == pytest.approx((cost - self.tokens) * self.STEP, abs=60)
            return
        assert not isinstance(said, Refusal)
        self.tokens -= cost
        assert (said["limit"], said["remaining"]) == (self.burst, math.floor(self.tokens))
        assert said["reset_seconds"] == pytest.approx((self.burst - self.tokens) * self.STEP, abs=60)

    @rule()
    def requests_together(self) -> None:
        with ThreadPoolExecutor(6) as pool:
            let_in = sum(not isinstance(said, Refusal) for said in pool.map(lambda _: self.take(), range(8)))
        assert let_in == min(8, math.floor(self.tokens))
        self.tokens -= let_in

    @rule(halves=st.integers(1, 16))
    def time_passes(self, halves: int) -> None:
        self.database.run(PASS_TIME, halves * self.STEP / 2, f"person {self.person.id} %")
        self.tokens = min(float(self.burst), self.tokens + halves / 2)


TestIdempotencyKeys = IdempotencyKeys.TestCase
TestIdempotencyKeys.settings = SETTINGS
TestRateLimit = RateLimit.TestCase
TestRateLimit.settings = SETTINGS
