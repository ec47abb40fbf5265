"""The walls between the public REST address and the data, tried with real tokens against the real PostgREST.

What each kind of caller can do to each table and function is in test_table_matrix.py; here is what it does not vary.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from postgrest import APIError
from supabase import Client, ClientOptions, create_client

from infra.supabase.keys import KeyRefused, add_backend_key, retire_backend_key
from shared.accounts.tokens import new_keyring
from tests.support.database import Database, DatabasePerson, Refusal, hash_of

PRIVATE = ("backend_keys", "settings", "migrations", "audit_keys")


def supabase(db: Database, apikey: str, token: str | None = None, backend_key: str | None = None) -> Client:
    """The official client as anybody on the internet would set it up, or with our backend's key."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if backend_key:
        headers["X-Backend-Key"] = backend_key
    options = ClientOptions(headers=headers, auto_refresh_token=False, persist_session=False, httpx_client=db.http)
    return create_client(db.running.supabase_url, apikey, options)


def behind_the_gate(db: Database, person: DatabasePerson) -> Client:
    return supabase(db, db.running.keys.publishable, person.token, db.running.keys.backend)


def refused(request: Any) -> APIError:
    with pytest.raises(APIError) as raised:
        request.execute()
    return raised.value


def refusal(db: Database, token: str) -> Refusal:
    with pytest.raises(Refusal) as raised:
        db.call("get_me", token, p_entry=db.entry())
    return raised.value


# The first wall: the gate


def test_the_server_key_alone_calls_nothing(db: Database) -> None:
    error = refused(supabase(db, db.running.keys.secret).rpc("ping", {}))
    assert (error.code, error.message) == ("PT403", "backend_only")


def test_a_wrong_backend_key_is_as_good_as_none(db: Database) -> None:
    error = refused(supabase(db, db.running.keys.secret, backend_key="guess").rpc("ping", {}))
    assert error.message == "backend_only"


def test_the_hash_of_the_backends_key_is_not_the_key(db: Database) -> None:
    stolen = hash_of(db.running.keys.backend)
    assert refused(supabase(db, db.running.keys.secret, backend_key=stolen).rpc("ping", {})).message == "backend_only"


def test_two_backend_keys_live_at_a_time_and_a_retired_one_opens_nothing(db: Database) -> None:
    def works(key: str) -> bool:
        headers = {"apikey": db.running.keys.secret, "X-Backend-Key": key}
        return db.http.post(f"{db.running.supabase_url}/rest/v1/rpc/ping", json={}, headers=headers).status_code == 200

    with db.administration() as connection:
        add_backend_key(connection, hash_of("the next one"))
        assert works("the next one")
        assert works(db.running.keys.backend)
        with pytest.raises(KeyRefused, match="two keys are live"):
            add_backend_key(connection, hash_of("a third"))
        retire_backend_key(connection, hash_of("the next one"))
        assert not works("the next one")
        with pytest.raises(KeyRefused, match="retired"):
            add_backend_key(connection, hash_of("the next one"))


def test_a_token_of_a_foreign_issuer_is_refused(db: Database, db_ada: DatabasePerson) -> None:
    token = db.sign(db_ada.id, db_ada.sign_in_id, iss="https://elsewhere.test")
    assert refusal(db, token).code == "token_invalid"
    assert refusal(db, db.sign(db_ada.id, db_ada.sign_in_id, iss=None)).code == "token_invalid"


def test_a_token_signed_by_a_foreign_key_is_refused(db: Database, db_ada: DatabasePerson) -> None:
    token = db.sign(db_ada.id, db_ada.sign_in_id, keyring=new_keyring())
    with pytest.raises(APIError) as raised:
        db.call("get_me", token, p_entry=db.entry())
    assert raised.value.code == "PGRST301"


def test_an_expired_token_is_refused(db: Database, db_ada: DatabasePerson) -> None:
    token = db.sign(db_ada.id, db_ada.sign_in_id, exp=int(time.time()) - 60)
    with pytest.raises(APIError) as raised:
        db.call("get_me", token, p_entry=db.entry())
    assert raised.value.code == "PGRST301"


@pytest.mark.parametrize("sign_in", [str(uuid4()), None, "not-a-uuid"], ids=["unknown", "none", "no uuid"])
def test_a_token_of_no_sign_in_is_refused(db: Database, db_ada: DatabasePerson, sign_in: str | None) -> None:
    found = refusal(db, db.sign(db_ada.id, "", sid=sign_in))
    assert (found.status, found.code) in {(401, "sign_in_ended"), (401, "token_invalid")}


@pytest.mark.parametrize("person", [None, "not-a-uuid"])
def test_a_token_of_nobody_is_refused(db: Database, db_ada: DatabasePerson, person: str | None) -> None:
    found = refusal(db, db.sign("", db_ada.sign_in_id, sub=person))
    assert (found.status, found.code) in {(401, "person_inactive"), (401, "token_invalid")}


def test_a_token_with_another_persons_sign_in_is_refused(
    db: Database, db_ada: DatabasePerson, db_bob: DatabasePerson
) -> None:
    found = refusal(db, db.sign(db_ada.id, db_bob.sign_in_id))
    assert (found.status, found.code) == (401, "sign_in_ended")


def test_an_ended_sign_in_is_refused_at_once_and_others_are_not(db: Database, db_ada: DatabasePerson) -> None:
    other = db.sign_in(db_ada.id, db_ada.email)
    db_ada.serve("end_sign_in")
    assert (refusal(db, db_ada.token).status, refusal(db, db_ada.token).code) == (401, "sign_in_ended")
    assert other.serve("get_me")["id"] == db_ada.id


