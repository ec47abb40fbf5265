"""The address in front of PostgREST behaves as Supabase's does, and as the faults ask it to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from supabase import ClientOptions, create_client

from local.database.front import FrontKeys, create_front
from local.faults import FaultBook
from tests.support.database import Database, throwaway_database


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> FaultBook:
    return FaultBook(tmp_path_factory.mktemp("faults") / "faults.json")


@pytest.fixture(scope="module")
def db(faults: FaultBook) -> Iterator[Database]:
    with throwaway_database(faults=faults) as database:
        yield database


@pytest.fixture(autouse=True)
def no_faults_left(faults: FaultBook) -> Iterator[None]:
    yield
    faults.write({})


def ask(db: Database, method: str = "POST", path: str = "/rest/v1/rpc/ping", **changes: str) -> httpx.Response:
    headers = {"apikey": db.running.keys.secret, "X-Backend-Key": db.running.keys.backend} | changes
    return db.http.request(
        method, db.running.supabase_url + path, json={} if method == "POST" else None, headers=headers
    )


# Roles


def test_the_official_client_calls_as_the_server_with_the_secret_key_alone(db: Database) -> None:
    options = ClientOptions(
        headers={"X-Backend-Key": db.running.keys.backend},
        auto_refresh_token=False,
        persist_session=False,
        httpx_client=db.http,
    )
    client = create_client(db.running.supabase_url, db.running.keys.secret, options)
    assert client.rpc("ping", {}).execute().data == {"ok": True}


def test_the_secret_key_alone_stands_for_the_server(db: Database) -> None:
    assert ask(db).json() == {"ok": True}
    assert ask(db, Authorization=f"Bearer {db.running.keys.secret}").json() == {"ok": True}


def test_the_publishable_key_alone_stands_for_anon(db: Database) -> None:
    publishable = db.running.keys.publishable
    for changes in ({}, {"Authorization": f"Bearer {publishable}"}):
        answer = ask(db, apikey=publishable, **changes)
        assert (answer.status_code, answer.json()["code"]) == (401, "42501")


@pytest.mark.parametrize("key", ["publishable", "secret"])
def test_a_persons_token_is_passed_on_whichever_key_comes_with_it(db: Database, key: str) -> None:
    person = db.person()
    answer = db.http.post(
        f"{db.running.supabase_url}/rest/v1/rpc/get_me",
        json={"p_entry": db.entry()},
        headers={
            "apikey": getattr(db.running.keys, key), "Authorization": f"Bearer {person.token}",
            "X-Backend-Key": db.running.keys.backend,
        },
    )  # fmt: skip
    assert answer.json()["data"]["id"] == person.id


def test_a_key_as_bearer_that_is_not_the_apikey_is_refused(db: Database) -> None:
    assert ask(db, Authorization="Bearer sb_secret_other").status_code == 401
    assert ask(db, Authorization=f"Bearer {db.running.keys.publishable}").status_code == 401


def test_a_secret_key_from_a_browser_is_refused(db: Database) -> None:
    answer = ask(db, **{"User-Agent": "Mozilla/5.0"})
    assert (answer.status_code, answer.json()) == (401, {"message": "Forbidden use of secret API key in browser"})


def test_no_api_key_and_an_unknown_one_are_refused(db: Database) -> None:
    assert ask(db, apikey="").json() == {"message": "No API key found in request"}
    unknown = ask(db, apikey="sb_secret_guess")
    assert (unknown.status_code, unknown.json()) == (401, {"message": "Invalid API key"})


def test_the_server_token_cannot_be_brought_from_outside(db: Database) -> None:
    forged = db.sign("", "", role="service_role", keyring=None)
    answer = ask(db, apikey=db.running.keys.publishable, Authorization=f"Bearer {forged[:-4]}AAAA")
    assert answer.status_code == 401


# Passing on


def test_what_postgrest_answers_comes_through_unchanged(db: Database) -> None:
    person = db.person()
    person.session("One")
    headers = {
        "apikey": db.running.keys.publishable, "Authorization": f"Bearer {person.token}",
        "X-Backend-Key": db.running.keys.backend, "Prefer": "count=exact", "Range": "0-0",
    }  # fmt: skip
    direct_headers = {name: value for name, value in headers.items() if name != "apikey"}
    answer = db.http.get(f"{db.running.supabase_url}/rest/v1/sessions?select=title&order=title.asc", headers=headers)
    direct = db.http.get(f"{db.running.postgrest_url}/sessions?select=title&order=title.asc", headers=direct_headers)
    assert (answer.status_code, answer.content) == (direct.status_code, direct.content) == (200, b'[{"title":"One"}]')
    for name in ("content-range", "content-type"):
        assert answer.headers[name] == direct.headers[name]


def test_a_large_answer_and_a_large_question_come_through_whole(db: Database) -> None:
    person = db.person()
    wishes = "wish " * 100_000
    assert person.serve("update_me", p_changes={"ai_preferences": wishes})["ai_preferences"] == wishes


def test_other_addresses_are_nobodys(db: Database) -> None:
    for path in ("/", "/auth/v1/health", "/rest/v2/rpc/ping", "/rest/v1x"):
        assert ask(db, path=path).status_code == 404


def test_a_browsers_preflight_needs_no_key(db: Database) -> None:
    asked = {"Origin": "https://page.test", "Access-Control-Request-Method": "POST"}
    answer = db.http.options(f"{db.running.supabase_url}/rest/v1/rpc/ping", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"]


async def test_a_postgrest_that_is_away_is_answered_for() -> None:
    front = create_front("http://127.0.0.1:9", FrontKeys("sb_publishable_x", "sb_secret_x", "s" * 32))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://front") as client:
        answer = await client.post("/rest/v1/rpc/ping", json={}, headers={"apikey": "sb_secret_x"})
    assert answer.status_code == 503


# Faults


def test_a_delay_is_waited_for(db: Database, faults: FaultBook) -> None:
    faults.write({"supabase": {"ping": {"delay_ms": 150}}})
    began = time.perf_counter()
    assert ask(db).status_code == 200
    assert time.perf_counter() - began >= 0.15


def test_a_failure_is_answered_without_doing_the_work(db: Database, faults: FaultBook) -> None:
    person = db.person()
    faults.write({"supabase": {"create_session": {"status": 503}}})
    with pytest.raises(Exception, match=r"503|asked for"):
        person.session("Never made")
    faults.write({})
    assert person.serve("list_sessions")["items"] == []


def test_a_lost_answer_breaks_the_connection_after_the_work_is_done(db: Database, faults: FaultBook) -> None:
    person = db.person()
    faults.write({"supabase": {"create_session": {"lose_answer": True}}})
    with pytest.raises(httpx.RemoteProtocolError):
        person.session("Made")
    faults.write({})
    assert [item["title"] for item in person.serve("list_sessions")["items"]] == ["Made"]


def test_a_fault_of_one_function_leaves_the_others_alone(db: Database, faults: FaultBook) -> None:
    faults.write({"supabase": {"ping": {"status": 500}}})
    assert ask(db).status_code == 500
    assert db.person().serve("list_sessions")["items"] == []


def test_a_fault_of_every_function_holds_for_each(db: Database, faults: FaultBook) -> None:
    person = db.person()
    faults.write({"supabase": {"*": {"status": 502}}})
    statuses: list[Any] = [ask(db).status_code, ask(db, path="/rest/v1/rpc/purge").status_code]
    assert statuses == [502, 502]
    faults.write({})
    assert person.serve("get_me")["id"] == person.id
