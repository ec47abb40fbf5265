"""A turn that the person interrupts keeps what was heard, at the database."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.support.database import Database, shared_database
from tests.support.database_talk import REPLY, Talk, completed, failed


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def talk(db: Database) -> Talk:
    person = db.person(full_name="Ada", ai_preferences="Be brief")
    return Talk(person, person.session())


def test_an_interrupted_running_turn_keeps_what_was_heard(talk: Talk) -> None:
    talk.open()
    assert talk.interrupt(1, 500) == {"status": "running", "interrupted": True, "reply": None}
    result = talk.close()
    assert (result["reply"], result["interrupted"]) == ("Hello Ada. How are", True)
    message = talk.messages()[1]
    assert (message["text"], message["state"]) == ("Hello Ada. How are", "interrupted")
    turn = talk.turn()
    assert (turn["interrupted"], turn["result"]) == (True, result)


def test_a_completed_turn_is_cut_to_what_was_heard(talk: Talk) -> None:
    talk.open()
    talk.close()
    assert talk.interrupt(0, 1000) == {"status": "completed", "interrupted": True, "reply": "Hello Ada."}
    assert (talk.messages()[1]["text"], talk.messages()[1]["state"]) == ("Hello Ada.", "interrupted")
    assert (talk.turn()["result"]["reply"], talk.turn()["result"]["interrupted"]) == ("Hello Ada.", True)


def test_only_the_first_interruption_counts(talk: Talk) -> None:
    talk.open()
    talk.interrupt(0, 1000)
    talk.interrupt(1, 1000)
    assert talk.close()["reply"] == "Hello Ada."
    assert talk.interrupt(0, 0)["reply"] == "Hello Ada."
    assert talk.messages()[1]["text"] == "Hello Ada."


def test_the_next_turn_is_shown_only_what_was_heard(talk: Talk) -> None:
    talk.open()
    talk.interrupt(0, 1000)
    talk.close()
    history = talk.open(turn_id=str(uuid4()))["data"]["history"]
    assert history == [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello Ada."}]


def test_an_answer_of_which_nothing_was_heard_is_not_shown_again(talk: Talk) -> None:
    talk.open()
    talk.interrupt(0, 0)
    assert talk.close()["reply"] == ""
    assert talk.open(turn_id=str(uuid4()))["data"]["history"] == [{"role": "user", "text": "Hi"}]


def test_an_answer_that_was_read_and_not_spoken_stays_whole(talk: Talk) -> None:
    talk.open()
    talk.interrupt(0, 0)
    assert talk.close(completed(speech={"pieces": None}))["reply"] == REPLY


def test_a_failed_turn_cannot_be_interrupted(talk: Talk) -> None:
    talk.open()
    talk.close(failed())
    found = talk.refused(lambda: talk.interrupt(0, 0))
    assert (found.status, found.code) == (409, "turn_failed")


def test_the_answer_of_a_key_stays_the_first_one_after_an_interruption(talk: Talk) -> None:
    talk.open(key="key")
    result = talk.close()
    talk.interrupt(0, 1000)
    assert talk.open(turn_id=str(uuid4()), key="key")["entry"]["replay"]["body"] == result
