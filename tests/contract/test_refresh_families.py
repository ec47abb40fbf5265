"""Refresh tokens against a simple model, through the real SQL functions, and two hundred at once.

The model: a family has one living head. What was exchanged for it is good for half a minute more, and then exchanges
the head for another one. Whatever else of the family comes again was copied, and ends it.
"""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.database import Database, DatabasePerson, Refusal, hash_of, shared_database

GRACE_SECONDS = 30
LIFE_DAYS = 30
MOST_FAMILIES = 3
# No sum of these comes close to the grace from below, so that the time the test itself takes decides nothing.
STEPS = (11, 11, 20, 20, 40, 16 * 86_400)


def expiry() -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=LIFE_DAYS)).isoformat()


@dataclass
class Family:
    """What should be true of one sign-in. Times are seconds on the model's clock."""

    device: DatabasePerson
    head: str
    alive: bool = True
    issued: dict[str, float] = field(default_factory=dict)
    """Every token of the family, and when it expires."""
    previous: dict[str, float] = field(default_factory=dict)
    """What was exchanged for the head, and since when it is superseded."""

    def present(self, token: str, successor: str, now: float, active: bool) -> str | None:
        """What presenting a token does; the code of the refusal, or None when the successor becomes the head."""
        if not self.alive:
            return "refresh_token_invalid"
        if token != self.head and now - self.previous.get(token, -1e9) > GRACE_SECONDS:
            self.alive = False
            return "refresh_token_reused"
        if self.issued[token] <= now:
            return "refresh_token_invalid"
        if not active:
            return "person_inactive"
        old_head = self.head
        self.previous = {token: self.previous.get(token, now), old_head: now}
        self.head, self.issued[successor] = successor, now + LIFE_DAYS * 86_400
        return None


class RefreshFamilies(RuleBasedStateMachine):
    families = Bundle("families")

    @initialize()
    def a_person(self) -> None:
        self.db = shared_database()
        self.person = self.db.person()
        self.now, self.active = 0.0, True
        self.known: list[Family] = [self.family(self.person)]

    def family(self, device: DatabasePerson) -> Family:
        self.db.run(
            "update public.refresh_tokens set expires_at = now() + make_interval(days => %s) where sign_in_id = %s",
            LIFE_DAYS,
            device.sign_in_id,
        )
        token = device.refresh_token
        return Family(device, token, issued={token: self.now + LIFE_DAYS * 86_400})

    def present(self, family: Family, token: str, successor: str) -> str | None:
        answer = self.db.call(
            "rotate_refresh", p_entry=self.db.entry(), p_old_hash=hash_of(token), p_new_id=str(uuid4()),
            p_new_hash=hash_of(successor), p_expires_at=expiry(),
        )["data"]  # fmt: skip
        if "refused" not in answer:
            assert answer["sign_in_id"] == family.device.sign_in_id
            assert answer["user"]["id"] == self.person.id
        refused: str | None = answer.get("refused")
        return refused

    def refresh(self, family: Family, token: str) -> None:
        successor = str(uuid4())
        expected = family.present(token, successor, self.now, self.active)
        assert self.present(family, token, successor) == expected

    def call(self, family: Family, function: str, **parameters: Any) -> bool:
        """Call as this device; whether it was let in, which it must be exactly while it lives."""
        refused: str | None = None
        try:
            family.device.serve(function, **parameters)
        except Refusal as refusal:
            refused = refusal.code
        expected = None if family.alive else "sign_in_ended"
        assert refused == (expected if self.active else "person_inactive")
        return refused is None

    @rule(target=families)
    def first(self) -> Family:
        return self.known[0]

    @precondition(lambda self: self.active and len(self.known) < MOST_FAMILIES)
    @rule(target=families)
    def sign_in(self) -> Family:
        self.known.append(self.family(self.db.sign_in(self.person.id, self.person.email)))
        return self.known[-1]

    @rule(family=families)
    def refresh_the_current_token(self, family: Family) -> None:
        self.refresh(family, family.head)

    @rule(family=families, which=st.integers(0, 1), after=st.sampled_from([0, 11, 20]))
    def replay_a_previous_token(self, family: Family, which: int, after: int) -> None:
        if family.previous:
            self.let_time_pass(after)
            self.refresh(family, list(family.previous)[which % len(family.previous)])

    @rule(family=families, ago=st.integers(1, 6))
    def replay_an_older_token(self, family: Family, ago: int) -> None:
        self.refresh(family, list(family.issued)[-min(ago, len(family.issued))])

    @rule(family=families)
    def repeat_the_last_exchange_word_for_word(self, family: Family) -> None:
        """The database's answer was lost, and the same call was made again: nothing more happens."""
        if not family.previous or not (family.alive and self.active):
            return
        for token in family.previous:
            expired = family.issued[token] <= self.now
            assert self.present(family, token, family.head) == ("refresh_token_invalid" if expired else None)

    @rule(seconds=st.sampled_from(STEPS))
    def time_passes(self, seconds: int) -> None:
        self.let_time_pass(seconds)

    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds
        self.db.run(
            "update public.refresh_tokens set expires_at = expires_at - make_interval(secs => %s),"
            " superseded_at = superseded_at - make_interval(secs => %s) where user_id = %s",
            seconds,
            seconds,
            self.person.id,
        )

    @rule(family=families, other=families, how=st.sampled_from(["log out", "log out everywhere", "revoke"]))
    def end(self, family: Family, other: Family, how: str) -> None:
        if how == "log out" and self.call(family, "end_sign_in"):
            family.alive = False
        if how == "log out everywhere" and self.call(family, "end_all_sign_ins"):
            for each in self.known:
                each.alive = False
        if how == "revoke" and self.call(family, "end_one_sign_in", p_sign_in_id=other.device.sign_in_id):
            other.alive = False

    @rule(status=st.sampled_from(["suspended", "active", "active"]))
    def suspend_or_restore(self, status: str) -> None:
        self.db.run("update public.users set status = %s where id = %s", status, self.person.id)
        self.active = status == "active"

    @invariant()
    def each_family_has_one_living_token_and_lives_as_it_should(self) -> None:
        rows = self.db.rows(
            "select s.id::text, s.ended_at is null, array_agg(t.token_hash) filter (where t.superseded_at is null)"
            " from public.sign_ins s join public.refresh_tokens t on t.sign_in_id = s.id where s.user_id = %s"
            " group by s.id",
            self.person.id,
        )
        found = {sign_in: (alive, heads) for sign_in, alive, heads in rows}
        assert found == {each.device.sign_in_id: (each.alive, [hash_of(each.head)]) for each in self.known}

    @rule(family=families)
    def use_the_access_token(self, family: Family) -> None:
        self.call(family, "get_me")


