"""Conversations and their messages, at the database."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.support.database import Database, DatabasePerson, Refusal, shared_database


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


@pytest.fixture
def ada(db: Database) -> DatabasePerson:
    return db.person(full_name="Ada")


def say(person: DatabasePerson, session: str, user: str, assistant: str, kind: str = "text") -> None:
    """A completed turn."""
    turn_id = str(uuid4())
    person.serve(
        "open_turn", p_session_id=session, p_turn_id=turn_id, p_kind=kind, p_capability_hash=None, p_history=0,
        p_lease_seconds=60,
    )  # fmt: skip
    outcome = {
        "status": "completed", "user_message": {"id": str(uuid4()), "text": user, "kind": kind, "voice": None},
        "assistant_message": {"id": str(uuid4()), "text": assistant, "state": "complete"}, "usage": [],
        "timings_ms": {}, "result": {"reply": assistant}, "http_status": 201, "title": None,
    }  # fmt: skip
    person.serve("close_turn", p_turn_id=turn_id, p_outcome=outcome)


def titles(person: DatabasePerson, **parameters: Any) -> list[str]:
    return [item["title"] for item in person.serve("list_sessions", **parameters)["items"]]


def pages(person: DatabasePerson, function: str, **parameters: Any) -> list[list[Any]]:
    found: list[list[Any]] = []
    cursor = None
    while True:
        answer = person.serve(function, p_cursor=cursor, **parameters)
        found.append(answer["items"])
        cursor = answer["next"]
        if cursor is None:
            return found


def test_a_session_is_created_empty_and_active(ada: DatabasePerson) -> None:
    session_id = str(uuid4())
    created = ada.serve("create_session", p_id=session_id, p_title="Whales")
    moment = created["created_at"]
    assert created == {
        "id": session_id, "title": "Whales", "title_source": "person", "status": "active", "message_count": 0,
        "turn_count": 0, "created_at": moment, "updated_at": moment, "last_activity_at": moment, "ended_at": None,
    }  # fmt: skip
    assert moment.endswith("Z")
    assert ada.serve("get_session", p_session_id=session_id) == created


def test_a_session_without_a_title_waits_for_one(ada: DatabasePerson) -> None:
    session = ada.session()
    assert ada.serve("get_session", p_session_id=session)["title_source"] == "default"


def test_a_session_id_that_another_person_has_is_not_handed_out(db: Database, ada: DatabasePerson) -> None:
    session = db.person().session("Bob's")
    with pytest.raises(Refusal) as raised:
        ada.serve("create_session", p_id=session, p_title="Mine")
    assert raised.value.code == "not_found"


def test_sessions_come_by_their_newest_activity_page_by_page(ada: DatabasePerson) -> None:
    first = ada.session("0")
    for number in range(1, 7):
        ada.session(str(number))
    say(ada, first, "Hi", "Hello")
    found = [[item["title"] for item in page] for page in pages(ada, "list_sessions", p_limit=3)]
    assert found == [["0", "6", "5"], ["4", "3", "2"], ["1"]]


def test_sessions_of_the_same_moment_are_each_listed_once(db: Database, ada: DatabasePerson) -> None:
    made = {ada.session(str(number)) for number in range(7)}
    db.run("update public.sessions set last_activity_at = '2026-01-01T00:00:00.123456Z' where user_id = %s", ada.id)
    listed = [item["id"] for page in pages(ada, "list_sessions", p_limit=2) for item in page]
    assert len(listed) == 7
    assert set(listed) == made


def test_a_full_last_page_has_no_next(ada: DatabasePerson) -> None:
    for number in range(4):
        ada.session(str(number))
    assert [len(page) for page in pages(ada, "list_sessions", p_limit=2)] == [2, 2]


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-5, 1), (1000, 3), (None, 3)])
def test_a_page_has_at_least_one_and_at_most_a_hundred_items(
    ada: DatabasePerson, asked: int | None, given: int
) -> None:
    for number in range(3):
        ada.session(str(number))
    assert len(ada.serve("list_sessions", p_limit=asked)["items"]) == given


def test_sessions_are_listed_by_status(ada: DatabasePerson) -> None:
    ada.session("open")
    ada.serve("end_session", p_session_id=ada.session("over"))
    assert titles(ada, p_status="active") == ["open"]
    assert titles(ada, p_status="ended") == ["over"]
    assert set(titles(ada)) == {"open", "over"}


def test_a_search_finds_titles_and_what_was_said_whatever_its_case(ada: DatabasePerson) -> None:
    ada.session("About WHALES")
    said = ada.session("Other")
    say(ada, said, "How big is a whale?", "Very big.")
    ada.session("Ants")
    assert set(titles(ada, p_query="whale")) == {"About WHALES", "Other"}
    assert titles(ada, p_query="VERY BIG") == ["Other"]
    assert titles(ada, p_query="elephant") == []


@pytest.mark.parametrize("query", ["100%", "a_b", "c\\d", "%", "_", "\\"])
def test_a_search_takes_every_character_for_itself(ada: DatabasePerson, query: str) -> None:
    ada.session(f"has {query} in it")
    ada.session("100 aXb cd")
    assert titles(ada, p_query=query) == [f"has {query} in it"]


def test_an_empty_search_finds_everything(ada: DatabasePerson) -> None:
    ada.session("one")
    assert titles(ada, p_query="") == ["one"]


def test_a_title_that_a_person_gave_is_kept_by_turns_until_it_is_given_back(ada: DatabasePerson) -> None:
    session = ada.session()
    changed = ada.serve("update_session", p_session_id=session, p_changes={"title": "Mine"})
    assert (changed["title"], changed["title_source"]) == ("Mine", "person")
    back = ada.serve("update_session", p_session_id=session, p_changes={"title": None})
    assert back["title_source"] == "default"
    same = ada.serve("update_session", p_session_id=session, p_changes={"status": "ended", "user_id": str(uuid4())})
    assert same == back


def test_a_session_ends_once(ada: DatabasePerson) -> None:
    session = ada.session()
    ended = ada.serve("end_session", p_session_id=session)
    assert ended["status"] == "ended"
    assert ended["ended_at"] is not None
    assert ada.serve("end_session", p_session_id=session) == ended


def test_a_deleted_session_is_gone_with_everything_in_it(db: Database, ada: DatabasePerson) -> None:
    session = ada.session()
    say(ada, session, "Hi", "Hello")
    ada.serve("delete_session", p_session_id=session)
    for function in ("get_session", "delete_session", "end_session", "list_messages", "session_opening"):
        with pytest.raises(Refusal) as raised:
            ada.serve(function, p_session_id=session)
        assert (raised.value.status, raised.value.code) == (404, "not_found")
    assert db.rows("select count(*) from public.messages where session_id = %s", session) == [(0,)]
    assert db.rows("select count(*) from public.turns where session_id = %s", session) == [(0,)]


def test_an_opening_is_the_first_thing_the_person_said(ada: DatabasePerson) -> None:
    session = ada.session()
    assert ada.serve("session_opening", p_session_id=session) == {"text": None}
    say(ada, session, "First", "Answer")
    say(ada, session, "Second", "Answer")
    assert ada.serve("session_opening", p_session_id=session) == {"text": "First"}


def test_a_title_made_again_replaces_even_a_persons_own(ada: DatabasePerson) -> None:
    session = ada.session("Mine")
    titled = ada.serve("retitle_session", p_session_id=session, p_title="Whales")
    assert (titled["title"], titled["title_source"]) == ("Whales", "turn")


def test_messages_come_newest_first_page_by_page(ada: DatabasePerson) -> None:
    session = ada.session()
    for number in range(3):
        say(ada, session, f"Q{number}", f"A{number}")
    found = [
        [(item["position"], item["text"]) for item in page]
        for page in pages(ada, "list_messages", p_session_id=session, p_limit=4)
    ]
    assert found == [[(6, "A2"), (5, "Q2"), (4, "A1"), (3, "Q1")], [(2, "A0"), (1, "Q0")]]


def test_messages_are_listed_by_side_and_kind(ada: DatabasePerson) -> None:
    session = ada.session()
    say(ada, session, "typed", "answer 1")
    say(ada, session, "spoken", "answer 2", kind="voice")

    def texts(**by: Any) -> list[str]:
        return [item["text"] for item in ada.serve("list_messages", p_session_id=session, **by)["items"]]

    assert texts(p_role="user") == ["spoken", "typed"]
    assert texts(p_kind="voice") == ["answer 2", "spoken"]
    assert texts(p_role="user", p_kind="voice") == ["spoken"]


def test_a_message_tells_everything_clients_may_rely_on(ada: DatabasePerson) -> None:
    session = ada.session()
    say(ada, session, "Hi", "Hello")
    message = ada.serve("list_messages", p_session_id=session)["items"][0]
    assert set(message) == {
        "id", "session_id", "turn_id", "role", "kind", "text", "state", "position", "voice", "created_at",
    }  # fmt: skip
