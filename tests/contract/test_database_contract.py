"""How a use case enters the database: rates, fleet limits and idempotency keys, and what refusals look like."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.support.database import Database, DatabasePerson, Refusal, shared_database, unless


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def ada(db: Database) -> DatabasePerson:
    return db.person(full_name="Ada")


def refused(person: DatabasePerson, function: str, entry: dict[str, Any] | None = None, **parameters: Any) -> Refusal:
    with pytest.raises(Refusal) as raised:
        person.serve(function, entry, **parameters)
    return raised.value


def enter(person: DatabasePerson, **entry: Any) -> Any:
    """What `enter` said."""
    return person.call("enter_only", p_entry=person.database.entry(**entry))["entry"]


def test_the_person_helper_is_supabases_own(db: Database, ada: DatabasePerson) -> None:
    with db.administration() as connection, connection.transaction():
        connection.execute("select set_config('request.jwt.claims', %s, true)", [f'{{"sub": "{ada.id}"}}'])
        row = connection.execute("select auth.uid()::text, private.person_id()::text").fetchone()
    assert row == (ada.id, ada.id)


# Identity


def test_entering_tells_whether_the_person_administers(db: Database, ada: DatabasePerson) -> None:
    assert enter(ada) == {"admin": False, "rate": None, "replay": None}
    db.run("update public.users set is_admin = true where id = %s", ada.id)
    assert enter(ada)["admin"] is True


# Rates


def test_a_rate_counts_down_and_then_says_when_to_come_back(ada: DatabasePerson) -> None:
    rate = {"per_minute": 60, "burst": 3}
    said = [enter(ada, rate=rate)["rate"] for _ in range(3)]
    assert [(one["limit"], one["remaining"]) for one in said] == [(3, 2), (3, 1), (3, 0)]
    assert 2 <= said[2]["reset_seconds"] <= 3
    found = refused(ada, "enter_only", {"rate": rate})
    assert (found.status, found.code) == (429, "rate_limited")
    assert found.extra["retry_after_seconds"] == 1
    assert (found.extra["limit"], found.extra["remaining"]) == (3, 0)
    assert found.extra["reset_seconds"] in {2, 3}


def test_a_rate_refills_with_time(db: Database, ada: DatabasePerson) -> None:
    rate = {"per_minute": 60, "burst": 1}
    enter(ada, rate=rate)
    refused(ada, "enter_only", {"rate": rate})
    passed = "update public.rate_limits set full_at = full_at - interval '1 second' where key like %s"
    assert db.run(passed, f"person {ada.id} %") == 1
    assert enter(ada, rate=rate)["rate"]["remaining"] == 0


def test_rates_of_people_and_routes_are_apart(db: Database, ada: DatabasePerson) -> None:
    rate = {"per_minute": 1, "burst": 1}
    enter(ada, rate=rate)
    assert enter(ada, rate=rate, route="POST /v1/other")["rate"]["remaining"] == 0
    assert enter(db.person(), rate=rate)["rate"]["remaining"] == 0


def test_where_nobody_is_signed_in_a_rate_counts_by_address(db: Database) -> None:
    route, rate = f"POST /v1/{uuid4()}", {"per_minute": 1, "burst": 2}

    def look(address: str) -> Any:
        return db.call("find_credentials", p_entry=db.entry(route, rate=rate, address=address), p_email="x@oprina.test")

    assert [look("198.51.100.1")["entry"]["rate"]["remaining"] for _ in range(2)] == [1, 0]
    with pytest.raises(Refusal) as raised:
        look("198.51.100.1")
    assert raised.value.code == "rate_limited"
    assert look("198.51.100.2")["entry"]["rate"]["remaining"] == 1


def test_parallel_callers_never_take_more_than_the_burst(ada: DatabasePerson) -> None:
    rate = {"per_minute": 1, "burst": 7}

    def try_once(_: int) -> bool:
        return unless("rate_limited", lambda: enter(ada, rate=rate)) is not None

    with ThreadPoolExecutor(24) as pool:
        assert sum(pool.map(try_once, range(48))) == 7


def test_what_a_refused_request_took_from_the_rate_stays_taken(ada: DatabasePerson) -> None:
    entry = {"rate": {"per_minute": 1, "burst": 3}, "route": "GET /v1/sessions/{session_id}"}
    for _ in range(3):
        assert refused(ada, "get_session", entry, p_session_id=str(uuid4())).code == "not_found"
    assert refused(ada, "get_session", entry, p_session_id=str(uuid4())).code == "rate_limited"


def test_a_limit_that_cannot_be_kept_lets_the_request_pass(ada: DatabasePerson) -> None:
    assert enter(ada, rate={"per_minute": 0, "burst": 1})["rate"] is None


# Fleet limits


def fleet(name: str, per_minute: int, cost: int = 1) -> dict[str, Any]:
    return {"name": name, "per_minute": per_minute, "cost": cost}


def test_a_fleet_limit_that_is_used_up_answers_capacity(db: Database, ada: DatabasePerson) -> None:
    name = str(uuid4())
    enter(ada, fleet=[fleet(name, 2)])
    enter(db.person(), fleet=[fleet(name, 2)])
    found = refused(ada, "enter_only", {"fleet": [fleet(name, 2)]})
    assert (found.status, found.code) == (503, "capacity")
    assert 50 <= found.extra["retry_after_seconds"] <= 61


def test_a_fleet_limit_counts_what_a_call_costs(ada: DatabasePerson) -> None:
    name = str(uuid4())
    enter(ada, fleet=[fleet(name, 5, cost=3)])
    assert refused(ada, "enter_only", {"fleet": [fleet(name, 5, cost=3)]}).code == "capacity"
    enter(ada, fleet=[fleet(name, 5, cost=2)])


def test_a_call_that_costs_more_than_the_whole_quota_never_passes(ada: DatabasePerson) -> None:
    assert refused(ada, "enter_only", {"fleet": [fleet(str(uuid4()), 2, cost=3)]}).code == "capacity"


def test_a_call_refused_by_one_fleet_limit_takes_nothing_from_another(ada: DatabasePerson) -> None:
    free, full = f"a-{uuid4()}", f"b-{uuid4()}"
    enter(ada, fleet=[fleet(full, 1)])
    assert refused(ada, "enter_only", {"fleet": [fleet(free, 1), fleet(full, 1)]}).code == "capacity"
    enter(ada, fleet=[fleet(free, 1)])


def test_a_quota_is_free_again_after_a_minute_and_not_before(db: Database, ada: DatabasePerson) -> None:
    name = str(uuid4())
    enter(ada, fleet=[fleet(name, 1)])
    older = "update public.fleet_uses set second = second - %s where name = %s"
    assert db.run(older, 58, name) == 1
    assert refused(ada, "enter_only", {"fleet": [fleet(name, 1)]}).extra["retry_after_seconds"] <= 3
    assert db.run(older, 4, name) == 1
    enter(ada, fleet=[fleet(name, 1)])


def test_a_parallel_fleet_never_takes_more_than_the_quota(db: Database) -> None:
    name, people = str(uuid4()), [db.person() for _ in range(4)]

    def try_once(number: int) -> bool:
        return unless("capacity", lambda: enter(people[number % 4], fleet=[fleet(name, 10)])) is not None

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(try_once, range(40))) == 10


# Idempotency keys


def create(person: DatabasePerson, key: str | None, title: str = "Whales", fingerprint: str | None = "a" * 64) -> Any:
    entry = person.database.entry("POST /v1/sessions", key=key, fingerprint=fingerprint)
    return person.call("create_session", p_entry=entry, p_id=str(uuid4()), p_title=title)


def test_a_key_gives_the_first_answer_again_and_creates_once(ada: DatabasePerson) -> None:
    first = create(ada, "key")
    again = create(ada, "key")
    assert first["entry"]["replay"] is None
    assert again["data"] is None
    assert again["entry"]["replay"] == {"fingerprint": "a" * 64, "status": 201, "body": first["data"]}
    assert len(ada.serve("list_sessions")["items"]) == 1


def test_a_key_of_another_payload_is_refused(ada: DatabasePerson) -> None:
    create(ada, "key")
    with pytest.raises(Refusal) as raised:
        create(ada, "key", "Ants", "b" * 64)
    assert (raised.value.status, raised.value.code) == (422, "idempotency_key_reused")


def test_a_key_whose_payload_is_not_known_yet_is_replayed_with_the_first_ones_fingerprint(ada: DatabasePerson) -> None:
    create(ada, "key")
    assert create(ada, "key", fingerprint=None)["entry"]["replay"]["fingerprint"] == "a" * 64


def test_keys_of_people_and_routes_are_apart(db: Database, ada: DatabasePerson) -> None:
    create(ada, "key")
    assert create(db.person(), "key")["data"]["title"] == "Whales"
    assert enter(ada, route="POST /v1/other", key="key", fingerprint="b" * 64)["replay"] is None


def test_a_key_that_is_still_running_is_refused_until_it_is_settled(ada: DatabasePerson) -> None:
    entry: dict[str, Any] = {"key": "key", "fingerprint": "a" * 64}
    enter(ada, **entry)
    found = refused(ada, "enter_only", entry)
    assert (found.status, found.code, found.extra) == (409, "request_in_progress", {"retry_after_seconds": 1})
    assert refused(ada, "enter_only", entry | {"fingerprint": "b" * 64}).code == "idempotency_key_reused"
    ada.serve("settle_entry", entry, p_status=200, p_body={"text": "Hello"}, p_fingerprint="a" * 64)
    assert enter(ada, **entry)["replay"] == {"fingerprint": "a" * 64, "status": 200, "body": {"text": "Hello"}}


def test_a_key_that_is_given_up_can_be_used_again(ada: DatabasePerson) -> None:
    enter(ada, key="key")
    ada.serve("settle_entry", {"key": "key"})
    assert enter(ada, key="key")["replay"] is None


def test_a_key_whose_holder_vanished_is_taken_over_by_one_request(db: Database, ada: DatabasePerson) -> None:
    enter(ada, key="key")
    lapsed = "update public.idempotency_keys set lease_until = now() - interval '1 second' where user_id = %s"
    assert db.run(lapsed, ada.id) == 1

    def try_once(_: int) -> bool:
        return unless("request_in_progress", lambda: enter(ada, key="key")) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_once, range(8))) == 1


def test_of_parallel_requests_with_one_key_one_has_the_effect(ada: DatabasePerson) -> None:
    def try_once(_: int) -> Any:
        return unless("request_in_progress", lambda: create(ada, "key"))

    with ThreadPoolExecutor(12) as pool:
        answers = [answer for answer in pool.map(try_once, range(24)) if answer]
    made = [answer["data"] for answer in answers if answer["data"]]
    assert len(made) == 1
    assert all(answer["entry"]["replay"]["body"] == made[0] for answer in answers if not answer["data"])
    assert len(ada.serve("list_sessions")["items"]) == 1


def test_a_refused_use_case_leaves_its_key_unused(ada: DatabasePerson) -> None:
    entry = {"key": "key", "route": "POST /v1/sessions/{session_id}/end"}
    assert refused(ada, "end_session", entry, p_session_id=str(uuid4())).code == "not_found"
    session = ada.session()
    assert ada.serve("end_session", entry, p_session_id=session)["status"] == "ended"


def test_a_replay_takes_nothing_from_the_fleet(ada: DatabasePerson) -> None:
    limit = fleet(str(uuid4()), 1)
    enter(ada, key="key", fleet=[limit])
    ada.serve("settle_entry", {"key": "key"}, p_status=200, p_body={})
    assert enter(ada, key="key", fleet=[limit])["replay"]["status"] == 200


def test_a_request_without_capacity_leaves_its_key_unused(ada: DatabasePerson) -> None:
    limit = fleet(str(uuid4()), 1)
    enter(ada, fleet=[limit])
    assert refused(ada, "enter_only", {"key": "key", "fleet": [limit]}).code == "capacity"
    assert enter(ada, key="key")["replay"] is None


def test_a_key_is_forgotten_after_a_day(db: Database, ada: DatabasePerson) -> None:
    first = create(ada, "key")["data"]
    days = db.rows("select expires_at - created_at from public.idempotency_keys where user_id = %s", ada.id)
    assert days[0][0].total_seconds() == 24 * 3600
    db.run("update public.idempotency_keys set expires_at = now() where user_id = %s", ada.id)
    assert create(ada, "key", "Ants", "b" * 64)["data"]["id"] != first["id"]


def test_what_nobody_needs_any_more_is_purged(db: Database, ada: DatabasePerson) -> None:
    create(ada, "old")
    create(ada, "new")
    db.run(
        "update public.idempotency_keys set expires_at = now() - interval '1 s' where user_id = %s and key = 'old'",
        ada.id,
    )
    gone = db.call("purge", p_limit=1000)
    assert gone["idempotency_keys"] >= 1
    assert set(gone) == {"idempotency_keys", "rate_limits", "refresh_tokens", "one_time_tokens", "outbox", "inbox"}
    assert db.rows("select key from public.idempotency_keys where user_id = %s", ada.id) == [("new",)]