TestRefreshFamilies = RefreshFamilies.TestCase
TestRefreshFamilies.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
def ada() -> DatabasePerson:
    return shared_database().person()


def rotate(db: Database, token: str, successor: str) -> Any:
    return db.call(
        "rotate_refresh", p_entry=db.entry(), p_old_hash=hash_of(token), p_new_id=str(uuid4()),
        p_new_hash=hash_of(successor), p_expires_at=expiry(),
    )["data"]  # fmt: skip


def heads(db: Database, person: DatabasePerson) -> list[str]:
    found = db.rows(
        "select token_hash from public.refresh_tokens where sign_in_id = %s and superseded_at is null",
        person.sign_in_id,
    )
    return [row[0] for row in found]


def test_two_hundred_refreshes_of_one_token_at_once_leave_one_head_and_a_living_family(ada: DatabasePerson) -> None:
    db, successors = ada.database, [f"{ada.id} {number}" for number in range(200)]
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda successor: rotate(db, ada.refresh_token, successor), successors))
    assert [answer.get("sign_in_id") for answer in answers] == [ada.sign_in_id] * 200
    head = heads(db, ada)
    assert len(head) == 1
    assert ada.serve("get_me")["id"] == ada.id
    kept = db.rows("select count(*) from public.refresh_tokens where sign_in_id = %s", ada.sign_in_id)
    assert kept == [(201,)]
    winner = next(successor for successor in successors if hash_of(successor) == head[0])
    assert rotate(db, winner, "next")["sign_in_id"] == ada.sign_in_id


def test_of_two_hundred_copies_of_an_old_token_none_gets_anything(ada: DatabasePerson) -> None:
    db = ada.database
    rotate(db, ada.refresh_token, f"{ada.id} second")
    rotate(db, f"{ada.id} second", f"{ada.id} third")
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda number: rotate(db, ada.refresh_token, f"{ada.id} {number}"), range(200)))
    assert {answer.get("refused") for answer in answers} == {"refresh_token_reused", "refresh_token_invalid"}
    assert [answer.get("refused") for answer in answers].count("refresh_token_reused") == 1
    assert heads(db, ada) == [hash_of(f"{ada.id} third")]
    reported = db.rows(
        "select count(*) from public.audit_log l join private.audit_keys k on k.user_id = %s::uuid"
        " where l.subject = encode(sha256(k.key || uuid_send(k.user_id)), 'hex')"
        " and l.action = 'accounts.refresh_token_reused'",
        ada.id,
    )
    assert reported == [(1,)]
