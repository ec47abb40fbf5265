"""Passwords, links and sign-ins at the database: what races, what is taken and given back, who may do what."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.support.database import Database, DatabasePerson, Refusal, hash_of, shared_database

LATER = "2999-01-01T00:00:00Z"
ELSEWHERE = "198.51.100.200"


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def ada(db: Database) -> DatabasePerson:
    return db.person(full_name="Ada")


def find(db: Database, email: str, address: str = ELSEWHERE) -> Any:
    return db.call("find_credentials", p_entry=db.entry(address=address), p_email=email)["data"]


def open_with(db: Database, found: dict[str, Any], address: str = ELSEWHERE) -> Any:
    """Sign in by a password that was right when it was checked."""
    how = {"by": "password", "password_set_at": found["password_set_at"], "attempt": found["attempt"]}
    return db.call(
        "open_sign_in", p_entry=db.entry(address=address), p_user_id=found["user_id"], p_sign_in_id=str(uuid4()),
        p_refresh_id=str(uuid4()), p_refresh_hash=hash_of(str(uuid4())), p_refresh_expires_at=LATER, p_device={},
        p_how=how,
    )["data"]  # fmt: skip


def ask(db: Database, email: str) -> str:
    token_hash = hash_of(str(uuid4()))
    answer = db.call(
        "ask_password_reset", p_entry=db.entry(), p_email=email, p_token_hash=token_hash, p_token_expires_at=LATER,
        p_outbox_id=str(uuid4()), p_mail={"to": email},
    )  # fmt: skip
    assert answer["data"]["outbox_id"] is not None
    return token_hash


def reset(db: Database, token_hash: str) -> Any:
    return db.call(
        "reset_password", p_entry=db.entry(), p_token_hash=token_hash, p_password_hash="$2b$04$reset",
        p_sign_in_id=str(uuid4()), p_refresh_id=str(uuid4()), p_refresh_hash=hash_of(str(uuid4())),
        p_refresh_expires_at=LATER, p_device={}, p_outbox_id=str(uuid4()), p_mail={"to": "x"},
    )["data"]  # fmt: skip


def change(person: DatabasePerson, found: dict[str, Any]) -> Any:
    return person.serve(
        "change_password", p_password_set_at=found["password_set_at"], p_password_hash="$2b$04$changed",
        p_attempt=found["attempt"], p_outbox_id=str(uuid4()), p_mail={"to": person.email},
    )  # fmt: skip


def rotate(db: Database, old: str, new: str | None = None) -> Any:
    return db.call(
        "rotate_refresh", p_entry=db.entry(), p_old_hash=hash_of(old), p_new_id=str(uuid4()),
        p_new_hash=hash_of(new or str(uuid4())), p_expires_at=LATER,
    )["data"]  # fmt: skip


def living(db: Database, person: DatabasePerson) -> int:
    rows = db.rows("select count(*) from public.sign_ins where user_id = %s and ended_at is null", person.id)
    return int(rows[0][0])


# Races


@pytest.mark.parametrize("how", ["reset", "change"])
def test_a_password_that_was_replaced_while_it_was_checked_opens_nothing(
    db: Database, ada: DatabasePerson, how: str
) -> None:
    checked = find(db, ada.email)
    if how == "reset":
        reset(db, ask(db, ada.email))
    else:
        change(ada, find(db, ada.email))
    before = living(db, ada)
    with pytest.raises(Refusal) as raised:
        open_with(db, checked)
    assert (raised.value.status, raised.value.code) == (401, "credentials_invalid")
    assert living(db, ada) == before
    assert open_with(db, find(db, ada.email))["user"]["id"] == ada.id


def test_hashing_the_same_password_again_does_not_disturb_who_signs_in_meanwhile(
    db: Database, ada: DatabasePerson
) -> None:
    checked = find(db, ada.email)
    renewal = {"p_user_id": ada.id, "p_old_hash": checked["password_hash"], "p_new_hash": "$2b$05$dearer"}
    answers = [db.call("renew_password_hash", p_entry=db.entry(), **renewal)["data"] for _ in range(2)]
    assert answers == [{"renewed": True}, {"renewed": False}]
    assert open_with(db, checked)["user"]["id"] == ada.id


def test_renewing_a_hash_does_not_bring_an_old_password_back(db: Database, ada: DatabasePerson) -> None:
    checked = find(db, ada.email)
    reset(db, ask(db, ada.email))
    renewal = {"p_user_id": ada.id, "p_old_hash": checked["password_hash"], "p_new_hash": "$2b$05$dearer"}
    assert db.call("renew_password_hash", p_entry=db.entry(), **renewal)["data"] == {"renewed": False}
    assert find(db, ada.email)["password_hash"] == "$2b$04$reset"


def test_a_change_checked_against_a_password_that_was_reset_meanwhile_is_refused(
    db: Database, ada: DatabasePerson
) -> None:
    checked = find(db, ada.email)
    db.run("update public.users set password_set_at = now() where id = %s", ada.id)
    with pytest.raises(Refusal) as raised:
        change(ada, checked)
    assert (raised.value.status, raised.value.code) == (403, "password_wrong")
    assert find(db, ada.email)["password_hash"] == checked["password_hash"]


def test_no_sign_in_survives_a_reset_that_meets_refreshes_and_a_sign_in(db: Database) -> None:
    for _ in range(5):
        ada = db.person()
        token, checked = ask(db, ada.email), find(db, ada.email)
        tried: list[Any] = []

        def attempt(number: int, person: DatabasePerson = ada, token: str = token, found: Any = checked) -> Any:
            if number == 5:
                return reset(db, token)
            if number % 5 == 4:
                try:
                    return open_with(db, found)
                except Refusal as refusal:
                    return refusal.code
            return rotate(db, person.refresh_token)

        with ThreadPoolExecutor(12) as pool:
            tried = list(pool.map(attempt, range(12)))
        kept = tried[5]["sign_in_id"]
        alive = db.rows("select id::text from public.sign_ins where user_id = %s and ended_at is null", ada.id)
        assert alive == [(kept,)]


def test_parallel_sign_outs_of_everything_do_not_wait_for_each_other_for_ever(
    db: Database, ada: DatabasePerson
) -> None:
    devices = [ada, *(db.sign_in(ada.id, ada.email) for _ in range(7))]

    def end(person: DatabasePerson) -> str:
        try:
            person.serve("end_all_sign_ins")
        except Refusal as refusal:
            return refusal.code
        return "ended"

    with ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(end, devices))
    assert "ended" in codes
    assert codes <= {"ended", "sign_in_ended"}
    assert living(db, ada) == 0


# Attempts


def test_an_attempt_is_given_back_to_the_limiter_it_was_taken_from(db: Database, ada: DatabasePerson) -> None:
    new_place = "198.51.100.201"
    left = "select full_at from public.rate_limits where key = %s"
    first, second = find(db, ada.email, new_place), find(db, ada.email, new_place)
    assert first["attempt"] == second["attempt"]
    assert first["attempt"].endswith(" elsewhere")
    taken = db.rows(left, first["attempt"])[0][0]
    # After the first of two, the place is known, and the second is still given back to where it came from.
    open_with(db, first, new_place)
    open_with(db, second, new_place)
    assert (taken - db.rows(left, first["attempt"])[0][0]).total_seconds() == 600
    assert find(db, ada.email, new_place)["attempt"] != first["attempt"]


def test_a_limiter_of_something_else_is_never_given_back(db: Database, ada: DatabasePerson) -> None:
    db.run("insert into public.rate_limits (key, full_at) values ('address 192.0.2.77 x', 'infinity')")
    open_with(db, find(db, ada.email) | {"attempt": "address 192.0.2.77 x"})
    assert db.rows("select full_at = 'infinity' from public.rate_limits where key = 'address 192.0.2.77 x'") == [
        (True,)
    ]


def test_a_limiters_name_tells_no_address_and_is_one_for_every_case(db: Database, ada: DatabasePerson) -> None:
    found = find(db, ada.email)
    assert find(db, ada.email.upper())["attempt"] == found["attempt"]
    keys = {row[0] for row in db.rows("select key from public.rate_limits where key like 'attempts %%'")}
    assert found["attempt"] in keys
    assert not [key for key in keys if "@" in key]


def test_a_limiter_that_cannot_be_reached_lets_the_password_decide(db: Database, ada: DatabasePerson) -> None:
    db.run("alter table public.rate_limits rename column full_at to elsewhere_at")
    try:
        assert find(db, ada.email)["user_id"] == ada.id
    finally:
        db.run("alter table public.rate_limits rename column elsewhere_at to full_at")


# Rights


def test_a_person_ends_and_sees_nobody_elses_sign_ins(db: Database, ada: DatabasePerson) -> None:
    bob = db.person()
    with pytest.raises(Refusal) as raised:
        ada.serve("end_one_sign_in", p_sign_in_id=bob.sign_in_id)
    assert (raised.value.status, raised.value.code) == (404, "not_found")
    assert [item["id"] for item in ada.serve("list_sign_ins")["items"]] == [ada.sign_in_id]
    ada.serve("end_all_sign_ins")
    assert bob.serve("get_me")["id"] == bob.id


def test_a_change_touches_nobody_elses_links_password_or_sign_ins(db: Database, ada: DatabasePerson) -> None:
    bob = db.person()
    token, before = ask(db, bob.email), find(db, bob.email)
    change(ada, find(db, ada.email))
    assert find(db, bob.email) == before
    assert bob.serve("get_me")["id"] == bob.id
    assert reset(db, token)["user"]["id"] == bob.id


def test_a_reset_of_a_person_who_is_not_active_changes_nothing(db: Database, ada: DatabasePerson) -> None:
    token = ask(db, ada.email)
    db.run("update public.users set status = 'suspended' where id = %s", ada.id)
    with pytest.raises(Refusal) as raised:
        reset(db, token)
    assert raised.value.code == "person_inactive"
    db.run("update public.users set status = 'active' where id = %s", ada.id)
    assert find(db, ada.email)["password_hash"] == "$2b$04$irrelevant"
    assert ada.serve("get_me")["id"] == ada.id
    assert reset(db, token)["user"]["id"] == ada.id


def test_a_device_stored_before_its_expiry_was_is_listed_for_thirty_days(db: Database, ada: DatabasePerson) -> None:
    for days, listed in ((29, 1), (31, 0)):
        db.run(
            "update public.sign_ins set expires_at = null, network = null,"
            " last_used_at = now() - make_interval(days => %s) where user_id = %s",
            days,
            ada.id,
        )
        assert len(ada.serve("list_sign_ins")["items"]) == listed
