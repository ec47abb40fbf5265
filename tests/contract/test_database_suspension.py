"""What a suspension or a deletion does to sign-ins and to turns that are running, at the database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.database import Database, DatabasePerson, Refusal, hash_of, shared_database, unless
from tests.support.database_talk import Talk, completed, usage


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def administrator(db: Database) -> DatabasePerson:
    return make_administrator(db, db.person())


@pytest.fixture
def talk(db: Database) -> Talk:
    person = db.person(full_name="Ada")
    return Talk(person, person.session())


def make_administrator(db: Database, person: DatabasePerson) -> DatabasePerson:
    db.call("set_administrator", p_email=person.email, p_administrator=True)
    return person


def suspend(administrator: DatabasePerson, person: DatabasePerson, reason: str = "spam") -> Any:
    return administrator.serve("suspend_person", p_user_id=person.id, p_reason=reason, p_outbox_id=str(uuid4()))


def delete(person: DatabasePerson) -> Any:
    return person.serve(
        "delete_me", p_goodbye_id=str(uuid4()), p_goodbye={"subject": "Bye", "text": "Bye"}, p_erasure_id=str(uuid4())
    )


def refusal(call: Any) -> Refusal:
    with pytest.raises(Refusal) as raised:
        call()
    return raised.value


def ledger(db: Database, person: DatabasePerson) -> int:
    ((entries,),) = db.rows("select count(*) from public.usage_events where user_id = %s", person.id)
    return int(entries)


def stored(db: Database, turn_id: str) -> dict[str, Any]:
    columns = "status, code, problem, capability_hash, usage, cost_micros"
    (row,) = db.rows(f"select {columns} from public.turns where id = %s", turn_id)  # noqa: S608 - columns of ours
    return dict(zip(columns.split(", "), row, strict=True))


# A running turn


def test_a_running_turn_of_a_suspended_person_ends_with_its_capability_and_says_why(
    db: Database, talk: Talk, administrator: DatabasePerson
) -> None:
    talk.open(key="asked", p_capability_hash=hash_of("capability"))
    suspend(administrator, talk.person)
    turn = stored(db, talk.turn_id)
    assert (turn["status"], turn["code"], turn["capability_hash"]) == ("failed", "person_suspended", None)
    assert turn["problem"]["turn_id"] == talk.turn_id
    (key,) = db.rows("select state, status, body from public.idempotency_keys where user_id = %s", talk.person.id)
    assert key == ("done", 409, turn["problem"])


def test_what_a_turn_used_before_its_person_was_suspended_is_in_the_ledger_once_and_its_answer_nowhere(
    db: Database, talk: Talk, administrator: DatabasePerson
) -> None:
    talk.open()
    suspend(administrator, talk.person)
    outcome = completed()
    for _ in range(2):
        assert refusal(lambda: talk.close(outcome)).code == "person_inactive"
    turn = stored(db, talk.turn_id)
    assert (turn["status"], turn["code"], turn["cost_micros"]) == ("failed", "person_suspended", 7)
    assert turn["usage"] == outcome["usage"]
    assert ledger(db, talk.person) == 1
    assert db.rows("select 1 from public.messages where user_id = %s", talk.person.id) == []


def test_a_suspended_person_cannot_book_more_by_closing_again_with_another_outcome(
    db: Database, talk: Talk, administrator: DatabasePerson
) -> None:
    talk.open()
    suspend(administrator, talk.person)
    for _ in range(3):
        refusal(lambda: talk.close(completed(usage=[usage(), usage()])))
    assert ledger(db, talk.person) == 2


def test_a_turn_that_was_closed_before_the_suspension_stays_as_it_was(
    db: Database, talk: Talk, administrator: DatabasePerson
) -> None:
    talk.open()
    talk.close()
    before = stored(db, talk.turn_id)
    suspend(administrator, talk.person)
    refusal(lambda: talk.close(completed()))
    assert stored(db, talk.turn_id) == before
    assert ledger(db, talk.person) == 1


def test_a_turn_whose_sign_in_ended_books_what_it_used_and_is_not_left_running(db: Database, talk: Talk) -> None:
    talk.open(key="asked")
    talk.person.serve("end_sign_in")
    assert refusal(lambda: talk.close()).code == "sign_in_ended"
    turn = stored(db, talk.turn_id)
    assert (turn["status"], turn["code"]) == ("failed", "sign_in_ended")
    assert ledger(db, talk.person) == 1


def test_nothing_is_written_any_more_for_a_deleted_person(db: Database, talk: Talk) -> None:
    talk.open(p_capability_hash=hash_of("capability of the deleted"))
    delete(talk.person)
    turn = stored(db, talk.turn_id)
    assert (turn["code"], turn["capability_hash"]) == ("person_deleted", None)
    assert refusal(lambda: talk.close()).code == "person_inactive"
    assert ledger(db, talk.person) == 0


def test_somebody_elses_running_turn_is_not_touched_by_the_last_word_of_a_suspended_person(
    db: Database, talk: Talk, administrator: DatabasePerson
) -> None:
    other = db.person()
    suspend(administrator, other)
    talk.open()
    refusal(lambda: Talk(other, talk.session, talk.turn_id).close())
    assert stored(db, talk.turn_id)["status"] == "running"
    assert ledger(db, other) == 0
    talk.close()


def test_the_door_for_a_turns_last_word_opens_to_no_forged_or_foreign_token(db: Database, talk: Talk) -> None:
    talk.open()
    outcome: dict[str, Any] = {"p_entry": db.entry(), "p_turn_id": talk.turn_id, "p_outcome": completed()}
    foreign = db.sign(talk.person.id, talk.person.sign_in_id, iss="https://other.test")
    assert refusal(lambda: db.call("close_turn", foreign, **outcome)).code == "token_invalid"
    nobody = db.sign(str(uuid4()), talk.person.sign_in_id)
    assert refusal(lambda: db.call("close_turn", nobody, **outcome)).code == "person_inactive"
    client = db.client(db.running.keys.publishable, talk.person.token)
    with pytest.raises(Exception, match="backend_only"):
        client.rpc("close_turn", outcome).execute()
    assert stored(db, talk.turn_id)["status"] == "running"


def test_a_turn_that_opens_while_its_person_is_suspended_never_keeps_its_capability(
    db: Database, administrator: DatabasePerson
) -> None:
    """Whichever comes first: the opening is refused, or the suspension waits for it and ends it."""
    people = [db.person() for _ in range(12)]
    talks = [Talk(person, person.session()) for person in people]

    def opening(talk: Talk) -> Any:
        return unless("person_inactive", lambda: talk.open(p_capability_hash=hash_of(talk.turn_id)))

    with ThreadPoolExecutor(8) as pool:
        for talk in talks:
            opened = pool.submit(opening, talk)
            pool.submit(suspend, administrator, talk.person).result()
            opened.result()
    ids = [talk.turn_id for talk in talks]
    alive = "select 1 from public.turns where id = any (%s) and (status = 'running' or capability_hash is not null)"
    assert db.rows(alive, ids) == []


def test_a_suspension_waits_for_an_opening_that_has_not_committed_and_ends_it(
    db: Database, talk: Talk, administrator: DatabasePerson
) -> None:
    with psycopg.connect(db.url) as opening, ThreadPoolExecutor(1) as pool:
        claims = f'{{"sub": "{talk.person.id}", "sid": "{talk.person.sign_in_id}", "role": "authenticated"}}'
        opening.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        opening.execute("set local role authenticated")
        opening.execute(
            "select public.open_turn(%s, %s, %s, 'text', %s, 5, 60)",
            [Jsonb(db.entry()), talk.session, talk.turn_id, hash_of(talk.turn_id)],
        )
        suspending = pool.submit(suspend, administrator, talk.person)
        with pytest.raises(TimeoutError):
            suspending.result(0.3)
        opening.commit()
        suspending.result(5)
    turn = stored(db, talk.turn_id)
    assert (turn["code"], turn["capability_hash"]) == ("person_suspended", None)


# Who may


def test_of_two_administrators_who_suspend_each_other_one_stays(db: Database) -> None:
    for _ in range(5):
        one, other = (make_administrator(db, db.person()) for _ in range(2))
        db.run("update public.users set is_admin = false where id <> all (%s::uuid[])", [one.id, other.id])
        with ThreadPoolExecutor(2) as pool:
            tries = [pool.submit(suspend, one, other), pool.submit(suspend, other, one)]
        refused = [error for each in tries if isinstance(error := each.exception(), Refusal)]
        assert [error.code for error in refused] in (["last_administrator"], ["person_inactive"])
        living = db.rows(
            "select 1 from public.users where id = any (%s::uuid[]) and status = 'active'", [one.id, other.id]
        )
        assert len(living) == 1


def test_an_administrators_reach_into_others_rows_ends_with_the_transaction(
    db: Database, administrator: DatabasePerson
) -> None:
    other = db.person()
    suspend(administrator, other)
    with psycopg.connect(db.url) as pooled:
        reach = "select coalesce(current_setting('private.administering', true), '')"
        pooled.execute("set local role app_owner")
        pooled.execute("select private.require_administrator('{\"admin\": true}')")
        assert pooled.execute(reach).fetchone() == ("on",)
        pooled.commit()
        assert pooled.execute(reach).fetchone() == ("",)


def test_nobody_is_erased_who_was_not_deleted(db: Database, talk: Talk) -> None:
    talk.open()
    talk.close()
    for function, more in (
        ("erase_rows", {"p_table": "messages", "p_limit": 10}),
        ("erase_limits", {}),
        ("erase_mails", {}),
        ("erase_person", {}),
    ):
        refused = refusal(lambda f=function, m=more: db.call(f, p_user_id=talk.person.id, **m))
        assert refused.code == "person_not_deleted"
    assert len(talk.messages()) == 2


@pytest.mark.parametrize("table", ["outbox", "audit_log", "nothing", "users; drop table users", "pg_class", ""])
def test_rows_are_erased_and_exported_only_where_they_say_whose_they_are(db: Database, table: str) -> None:
    person = db.person()
    exported = refusal(lambda: db.call("export_rows", p_user_id=person.id, p_table=table, p_after=None, p_limit=1))
    delete(person)
    erased = refusal(lambda: db.call("erase_rows", p_user_id=person.id, p_table=table, p_limit=1))
    assert (exported.code, erased.code) == ("not_found", "not_found")


@pytest.mark.parametrize("table", ["refresh_tokens", "one_time_tokens", "idempotency_keys"])
def test_a_table_that_the_person_may_not_read_is_not_exported(db: Database, table: str) -> None:
    refused = refusal(lambda: db.call("export_rows", p_user_id=db.person().id, p_table=table, p_after=None, p_limit=1))
    assert refused.code == "not_found"


# What never dies


def test_an_erasure_is_tried_for_ever_and_at_least_every_hour(db: Database) -> None:
    person = db.person()
    delete(person)
    ((entry,),) = db.rows(
        "select id from public.outbox where kind = 'erase_person' and payload ->> 'person_id' = %s", person.id
    )
    for attempts in (11, 12, 60, 5_000):
        db.run("update public.outbox set attempts = %s, next_attempt_at = now() where id = %s", attempts, entry)
        assert db.call("settle_outbox", p_id=str(entry), p_error="not erased: sessions")["state"] == "waiting"
        late = db.rows("select next_attempt_at <= now() + interval '1 hour' from public.outbox where id = %s", entry)
        assert late == [(True,)]
    found = db.call("waiting_erasures")
    assert found["failing"] >= 1
    assert found["oldest_at"] is not None
    db.run("delete from public.outbox where id = %s", entry)
