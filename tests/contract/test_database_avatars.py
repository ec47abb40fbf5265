"""Avatar time at the database: nothing is oversold, charged twice, or charged for what did not run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from tests.support.avatars import AvatarTime, books
from tests.support.database import Database, DatabasePerson, Refusal, shared_database, unless

T = TypeVar("T")
LEDGER = "select unit, quantity::int from public.usage_events where avatar_session_id = %s order by unit"


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def ada(db: Database) -> AvatarTime:
    return AvatarTime(db.person())


@pytest.fixture(scope="module")
def admin(db: Database) -> DatabasePerson:
    person = db.person()
    db.run("update public.users set is_admin = true where id = %s", person.id)
    return person


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def change(admin: DatabasePerson, person: AvatarTime, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = admin.serve(
        "change_avatar_quota", p_user_id=person.person.id, p_changes=changes, p_grant_id=str(uuid4())
    )
    return data


def grant(admin: DatabasePerson, person: AvatarTime, seconds: int, *, lasting: bool = False) -> dict[str, Any]:
    return change(admin, person, grant={"seconds": seconds, "reason": "an outage", "lasting": lasting})


def refused(call: Callable[[], Any]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value


# The quota


def test_everybody_has_fifteen_minutes_a_month(ada: AvatarTime) -> None:
    quota = ada.quota()
    assert (quota["limit_seconds"], quota["remaining_seconds"], quota["used_seconds"]) == (900, 900, 0)
    assert quota["resets_at"].endswith("-01T00:00:00.000000Z")


def test_first_calls_at_once_make_one_quota(db: Database, ada: AvatarTime) -> None:
    quotas = at_once([ada.quota] * 8)
    assert {quota["remaining_seconds"] for quota in quotas} == {900}
    assert db.rows("select count(*) from public.avatar_quotas where user_id = %s", ada.person.id) == [(1,)]


def test_a_used_up_quota_is_refused_with_what_remains_and_when_it_comes_back(ada: AvatarTime) -> None:
    ada.settle(ada.live(900)["id"], 900)
    refusal = refused(ada.reserve)
    assert (refusal.status, refusal.code, refusal.extra["remaining_seconds"]) == (402, "quota_exhausted", 0)
    assert refusal.extra["resets_at"] == ada.quota()["resets_at"]


def test_a_quota_is_used_up_by_sessions_that_do_not_fit_it_exactly(ada: AvatarTime) -> None:
    ada.settle(ada.live(900)["id"], 600)
    second = ada.live(900)
    assert second["reserved_seconds"] == 300
    ada.settle(second["id"], 400)
    assert refused(ada.reserve).code == "quota_exhausted"
    assert ada.books().used == 900


# Reserving


def test_a_second_session_is_refused_and_names_the_first(ada: AvatarTime) -> None:
    first = ada.reserve(100)
    refusal = refused(ada.reserve)
    assert (refusal.status, refusal.code, refusal.extra["session_id"]) == (409, "avatar_session_live", first["id"])


def test_a_reservation_needs_a_key_and_its_key_reserves_once(ada: AvatarTime) -> None:
    key = str(uuid4())
    first, again = ada.reserve(100, key=key), ada.reserve(100, key=key)
    assert (again["id"], again["replayed"]) == (first["id"], True)
    assert ada.quota()["reserved_seconds"] == 100
    assert refused(lambda: ada.reserve(101, key=key)).code == "idempotency_key_reused"
    bare: dict[str, Any] = {
        "p_id": str(uuid4()), "p_wanted": {"avatar_id": "june"}, "p_token_hash": "0" * 64, "p_seconds": 1,
        "p_begin_seconds": 60,
    }  # fmt: skip
    assert refused(lambda: ada.person.serve("reserve_avatar_session", **bare)).status == 400


def test_a_refused_reservation_leaves_its_key_free(ada: AvatarTime) -> None:
    first, key = ada.reserve(100), str(uuid4())
    refused(lambda: ada.reserve(100, key=key))
    ada.release(first["id"])
    assert ada.reserve(100, key=key)["replayed"] is False


def test_a_hundred_callers_get_every_second_once_and_none_twice(ada: AvatarTime) -> None:
    ada.quota()

    def session_or_nothing() -> dict[str, Any] | None:
        while True:
            made = unless("avatar_session_live", lambda: ada.reserve(100, at_least=100))
            if made is not None:
                return made

    def caller() -> int:
        """Use 100 seconds as soon as nobody else is live. Returns what was charged, 0 when nothing was left."""
        session = unless("quota_exhausted", session_or_nothing)
        if session is None:
            return 0
        ada.by_token("begin_avatar_session", session["token"])
        return int(ada.settle(session["id"], 100)["settled_seconds"])

    charged = at_once([caller] * 100)
    assert sorted(charged) == [0] * 91 + [100] * 9
    found = ada.books()
    assert (found.used, found.reserved, found.ledger) == (900, 0, 900)


def test_of_a_hundred_reservations_at_once_one_is_made(ada: AvatarTime) -> None:
    made = [
        session
        for session in at_once([lambda: unless("avatar_session_live", ada.reserve)] * 100)
        if session is not None
    ]
    assert [session["reserved_seconds"] for session in made] == [900]
    assert ada.books().reserved == 900


def test_a_reservation_that_nobody_began_frees_its_seconds(db: Database, ada: AvatarTime) -> None:
    late = ada.reserve(900)
    db.run("update public.avatar_sessions set expires_at = now() where id = %s", late["id"])
    assert refused(lambda: ada.by_token("begin_avatar_session", late["token"])).code == "avatar_session_ended"
    assert ada.reserve(900)["reserved_seconds"] == 900
    assert db.rows("select status from public.avatar_sessions where id = %s", late["id"]) == [("released",)]


# The token


def test_a_token_begins_one_session_once(ada: AvatarTime) -> None:
    session = ada.reserve(100)
    begun = at_once([lambda: unless("token_used", lambda: ada.by_token("begin_avatar_session", session["token"]))] * 8)
    assert len([one for one in begun if one is not None]) == 1
    assert refused(lambda: ada.by_token("begin_avatar_session", "unknown")).status == 401


def test_a_token_does_nothing_after_its_session_has_ended(ada: AvatarTime) -> None:
    session = ada.live(100)
    ada.settle(session["id"], 10)
    for function in ("begin_avatar_session", "keep_avatar_alive", "stop_avatar_by_token"):
        assert refused(partial(ada.by_token, function, session["token"])).code == "avatar_session_ended"


def test_a_session_cannot_be_kept_alive_beyond_its_reservation(db: Database, ada: AvatarTime) -> None:
    session = ada.live(100)
    assert ada.by_token("keep_avatar_alive", session["token"])["status"] == "live"
    db.run("update public.avatar_sessions set expires_at = now() where id = %s", session["id"])
    assert refused(lambda: ada.by_token("keep_avatar_alive", session["token"])).status == 410


def test_a_suspended_person_begins_nothing(db: Database, ada: AvatarTime) -> None:
    session = ada.reserve(100)
    db.run("update public.users set status = 'suspended' where id = %s", ada.person.id)
    assert refused(lambda: ada.by_token("begin_avatar_session", session["token"])).code == "person_inactive"


# Ending


def test_ending_a_session_twice_at_once_charges_once(db: Database, ada: AvatarTime) -> None:
    session = ada.live(900)
    ended = at_once([lambda: ada.settle(session["id"], 100)] * 8)
    assert sorted(one["changed"] for one in ended) == [False] * 7 + [True]
    assert ada.books().used == 100
    assert db.rows(LEDGER, session["id"]) == [("seconds", 100)]


def test_of_settling_and_releasing_at_once_one_happens(ada: AvatarTime) -> None:
    session = ada.reserve(900)
    ada.by_token("begin_avatar_session", session["token"])
    ends = at_once([lambda: ada.settle(session["id"], 50), lambda: ada.release(session["id"], never_ran=True)])
    assert sorted(end["changed"] for end in ends) == [False, True]
    found = ada.books()
    assert found.balanced
    assert found.used in {0, 50}


def test_time_beyond_the_reservation_is_absorbed(db: Database, ada: AvatarTime) -> None:
    settled = ada.settle(ada.live(100)["id"], 130)
    assert (settled["settled_seconds"], settled["absorbed_seconds"]) == (100, 30)
    assert db.rows(LEDGER, settled["id"]) == [("absorbed_seconds", 30), ("seconds", 100)]
    assert ada.quota()["remaining_seconds"] == 800


def test_what_may_run_is_not_released_without_the_providers_word(ada: AvatarTime) -> None:
    session = ada.reserve(100)
    ada.by_token("begin_avatar_session", session["token"])
    assert refused(lambda: ada.release(session["id"])).code == "avatar_session_may_run"
    assert ada.release(session["id"], never_ran=True)["status"] == "released"
    assert refused(lambda: ada.release(ada.live(100)["id"], never_ran=True)).code == "avatar_session_may_run"


def test_stopping_releases_what_never_began_and_leaves_the_rest_to_the_provider(ada: AvatarTime) -> None:
    waiting = ada.reserve(100)
    assert ada.person.serve("stop_avatar_session", p_session_id=waiting["id"])["status"] == "released"
    running = ada.live(100)
    for _ in range(2):
        assert ada.person.serve("stop_avatar_session", p_session_id=running["id"])["status"] == "stopping"
    assert ada.settle(running["id"], 7)["settled_seconds"] == 7
    assert ada.person.serve("stop_avatar_session", p_session_id=running["id"])["status"] == "settled"


def test_nobody_settles_what_has_not_begun_or_with_less_than_no_time(ada: AvatarTime) -> None:
    session = ada.reserve(100)
    assert refused(lambda: ada.settle(session["id"], 10)).code == "avatar_session_not_begun"
    ada.by_token("begin_avatar_session", session["token"])
    assert refused(lambda: ada.settle(session["id"], -1)).code == "seconds_invalid"


def test_without_a_providers_record_our_own_signs_of_life_count_after_a_day(db: Database, ada: AvatarTime) -> None:
    session = ada.live(300)
    at = "update public.avatar_sessions set started_at = now() - interval '%s', last_keep_alive_at = now() -"
    db.run(
        (at % "30 hours") + " interval '30 hours' + interval '65.9 seconds', expires_at = now() - interval '23 hours'"
        " where id = %s", session["id"],
    )  # fmt: skip
    db.call("estimate_avatar_sessions", p_limit=100)
    assert ada.person.serve("get_avatar_session", p_session_id=session["id"])["status"] == "live"
    db.run("update public.avatar_sessions set expires_at = now() - interval '25 hours' where id = %s", session["id"])
    db.call("estimate_avatar_sessions", p_limit=100)
    found = ada.person.serve("get_avatar_session", p_session_id=session["id"])
    assert (found["status"], found["settled_seconds"], found["estimated"]) == ("settled", 65, True)
    assert ada.settle(session["id"], 300)["changed"] is False
    assert ada.books().balanced


# Periods


def test_a_session_is_charged_to_the_period_of_its_reservation(db: Database, ada: AvatarTime) -> None:
    session = ada.live(900)
    ada.end_period()
    assert db.call("reset_avatar_quotas", p_limit=1000)["failed"] == 0
    assert ada.quota()["remaining_seconds"] == 900
    ada.settle(session["id"], 500)
    assert ada.quota()["used_seconds"] == 0
    assert db.rows(LEDGER, session["id"]) == [("seconds", 500)]
    assert ada.live(900)["reserved_seconds"] == 900


def test_a_period_that_is_over_does_not_wait_for_the_schedule(ada: AvatarTime) -> None:
    ada.settle(ada.live(900)["id"], 900)
    ada.end_period()
    assert ada.reserve(900)["reserved_seconds"] == 900


def test_a_reset_that_races_a_settlement_loses_nothing(db: Database) -> None:
    for _ in range(5):
        person = AvatarTime(db.person())
        session = person.live(900)
        person.end_period()
        calls: list[Callable[[], Any]] = [
            partial(person.settle, session["id"], 400),
            partial(db.call, "reset_avatar_quotas", p_limit=1000),
            person.quota,
        ]
        at_once(calls)
        found = person.books()
        assert (found.used, found.reserved) == (0, 0)
        assert found.balanced
        assert db.rows(LEDGER, session["id"]) == [("seconds", 400)]


def test_resets_go_page_by_page_and_one_failure_touches_nobody_else(db: Database) -> None:
    people = [AvatarTime(db.person()) for _ in range(4)]
    for person in people:
        person.settle(person.live(900)["id"], 900)
        person.end_period()
    broken = min(people, key=lambda one: one.person.id)
    db.run(
        "alter table public.avatar_quotas add constraint broken check"
        f" (user_id <> '{broken.person.id}' or used_seconds > 0) not valid"
    )
    try:
        pages, after = [], None
        while True:
            pages.append(db.call("reset_avatar_quotas", p_limit=2, p_after=after))
            after = pages[-1]["next"]
            if after is None:
                break
    finally:
        db.run("alter table public.avatar_quotas drop constraint broken")
    assert sum(page["failed"] for page in pages) == 1
    assert len(pages) >= 2
    used = {person.person.id: books(db, person.person.id).used for person in people}
    assert used == {person.person.id: 900 if person is broken else 0 for person in people}


# Grants and plans


def test_a_grant_counts_in_its_period_and_a_lasting_one_in_each(admin: DatabasePerson, ada: AvatarTime) -> None:
    assert grant(admin, ada, 100)["limit_seconds"] == 1000
    assert grant(admin, ada, 50, lasting=True)["remaining_seconds"] == 1050
    ada.end_period()
    assert ada.quota()["limit_seconds"] == 950


def test_a_larger_plan_counts_at_once_and_a_smaller_one_from_the_next_period(
    admin: DatabasePerson, ada: AvatarTime
) -> None:
    assert change(admin, ada, plan="plus")["limit_seconds"] == 3600
    assert change(admin, ada, plan="standard")["limit_seconds"] == 3600
    ada.end_period()
    assert ada.quota()["limit_seconds"] == 900


def test_a_grant_that_races_reservations_is_given_once_and_used_once(admin: DatabasePerson, ada: AvatarTime) -> None:
    ada.settle(ada.live(900)["id"], 900)
    at_once([
        lambda: unless("quota_exhausted", lambda: unless("avatar_session_live", lambda: ada.reserve(900))),
        lambda: grant(admin, ada, 60),
        lambda: unless("quota_exhausted", lambda: unless("avatar_session_live", lambda: ada.reserve(900))),
    ])  # fmt: skip
    found = ada.books()
    assert found.allowance == 960
    assert found.reserved in {0, 60}
    assert found.balanced


def test_only_administrators_give_time_and_only_to_people_there_are(admin: DatabasePerson, ada: AvatarTime) -> None:
    assert refused(lambda: grant(ada.person, ada, 100)).status == 403
    nobody: dict[str, Any] = {"p_user_id": str(uuid4()), "p_changes": {"plan": "plus"}, "p_grant_id": str(uuid4())}
    assert refused(lambda: admin.serve("change_avatar_quota", **nobody)).status == 404
    assert refused(lambda: change(admin, ada, plan="golden")).code == "plan_unknown"


# Whose it is


def test_nobody_sees_or_stops_anybody_elses_session(db: Database, ada: AvatarTime) -> None:
    session = ada.live(100)
    bob = AvatarTime(db.person())
    for function in ("get_avatar_session", "stop_avatar_session"):
        assert refused(partial(bob.person.serve, function, p_session_id=session["id"])).status == 404
    assert bob.person.serve("list_avatar_sessions") == {"items": [], "next": None}
    assert ada.person.serve("get_avatar_session", p_session_id=session["id"])["status"] == "live"


def test_sessions_are_listed_newest_first_page_by_page(ada: AvatarTime) -> None:
    made = []
    for _ in range(3):
        session = ada.reserve(10)
        ada.release(session["id"])
        made.append(session["id"])
    first = ada.person.serve("list_avatar_sessions", p_limit=2)
    second = ada.person.serve("list_avatar_sessions", p_limit=2, p_cursor=first["next"])
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None


# Leaving and coming back


def delete(db: Database, email: str) -> None:
    db.call(
        "delete_address", p_email=email, p_goodbye_id=str(uuid4()), p_goodbye={"template": "goodbye", "values": {}},
        p_erasure_id=str(uuid4()),
    )  # fmt: skip


def test_registering_again_gives_no_new_seconds_until_the_period_is_over(db: Database, ada: AvatarTime) -> None:
    ada.settle(ada.live(900)["id"], 700)
    email = ada.person.email
    delete(db, email)
    back = AvatarTime(db.person(email))
    assert back.quota()["remaining_seconds"] == 200
    back.settle(back.live(900)["id"], 200)
    delete(db, email.upper())
    again = AvatarTime(db.person(email))
    assert again.quota()["remaining_seconds"] == 0
    assert again.books().balanced
    again.end_period()
    assert again.quota()["remaining_seconds"] == 900


def test_what_a_deleted_person_had_reserved_and_did_not_use_is_not_held_against_them(
    db: Database, ada: AvatarTime
) -> None:
    session = ada.live(900)
    delete(db, ada.person.email)
    ada.settle(session["id"], 100)
    assert AvatarTime(db.person(ada.person.email)).quota()["remaining_seconds"] == 800


def test_what_is_remembered_of_an_address_does_not_name_it(db: Database, ada: AvatarTime) -> None:
    ada.settle(ada.live(900)["id"], 1)
    delete(db, ada.person.email)
    assert db.rows("select count(*) from public.quota_memories m where m::text like '%%' || %s || '%%'",
                   ada.person.email) == [(0,)]  # fmt: skip
    assert db.rows("select count(*) from public.quota_memories where address_hash = encode(sha256(%s::bytea), 'hex')",
                   ada.person.email) == [(0,)]  # fmt: skip
