"""A turn opened, closed, replayed and lost, at the database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.support.database import Database, Refusal, hash_of, shared_database, unless
from tests.support.database_talk import REPLY, ROUTE, Talk, completed, failed, usage


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def talk(db: Database) -> Talk:
    person = db.person(full_name="Ada", ai_preferences="Be brief")
    return Talk(person, person.session())


# Opening


def test_an_opened_turn_comes_with_all_that_the_agent_is_shown(talk: Talk) -> None:
    assert talk.open()["data"] == {
        "turn_id": talk.turn_id, "ordinal": 1, "history": [],
        "person": {
            "preferred_name": None, "full_name": "Ada", "timezone": "UTC", "language": "en",
            "ai_preferences": "Be brief",
        },
        "session": {"id": talk.session, "title": "New conversation", "title_source": "default"},
    }  # fmt: skip
    turn = talk.turn()
    assert (turn["status"], turn["kind"], turn["result"], turn["usage"], turn["timings_ms"]) == (
        "running",
        "voice",
        None,
        [],
        {},
    )


def test_history_is_the_last_messages_oldest_first(talk: Talk) -> None:
    for number in range(3):
        turn_id = str(uuid4())
        talk.open(turn_id=turn_id)
        talk.close(completed(f"Answer {number}"), turn_id)
    opened = talk.open(p_history=3)["data"]
    assert opened["history"] == [
        {"role": "assistant", "text": "Answer 1"}, {"role": "user", "text": "Hi"},
        {"role": "assistant", "text": "Answer 2"},
    ]  # fmt: skip
    assert opened["ordinal"] == 4


def test_a_turn_in_an_ended_session_is_refused(talk: Talk) -> None:
    talk.person.serve("end_session", p_session_id=talk.session)
    found = talk.refused(talk.open)
    assert (found.status, found.code) == (409, "session_ended")


def test_a_turn_in_an_unknown_session_is_refused(talk: Talk) -> None:
    found = talk.refused(lambda: talk.open(p_session_id=str(uuid4())))
    assert (found.status, found.code) == (404, "not_found")


def test_a_second_turn_is_refused_with_the_running_ones_id(talk: Talk) -> None:
    talk.open()
    found = talk.refused(lambda: talk.open(turn_id=str(uuid4())))
    assert (found.status, found.code) == (409, "turn_in_progress")
    assert found.extra == {"turn_id": talk.turn_id, "retry_after_seconds": 1}


def test_of_twenty_parallel_openings_one_runs(talk: Talk) -> None:
    def try_once(_: int) -> str | None:
        turn_id = str(uuid4())
        return turn_id if unless("turn_in_progress", lambda: talk.open(turn_id=turn_id)) else None

    with ThreadPoolExecutor(20) as pool:
        opened = [turn_id for turn_id in pool.map(try_once, range(20)) if turn_id]
    assert len(opened) == 1
    rows = "select id::text, status from public.turns where session_id = %s"
    assert talk.person.database.rows(rows, talk.session) == [(opened[0], "running")]


def test_of_parallel_openings_with_one_key_one_runs(talk: Talk) -> None:
    def try_once(_: int) -> bool:
        return unless("request_in_progress", lambda: talk.open(turn_id=str(uuid4()), key="key")) is not None

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(try_once, range(12))) == 1


def test_the_same_opening_asked_for_twice_is_one_turn(talk: Talk) -> None:
    limit = {"name": str(uuid4()), "per_minute": 1, "burst": 1, "cost": 1}
    entry = talk.person.database.entry(ROUTE, key="key", fleet=[limit])
    assert talk.open(p_entry=entry) == talk.open(p_entry=entry)
    assert talk.person.database.rows("select count(*) from public.turns where session_id = %s", talk.session) == [(1,)]


def test_turns_of_other_sessions_run_beside_it(talk: Talk) -> None:
    talk.open()
    other = Talk(talk.person, talk.person.session())
    assert other.open()["data"]["ordinal"] == 1


# Closing


def test_a_closed_turn_leaves_messages_ledger_title_and_answer(db: Database, talk: Talk) -> None:
    talk.open(key="key", p_capability_hash=hash_of(talk.turn_id))
    outcome = completed()
    assert talk.close(outcome) == outcome["result"]
    user, assistant = talk.messages()
    assert (user["position"], user["role"], user["kind"], user["text"], user["voice"]) == (
        1,
        "user",
        "voice",
        "Hi",
        {"confidence": 0.9},
    )
    assert (assistant["position"], assistant["role"], assistant["text"], assistant["state"]) == (
        2,
        "assistant",
        REPLY,
        "complete",
    )
    assert user["turn_id"] == assistant["turn_id"] == talk.turn_id
    session = talk.person.serve("get_session", p_session_id=talk.session)
    assert (session["message_count"], session["turn_count"], session["title"], session["title_source"]) == (
        2,
        1,
        "Greetings",
        "turn",
    )
    assert session["last_activity_at"] > session["created_at"]
    booked = db.rows(
        "select turn_id::text, cost_micros, route from public.usage_events where user_id = %s", talk.person.id
    )
    assert booked == [(talk.turn_id, 7, ROUTE)]
    turn = talk.turn()
    assert (turn["status"], turn["cost_micros"], turn["timings_ms"], turn["result"]) == (
        "completed",
        7,
        {"total": 900},
        outcome["result"],
    )
    assert turn["completed_at"] is not None
    assert db.rows("select capability_hash from public.turns where id = %s", talk.turn_id) == [(None,)]
    replay = talk.open(turn_id=str(uuid4()), key="key")
    assert replay["data"] is None
    assert replay["entry"]["replay"] == {"fingerprint": "a" * 64, "status": 201, "body": outcome["result"]}


def test_a_failed_turn_keeps_what_really_happened(db: Database, talk: Talk) -> None:
    talk.open(key="key")
    assert talk.close(failed(usage=[usage(None)])) is None
    assert talk.messages() == []
    session = talk.person.serve("get_session", p_session_id=talk.session)
    assert (session["turn_count"], session["title_source"]) == (0, "default")
    turn = talk.turn()
    assert (turn["status"], turn["code"], turn["problem"]["status"]) == ("failed", "no_speech", 422)
    assert db.rows("select cost_micros from public.usage_events where user_id = %s", talk.person.id) == [(None,)]
    replay = talk.open(turn_id=str(uuid4()), key="key")["entry"]["replay"]
    assert (replay["status"], replay["body"]["code"]) == (422, "no_speech")


def test_closing_again_with_the_same_outcome_gives_the_same_answer_once(db: Database, talk: Talk) -> None:
    talk.open()
    outcome = completed()
    assert talk.close(outcome) == talk.close(outcome) == outcome["result"]
    assert len(talk.messages()) == 2
    assert db.rows("select count(*) from public.usage_events where user_id = %s", talk.person.id) == [(1,)]


def test_closing_again_with_another_outcome_is_refused(talk: Talk) -> None:
    talk.open()
    talk.close()
    found = talk.refused(lambda: talk.close(completed("Something else")))
    assert (found.status, found.code) == (409, "turn_lost")
    assert talk.messages()[1]["text"] == REPLY


def test_a_failed_turn_leaves_a_gap_and_order_stays(talk: Talk) -> None:
    talk.open(turn_id=(first := str(uuid4())))
    talk.close(failed(), first)
    talk.open()
    talk.close()
    assert [message["position"] for message in talk.messages()] == [3, 4]


def test_a_persons_title_is_not_replaced_by_a_turns(talk: Talk) -> None:
    talk.person.serve("update_session", p_session_id=talk.session, p_changes={"title": "Mine"})
    talk.open()
    talk.close()
    assert talk.person.serve("get_session", p_session_id=talk.session)["title"] == "Mine"


def test_the_sum_of_a_persons_turns_is_their_ledger(db: Database, talk: Talk) -> None:
    for cost in (5, 11):
        turn_id = str(uuid4())
        talk.open(turn_id=turn_id)
        talk.close(completed(usage=[usage(cost)], cost_micros=cost), turn_id)
    talk.open()
    talk.lapse()
    db.call("reap_turns", p_limit=1000)
    talk.refused(lambda: talk.close(completed(usage=[usage(2)], cost_micros=2)))
    turns = db.rows("select sum(cost_micros)::int from public.turns where user_id = %s", talk.person.id)
    ledger = db.rows("select sum(cost_micros)::int from public.usage_events where user_id = %s", talk.person.id)
    assert turns == ledger == [(18,)]


# Losing


def assert_lost(talk: Talk, turn_id: str) -> None:
    turn = talk.turn(turn_id)
    assert (turn["status"], turn["code"], turn["problem"]["code"]) == ("failed", "turn_lost", "turn_lost")


def test_a_turn_whose_lease_ran_out_is_reaped_and_its_key_gives_that_failure(db: Database, talk: Talk) -> None:
    talk.open(key="key", p_capability_hash=hash_of(talk.turn_id))
    talk.lapse()
    assert db.call("reap_turns", p_limit=1000)["closed"] >= 1
    assert_lost(talk, talk.turn_id)
    replay = talk.open(turn_id=str(uuid4()), key="key")["entry"]["replay"]
    assert (replay["status"], replay["body"]["code"]) == (409, "turn_lost")
    assert db.rows("select capability_hash from public.turns where id = %s", talk.turn_id) == [(None,)]


def test_a_turn_whose_lease_runs_is_not_reaped(db: Database, talk: Talk) -> None:
    talk.open()
    db.call("reap_turns", p_limit=1000)
    assert talk.turn()["status"] == "running"


def test_no_more_turns_are_reaped_than_asked_for(db: Database) -> None:
    person = db.person()
    talks = [Talk(person, person.session()) for _ in range(3)]
    for one in talks:
        one.open()
    talks[0].lapse()
    assert db.call("reap_turns", p_limit=2) == {"closed": 2}
    db.call("reap_turns", p_limit=1000)
    assert all(one.turn()["code"] == "turn_lost" for one in talks)


def test_a_lost_turn_makes_way_for_the_next(talk: Talk) -> None:
    talk.open()
    talk.lapse()
    assert talk.open(turn_id=str(uuid4()))["data"]["ordinal"] == 2
    assert_lost(talk, talk.turn_id)


def test_a_key_whose_turn_was_lost_never_runs_again(talk: Talk) -> None:
    talk.open(key="key")
    talk.lapse()
    replay = talk.open(turn_id=str(uuid4()), key="key")["entry"]["replay"]
    assert (replay["status"], replay["body"]["code"]) == (409, "turn_lost")
    assert_lost(talk, talk.turn_id)
    assert talk.person.database.rows("select count(*) from public.turns where session_id = %s", talk.session) == [(1,)]


def test_closing_a_lost_turn_is_refused_but_what_it_used_is_booked(db: Database, talk: Talk) -> None:
    talk.open()
    talk.lapse()
    db.call("reap_turns", p_limit=1000)
    found = talk.refused(talk.close)
    assert (found.status, found.code) == (409, "turn_lost")
    assert talk.messages() == []
    assert talk.turn()["cost_micros"] == 7
    assert db.rows("select cost_micros from public.usage_events where user_id = %s", talk.person.id) == [(7,)]


def test_a_turn_that_is_late_but_not_reaped_yet_can_be_closed(talk: Talk) -> None:
    talk.open()
    talk.lapse()
    assert talk.close()["reply"] == REPLY


def test_a_turn_is_either_closed_or_lost_when_both_are_tried_at_once(db: Database, talk: Talk) -> None:
    for _ in range(6):
        talk.turn_id = str(uuid4())
        talk.open(key=talk.turn_id)
        talk.lapse()

        def close() -> str:
            try:
                talk.close()
            except Refusal as refusal:
                return refusal.code
            return "completed"

        with ThreadPoolExecutor(2) as pool:
            closing, _ = pool.submit(close), pool.submit(db.call, "reap_turns", p_limit=1000)
            ended = closing.result()
        turn = talk.turn()
        assert (turn["code"] or turn["status"]) == ended
        stored = [message for message in talk.messages() if message["turn_id"] == talk.turn_id]
        assert len(stored) == (2 if ended == "completed" else 0)
        replay = talk.open(turn_id=str(uuid4()), key=talk.turn_id)["entry"]["replay"]
        assert replay["status"] == (201 if ended == "completed" else 409)


def test_closing_a_turn_of_a_deleted_session_is_refused(db: Database, talk: Talk) -> None:
    talk.open(key="key")
    talk.person.serve("delete_session", p_session_id=talk.session)
    assert talk.refused(talk.close).code == "turn_lost"
    assert db.rows("select cost_micros from public.usage_events where user_id = %s", talk.person.id) == [(7,)]