@pytest.mark.parametrize("status", ["suspended", "deleted"])
def test_a_person_who_is_not_active_is_refused_at_once(db: Database, db_ada: DatabasePerson, status: str) -> None:
    assert db.run("update public.users set status = %s where id = %s", status, db_ada.id) == 1
    assert (refusal(db, db_ada.token).status, refusal(db, db_ada.token).code) == (401, "person_inactive")
    error = refused(behind_the_gate(db, db_ada).table("sessions").select("id"))
    assert error.message == "person_inactive"


def test_the_gate_stands_before_the_description_of_the_interface(db: Database, db_ada: DatabasePerson) -> None:
    keys = {"apikey": db.running.keys.publishable}
    for headers in (keys, keys | {"Authorization": f"Bearer {db_ada.token}"}):
        answer = db.http.get(f"{db.running.supabase_url}/rest/v1/", headers=headers)
        assert answer.status_code in {401, 403}
        assert "users" not in answer.text


# The second wall: grants


@pytest.mark.parametrize("table", PRIVATE)
def test_the_private_schema_is_not_served(db: Database, db_ada: DatabasePerson, table: str) -> None:
    client = behind_the_gate(db, db_ada)
    assert refused(client.table(table).select("*")).code in {"42P01", "PGRST205"}
    assert refused(client.schema("private").table(table).select("*")).code == "PGRST106"


# The third wall: rows


def test_a_person_sees_their_own_rows_only(db: Database, db_ada: DatabasePerson, db_bob: DatabasePerson) -> None:
    db_ada.session("Ada's")
    db_bob.session("Bob's")
    client = behind_the_gate(db, db_ada)
    assert client.table("sessions").select("title").execute().data == [{"title": "Ada's"}]
    assert client.table("users").select("id").execute().data == [{"id": db_ada.id}]
    assert client.table("sign_ins").select("id").execute().data == [{"id": db_ada.sign_in_id}]
    for person in (db_ada, db_bob):
        person.serve("get_me", {"rate": {"per_minute": 60, "burst": 9}})
    assert client.table("request_tallies").select("user_id").execute().data == [{"user_id": db_ada.id}]


def test_another_persons_session_is_as_unknown_as_one_that_never_was(
    db: Database, db_ada: DatabasePerson, db_bob: DatabasePerson
) -> None:
    session = db_bob.session("Bob's")
    turn = {"p_session_id": session, "p_turn_id": str(uuid4())}
    opening = {"p_kind": "text", "p_capability_hash": None, "p_history": 5, "p_lease_seconds": 60}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_session", {"p_session_id": session}),
        ("update_session", {"p_session_id": session, "p_changes": {"title": "Mine now"}}),
        ("delete_session", {"p_session_id": session}),
        ("end_session", {"p_session_id": session}),
        ("session_opening", {"p_session_id": session}),
        ("retitle_session", {"p_session_id": session, "p_title": "Mine now"}),
        ("list_messages", {"p_session_id": session}),
        ("open_turn", turn | opening),
        ("get_turn", turn),
        ("interrupt_turn", turn | {"p_played_seq": 0, "p_played_ms": 0}),
    ]
    for function, parameters in calls:
        with pytest.raises(Refusal) as raised:
            db_ada.serve(function, **parameters)
        assert (raised.value.status, raised.value.code) == (404, "not_found"), function
    assert db_bob.serve("get_session", p_session_id=session)["title"] == "Bob's"


def test_another_persons_running_turn_can_be_neither_closed_nor_interrupted(
    db: Database, db_ada: DatabasePerson, db_bob: DatabasePerson
) -> None:
    session, turn_id = db_bob.session(), str(uuid4())
    db_bob.serve(
        "open_turn", p_session_id=session, p_turn_id=turn_id, p_kind="text", p_capability_hash=None, p_history=5,
        p_lease_seconds=60,
    )  # fmt: skip
    with pytest.raises(Refusal) as raised:
        db_ada.serve("close_turn", p_turn_id=turn_id, p_outcome={"status": "failed", "code": "x", "http_status": 500})
    assert raised.value.code == "turn_lost"
    assert db_bob.serve("get_turn", p_session_id=session, p_turn_id=turn_id)["status"] == "running"


def test_another_persons_messages_are_not_found_by_searching(
    db: Database, db_ada: DatabasePerson, db_bob: DatabasePerson
) -> None:
    db_bob.session("A secret project")
    assert db_ada.serve("list_sessions", p_query="secret")["items"] == []


# The address in front of it all


def test_a_secret_key_in_a_browser_is_refused(db: Database) -> None:
    keys = db.running.keys
    headers = {"apikey": keys.secret, "X-Backend-Key": keys.backend, "User-Agent": "Mozilla/5.0 (X11; Linux)"}
    answer = db.http.post(f"{db.running.supabase_url}/rest/v1/rpc/ping", json={}, headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("apikey", [None, "", "sb_secret_guess", "sb_publishable_guess"])
def test_a_request_without_a_known_api_key_is_refused(db: Database, apikey: str | None) -> None:
    headers = {"X-Backend-Key": db.running.keys.backend} | ({"apikey": apikey} if apikey is not None else {})
    answer = httpx.post(f"{db.running.supabase_url}/rest/v1/rpc/ping", json={}, headers=headers)
    assert answer.status_code == 401


def test_a_secret_key_as_bearer_does_not_raise_a_publishable_apikey(db: Database) -> None:
    keys = db.running.keys
    headers = {"apikey": keys.publishable, "Authorization": f"Bearer {keys.secret}", "X-Backend-Key": keys.backend}
    answer = db.http.post(f"{db.running.supabase_url}/rest/v1/rpc/ping", json={}, headers=headers)
    assert answer.status_code == 401
