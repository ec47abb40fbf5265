"""Registration, verification, sign-in and rotation, at the database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.support.database import Database, DatabasePerson, Refusal, hash_of, shared_database

LATER = "2999-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def ada(db: Database) -> DatabasePerson:
    return db.person(full_name="Ada")


def mails(db: Database, email: str) -> list[dict[str, Any]]:
    found = db.rows("select payload from public.outbox where payload ->> 'to' = %s order by created_at, id", email)
    return [row[0] for row in found]


def verify(db: Database, token_hash: str) -> str:
    return str(db.call("verify_email", p_entry=db.entry(), p_token_hash=token_hash)["data"]["user_id"])


def credentials(db: Database, email: str) -> Any:
    return db.call("find_credentials", p_entry=db.entry(), p_email=email)["data"]


def refused(db: Database, function: str, **parameters: Any) -> Refusal:
    with pytest.raises(Refusal) as raised:
        db.call(function, p_entry=db.entry(), **parameters)
    return raised.value


# Registration and verification


def test_a_new_address_becomes_an_unverified_person_and_a_mail(db: Database) -> None:
    email, _ = db.register(p_profile={"full_name": "Ada", "is_admin": True, "status": "suspended"})
    found = credentials(db, email)
    assert found == {
        "user_id": found["user_id"],
        "password_hash": "$2b$04$irrelevant",
        "verified": False,
        "status": "active",
        "password_set_at": None,
        "attempt": found["attempt"],
    }
    assert email not in found["attempt"]
    assert mails(db, email) == [{"to": email}]
    kept = db.rows("select full_name, is_admin from public.users where id = %s", found["user_id"])
    assert kept == [("Ada", False)]


def test_a_verified_address_is_told_and_nothing_of_it_changes(db: Database, ada: DatabasePerson) -> None:
    db.register(ada.email, p_password_hash="$2b$04$mallory", p_profile={"full_name": "Mallory"})
    assert mails(db, ada.email)[-1] == {"to": ada.email, "known": True}
    assert credentials(db, ada.email)["password_hash"] == "$2b$04$irrelevant"
    assert ada.serve("get_me")["full_name"] == "Ada"


def test_an_address_belongs_to_one_person_whatever_its_case(db: Database, ada: DatabasePerson) -> None:
    db.register(ada.email.upper())
    assert db.rows("select count(*) from public.users where lower(email) = %s", ada.email) == [(1,)]
    assert credentials(db, ada.email.upper())["user_id"] == ada.id


def test_the_answer_for_a_new_and_a_known_address_has_one_shape(db: Database, ada: DatabasePerson) -> None:
    answers = []
    for email in (ada.email, f"{uuid4()}@oprina.test"):
        outbox_id = str(uuid4())
        answer = db.call(
            "register_person", p_entry=db.entry(), p_user_id=str(uuid4()), p_email=email, p_password_hash="x",
            p_profile={},
            p_token_hash=hash_of(str(uuid4())), p_token_expires_at=LATER, p_outbox_id=outbox_id, p_mail={"to": email},
            p_known_mail={"to": email},
        )  # fmt: skip
        assert answer["data"].pop("outbox_id") == outbox_id
        answers.append(answer)
    assert answers[0] == answers[1]


def test_registering_again_before_verifying_voids_the_first_link_and_its_password(db: Database) -> None:
    email, first = db.register(p_password_hash="$2b$04$stranger")
    _, second = db.register(email, p_password_hash="$2b$04$owner")
    assert refused(db, "verify_email", p_token_hash=first).code == "token_invalid"
    person = verify(db, second)
    found = credentials(db, email)
    assert found == found | {"user_id": person, "password_hash": "$2b$04$owner", "verified": True, "status": "active"}
    assert [mail.get("known") for mail in mails(db, email)] == [None, None]


def test_parallel_registrations_of_one_address_make_one_person(db: Database) -> None:
    email = f"{uuid4()}@oprina.test"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: db.register(email), range(8)))
    assert db.rows("select count(*) from public.users where email = %s", email) == [(1,)]
    alive = "select count(*) from public.one_time_tokens t join public.users u on u.id = t.user_id where email = %s"
    assert db.rows(alive, email) == [(1,)]


def test_a_link_works_once(db: Database) -> None:
    _, token = db.register()
    verify(db, token)
    found = refused(db, "verify_email", p_token_hash=token)
    assert (found.status, found.code) == (400, "token_invalid")


def test_of_parallel_clicks_on_a_link_one_works(db: Database) -> None:
    _, token = db.register()

    def click(_: int) -> bool:
        try:
            verify(db, token)
        except Refusal:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(click, range(8))) == 1


def test_an_expired_and_an_unknown_link_get_one_answer(db: Database) -> None:
    _, token = db.register()
    assert db.run("update public.one_time_tokens set expires_at = now() where token_hash = %s", token) == 1
    expired = refused(db, "verify_email", p_token_hash=token)
    unknown = refused(db, "verify_email", p_token_hash="0" * 64)
    assert (expired.status, expired.code, expired.extra, expired.sentence) == (
        unknown.status, unknown.code, unknown.extra, unknown.sentence,
    )  # fmt: skip


def test_guessing_links_is_limited_by_address(db: Database) -> None:
    entry = db.entry(f"POST /v1/{uuid4()}", rate={"per_minute": 1, "burst": 2})
    codes = []
    for _ in range(3):
        with pytest.raises(Refusal) as raised:
            db.call("verify_email", p_entry=entry, p_token_hash="0" * 64)
        codes.append(raised.value.code)
    assert codes == ["token_invalid", "token_invalid", "rate_limited"]


def resend(db: Database, email: str, token_hash: str) -> Any:
    return db.call(
        "resend_verification", p_entry=db.entry(), p_email=email, p_token_hash=token_hash, p_token_expires_at=LATER,
        p_outbox_id=str(uuid4()), p_mail={"to": email, "again": True},
    )["data"]["outbox_id"]  # fmt: skip


def test_another_link_replaces_the_first(db: Database) -> None:
    email, first = db.register()
    second = hash_of(str(uuid4()))
    assert resend(db, email.upper(), second)
    assert refused(db, "verify_email", p_token_hash=first).code == "token_invalid"
    verify(db, second)


def test_nobody_who_is_verified_or_unknown_gets_another_link(db: Database, ada: DatabasePerson) -> None:
    assert resend(db, ada.email, hash_of(str(uuid4()))) is None
    assert resend(db, f"{uuid4()}@oprina.test", hash_of(str(uuid4()))) is None


# Sign-ins


def test_credentials_of_nobody_are_null(db: Database, ada: DatabasePerson) -> None:
    assert credentials(db, f"{uuid4()}@oprina.test") is None
    db.run("update public.users set status = 'deleted' where id = %s", ada.id)
    assert credentials(db, ada.email) is None


def test_a_deleted_persons_address_can_be_registered_again(db: Database, ada: DatabasePerson) -> None:
    db.run("update public.users set status = 'deleted' where id = %s", ada.id)
    assert db.person(ada.email).id != ada.id


@pytest.mark.parametrize("status", ["suspended", "deleted"])
def test_nobody_who_is_not_active_signs_in(db: Database, ada: DatabasePerson, status: str) -> None:
    db.run("update public.users set status = %s where id = %s", status, ada.id)
    with pytest.raises(Refusal) as raised:
        db.sign_in(ada.id, ada.email)
    assert (raised.value.status, raised.value.code) == (401, "person_inactive")
    assert db.rows("select count(*) from public.sign_ins where user_id = %s", ada.id) == [(1,)]


def rotate(db: Database, old: str, new: str | None = None, new_id: str | None = None) -> Any:
    return db.call(
        "rotate_refresh", p_entry=db.entry(), p_old_hash=hash_of(old), p_new_id=new_id or str(uuid4()),
        p_new_hash=hash_of(new or str(uuid4())), p_expires_at=LATER,
    )["data"]  # fmt: skip


def later(db: Database, person: DatabasePerson, seconds: int) -> None:
    db.run(
        "update public.refresh_tokens set superseded_at = superseded_at - make_interval(secs => %s) where user_id = %s",
        seconds,
        person.id,
    )


def family_lives(db: Database, person: DatabasePerson) -> bool:
    return db.rows("select ended_at is null from public.sign_ins where id = %s", person.sign_in_id) == [(True,)]


def test_a_refresh_token_is_exchanged_for_the_next(db: Database, ada: DatabasePerson) -> None:
    answer = rotate(db, ada.refresh_token, "second")
    assert (answer["user"]["id"], answer["sign_in_id"]) == (ada.id, ada.sign_in_id)
    later(db, ada, 31)
    assert rotate(db, "second", "third")["sign_in_id"] == ada.sign_in_id


def test_the_previous_token_is_good_for_half_a_minute(db: Database, ada: DatabasePerson) -> None:
    rotate(db, ada.refresh_token, f"{ada.id} 2")
    later(db, ada, 28)
    assert rotate(db, ada.refresh_token, f"{ada.id} 3")["sign_in_id"] == ada.sign_in_id
    living = "select token_hash from public.refresh_tokens where user_id = %s and superseded_at is null"
    assert db.rows(living, ada.id) == [(hash_of(f"{ada.id} 3"),)]


def test_the_grace_is_not_prolonged_by_being_used(db: Database, ada: DatabasePerson) -> None:
    rotate(db, ada.refresh_token)
    later(db, ada, 28)
    rotate(db, ada.refresh_token)
    later(db, ada, 3)
    assert rotate(db, ada.refresh_token) == {"refused": "refresh_token_reused"}


def test_a_superseded_refresh_token_ends_the_whole_family(db: Database, ada: DatabasePerson) -> None:
    other = db.sign_in(ada.id, ada.email)
    rotate(db, ada.refresh_token, f"{ada.id} 2")
    later(db, ada, 31)
    assert rotate(db, ada.refresh_token) == {"refused": "refresh_token_reused"}
    assert rotate(db, f"{ada.id} 2") == {"refused": "refresh_token_invalid"}
    assert not family_lives(db, ada)
    assert rotate(db, other.refresh_token)["sign_in_id"] == other.sign_in_id


def test_a_token_two_rotations_old_ends_the_family_at_once(db: Database, ada: DatabasePerson) -> None:
    rotate(db, ada.refresh_token, f"{ada.id} 2")
    rotate(db, f"{ada.id} 2", f"{ada.id} 3")
    assert rotate(db, ada.refresh_token) == {"refused": "refresh_token_reused"}
    assert not family_lives(db, ada)


def test_the_same_rotation_asked_for_twice_is_one(db: Database, ada: DatabasePerson) -> None:
    new_id = str(uuid4())
    for _ in range(2):
        assert rotate(db, ada.refresh_token, f"{ada.id} 2", new_id)["sign_in_id"] == ada.sign_in_id
    assert db.rows("select count(*) from public.refresh_tokens where user_id = %s", ada.id) == [(2,)]


def test_parallel_rotations_leave_one_living_token_and_a_living_family(db: Database, ada: DatabasePerson) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: rotate(db, ada.refresh_token), range(12)))
    assert all(answer.get("sign_in_id") == ada.sign_in_id for answer in answers)
    living = "select count(*) from public.refresh_tokens where user_id = %s and superseded_at is null"
    assert db.rows(living, ada.id) == [(1,)]
    assert family_lives(db, ada)


def test_parallel_replays_of_a_copied_token_end_the_family_and_rotate_nothing(
    db: Database, ada: DatabasePerson
) -> None:
    rotate(db, ada.refresh_token, f"{ada.id} 2")
    later(db, ada, 31)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: rotate(db, ada.refresh_token)["refused"], range(8)))
    assert sorted(set(answers)) == ["refresh_token_invalid", "refresh_token_reused"]
    assert not family_lives(db, ada)
    assert db.rows("select count(*) from public.refresh_tokens where user_id = %s", ada.id) == [(2,)]


@pytest.mark.parametrize("how", ["expired", "unknown", "signed out"])
def test_a_refresh_token_that_is_good_for_nothing_is_refused(db: Database, ada: DatabasePerson, how: str) -> None:
    token = "nobody's" if how == "unknown" else ada.refresh_token
    if how == "expired":
        db.run("update public.refresh_tokens set expires_at = now() where user_id = %s", ada.id)
    if how == "signed out":
        ada.serve("end_sign_in")
    assert rotate(db, token) == {"refused": "refresh_token_invalid"}


def test_a_suspended_persons_refresh_token_waits(db: Database, ada: DatabasePerson) -> None:
    db.run("update public.users set status = 'suspended' where id = %s", ada.id)
    assert rotate(db, ada.refresh_token) == {"refused": "person_inactive"}
    db.run("update public.users set status = 'active' where id = %s", ada.id)
    assert rotate(db, ada.refresh_token)["sign_in_id"] == ada.sign_in_id


# Profile


def test_a_profile_changes_in_its_own_fields_only(ada: DatabasePerson) -> None:
    before = ada.serve("get_me")
    changes = {"display_name": "A.", "preferences": {"theme": "dark"}, "timezone": "Europe/Madrid"}
    after = ada.serve("update_me", p_changes=changes | {"is_admin": True, "email": "x@oprina.test", "id": str(uuid4())})
    assert after == before | changes | {"updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert ada.serve("get_me") == after


def test_null_clears_a_field_and_what_is_absent_stays(ada: DatabasePerson) -> None:
    ada.serve("update_me", p_changes={"work_type": "engine", "preferences": {"theme": "dark"}})
    after = ada.serve("update_me", p_changes={"full_name": None, "preferences": None})
    assert (after["full_name"], after["preferences"], after["work_type"]) == (None, {}, "engine")


def test_a_profile_tells_everything_clients_may_rely_on(ada: DatabasePerson) -> None:
    assert set(ada.serve("get_me")) == {
        "id", "email", "full_name", "preferred_name", "display_name", "avatar_url", "work_type", "ai_preferences",
        "timezone", "language", "preferences", "is_admin", "email_verified_at", "created_at", "updated_at",
    }  # fmt: skip
