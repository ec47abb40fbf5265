"""The outbox, the inbox and the ledger, at the database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.support.database import Database, DatabasePerson, shared_database


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def ada(db: Database) -> DatabasePerson:
    return db.person()


def posted(db: Database, count: int = 1) -> list[str]:
    """Put entries into the outbox, as a registration does."""
    ids = [str(uuid4()) for _ in range(count)]
    for outbox_id in ids:
        db.register(p_outbox_id=outbox_id)
    return ids


def take(db: Database, ids: list[str] | None, limit: int = 100, lease: int = 60) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = db.call("take_outbox", p_limit=limit, p_lease_seconds=lease, p_ids=ids)
    return found


def settle(db: Database, outbox_id: str, error: str | None = None) -> Any:
    return db.call("settle_outbox", p_id=outbox_id, p_error=error)


def due_now(db: Database, ids: list[str]) -> None:
    db.run("update public.outbox set next_attempt_at = now(), lease_until = null where id = any(%s::uuid[])", ids)


# The outbox


def test_an_entry_is_taken_once_while_its_lease_runs(db: Database) -> None:
    ids = posted(db)
    (entry,) = take(db, ids)
    assert (entry["id"], entry["kind"], entry["attempts"]) == (ids[0], "mail", 0)
    assert entry["payload"]["to"].endswith("@oprina.test")
    assert take(db, ids) == []


def test_a_sent_entry_is_emptied_and_never_taken_again(db: Database) -> None:
    ids = posted(db)
    take(db, ids)
    assert settle(db, ids[0])["state"] == "sent"
    due_now(db, ids)
    assert take(db, ids) == []
    assert db.rows("select payload, sent_at is not null from public.outbox where id = %s", ids[0]) == [({}, True)]


def test_a_failed_entry_waits_longer_each_time(db: Database) -> None:
    ids = posted(db)
    waits = []
    for _ in range(4):
        due_now(db, ids)
        take(db, ids)
        settle(db, ids[0], "451 not now")
        waits.append(db.rows("select next_attempt_at - now() from public.outbox where id = %s", ids[0])[0][0])
        assert take(db, ids) == []
    for wait, seconds in zip(waits, (15, 30, 60, 120), strict=True):
        assert timedelta(seconds=seconds - 3) < wait <= timedelta(seconds=seconds)


def test_an_entry_is_dead_after_twelve_attempts(db: Database) -> None:
    ids = posted(db)
    states = []
    for _ in range(12):
        due_now(db, ids)
        assert take(db, ids)
        states.append(settle(db, ids[0], "550 no such mailbox")["state"])
    assert states == ["waiting"] * 11 + ["dead"]
    due_now(db, ids)
    assert take(db, ids) == []
    assert db.rows("select last_error, attempts from public.outbox where id = %s", ids[0]) == [
        ("550 no such mailbox", 12)
    ]


def test_no_wait_is_longer_than_an_hour(db: Database) -> None:
    ids = posted(db)
    db.run("update public.outbox set attempts = 10 where id = %s", ids[0])
    settle(db, ids[0], "451 not now")
    wait = db.rows("select next_attempt_at - now() from public.outbox where id = %s", ids[0])[0][0]
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)


def test_an_entry_whose_sender_vanished_comes_back_and_counts_as_an_attempt(db: Database) -> None:
    ids = posted(db)
    take(db, ids, lease=60)
    db.run("update public.outbox set lease_until = now() - interval '1 s' where id = %s", ids[0])
    (entry,) = take(db, ids)
    assert entry["attempts"] == 1


def test_a_late_failure_does_not_undo_a_success(db: Database) -> None:
    ids = posted(db)
    settle(db, ids[0])
    assert settle(db, ids[0], "451 not now") == settle(db, ids[0])
    assert settle(db, ids[0])["state"] == "sent"


def test_settling_an_unknown_entry_changes_nothing(db: Database) -> None:
    assert settle(db, str(uuid4()))["state"] == "unknown"


def test_parallel_senders_never_take_the_same_entry(db: Database) -> None:
    ids = posted(db, 24)
    with ThreadPoolExecutor(8) as pool:
        taken = [entry["id"] for entries in pool.map(lambda _: take(db, ids, limit=5), range(8)) for entry in entries]
    assert len(taken) == len(set(taken))
    taken += [entry["id"] for entry in take(db, ids)]
    assert sorted(taken) == sorted(ids)


def test_without_ids_whatever_is_due_is_taken(db: Database) -> None:
    ids = posted(db)
    db.run("update public.outbox set next_attempt_at = now() - interval '1 year' where id = %s", ids[0])
    assert [entry["id"] for entry in take(db, None, limit=1)] == ids


# The inbox


def deliver(db: Database, message_id: str, lease: int = 60) -> Any:
    return db.call("take_delivery", p_source="tests", p_message_id=message_id, p_lease_seconds=lease)


def test_a_delivery_has_its_effect_once(db: Database) -> None:
    message_id = str(uuid4())
    assert deliver(db, message_id) == {"first": True, "state": "new"}
    assert deliver(db, message_id) == {"first": False, "state": "running"}
    assert db.call("settle_delivery", p_source="tests", p_message_id=message_id) == {"settled": True}
    assert deliver(db, message_id) == {"first": False, "state": "done"}
    assert db.call("settle_delivery", p_source="tests", p_message_id=message_id) == {"settled": False}


def test_of_parallel_deliveries_one_is_first(db: Database) -> None:
    message_id = str(uuid4())
    with ThreadPoolExecutor(10) as pool:
        assert sum(answer["first"] for answer in pool.map(lambda _: deliver(db, message_id), range(20))) == 1


def test_a_delivery_whose_taker_vanished_is_taken_over_by_one(db: Database) -> None:
    message_id = str(uuid4())
    deliver(db, message_id)
    db.run("update public.inbox set lease_until = now() - interval '1 s' where message_id = %s", message_id)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: deliver(db, message_id), range(6)))
    assert sum(answer["first"] for answer in answers) == 1
    assert {answer["state"] for answer in answers} == {"running"}


def test_the_same_message_of_another_source_is_another_delivery(db: Database) -> None:
    message_id = str(uuid4())
    deliver(db, message_id)
    other = db.call("take_delivery", p_source="others", p_message_id=message_id, p_lease_seconds=60)
    assert other["first"] is True


# The ledger


def item(**changes: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()), "kind": "speaking", "provider": "google", "unit": "characters", "quantity": 120,
        "cost_micros": 360, "turn_id": None, "route": "POST /v1/voice/speech",
    } | changes  # fmt: skip


def test_usage_is_booked_once_however_often_it_is_told(db: Database, ada: DatabasePerson) -> None:
    items = [item(), item(cost_micros=None)]
    assert ada.call("record_usage", p_items=items) == {"booked": 2}
    assert ada.call("record_usage", p_items=items) == {"booked": 0}
    booked = db.rows(
        "select kind, quantity::int, cost_micros, route from public.usage_events where user_id = %s", ada.id
    )
    assert sorted(booked, key=str) == sorted(
        [("speaking", 120, 360, "POST /v1/voice/speech"), ("speaking", 120, None, "POST /v1/voice/speech")], key=str
    )


def test_usage_is_booked_to_the_person_of_the_token(db: Database, ada: DatabasePerson) -> None:
    bob = db.person()
    ada.call("record_usage", p_items=[item(user_id=bob.id)])
    assert db.rows("select count(*) from public.usage_events where user_id = %s", bob.id) == [(0,)]
    assert db.rows("select count(*) from public.usage_events where user_id = %s", ada.id) == [(1,)]
