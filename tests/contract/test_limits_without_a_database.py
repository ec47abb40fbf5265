"""What limits and keys do when the database is slow, away, or cannot keep its books: as docs/limits.md says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from local.faults import FaultBook
from shared.clients import database as client
from tests.support.backend import Backend, Person, from_somewhere, open_backend
from tests.support.database import Database, throwaway_database
from tests.support.talk import assert_problem

HOLD_LIMITERS = "update public.rate_limits set full_at = full_at where key like %s"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> FaultBook:
    return FaultBook(tmp_path_factory.mktemp("faults") / "faults.json")


@pytest.fixture(scope="module")
def database(faults: FaultBook) -> Iterator[Database]:
    with throwaway_database(faults=faults) as opened:
        yield opened


@pytest.fixture(scope="module")
async def backend(database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    folder: Path = tmp_path_factory.mktemp("public")
    async with open_backend(database.environment, folder) as opened:
        yield opened


@pytest.fixture
async def ada(backend: Backend) -> Person:
    return await backend.register_person()


@pytest.fixture(autouse=True)
def no_faults_left(faults: FaultBook) -> Iterator[None]:
    yield
    faults.write({})


@asynccontextmanager
async def locked(database: Database, statement: str, *parameters: str) -> AsyncIterator[None]:
    """Somebody else holds rows, for as long as the block lasts."""
    async with await psycopg.AsyncConnection.connect(database.url) as connection:
        await connection.execute(statement.encode(), parameters)
        yield
        await connection.rollback()


async def sessions(database: Database, person: Person) -> int:
    ((count,),) = await database.fetch("select count(*) from public.sessions where user_id = %s", person.id)
    return int(count)


async def create(backend: Backend, person: Person, key: str, title: str = "Whales") -> httpx.Response:
    headers = {**person.headers, "Idempotency-Key": key}
    return await backend.client.post("/v1/sessions", json={"title": title}, headers=headers)


# Away


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_identity_never_fails_open(backend: Backend, ada: Person, faults: FaultBook, status: int) -> None:
    faults.write({"supabase": {"*": {"status": status}}})
    answer = await backend.client.get("/v1/users/me", headers=ada.headers)
    assert answer.status_code == 503
    assert answer.json()["retryable"] is True
    assert "email" not in answer.json()


async def test_a_database_that_breaks_off_is_away_and_says_when_to_come_back(
    backend: Backend, ada: Person, faults: FaultBook
) -> None:
    faults.write({"supabase": {"get_me": {"lose_answer": True}}})
    answer = await backend.client.get("/v1/users/me", headers=ada.headers)
    assert_problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/auth/login", {"email": "a@oprina.test", "password": "speak-with-oprina"}),
        ("/v1/contact", {"email": "a@oprina.test", "subject": "Hello", "message": "Hello"}),
    ],
)
async def test_what_is_limited_by_address_is_closed_without_the_database(
    backend: Backend, faults: FaultBook, path: str, body: dict[str, Any]
) -> None:
    faults.write({"supabase": {"*": {"status": 503}}})
    before = len(backend.mailbox.mails)
    answer = await backend.client.post(path, json=body, headers=from_somewhere())
    assert answer.status_code == 503
    assert len(backend.mailbox.mails) == before


async def test_without_its_claim_nothing_is_begun(
    backend: Backend, database: Database, ada: Person, faults: FaultBook
) -> None:
    key = str(uuid4())
    faults.write({"supabase": {"create_session": {"status": 503}}})
    assert (await create(backend, ada, key)).status_code == 503
    assert await sessions(database, ada) == 0
    faults.write({})
    healed = await create(backend, ada, key)
    assert healed.status_code == 201
    assert "idempotency-replayed" not in healed.headers


async def test_an_answer_that_was_lost_after_the_commit_is_given_again(
    backend: Backend, database: Database, ada: Person, faults: FaultBook
) -> None:
    key = str(uuid4())
    faults.write({"supabase": {"create_session": {"lose_answer": True}}})
    assert_problem(await create(backend, ada, key), 503, "database_unavailable")
    faults.write({})
    again = await create(backend, ada, key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert await sessions(database, ada) == 1
    assert_problem(await create(backend, ada, key, "Ants"), 422, "idempotency_key_reused")


async def test_a_message_whose_answer_was_lost_is_one_case_when_it_is_sent_again(
    backend: Backend, database: Database, faults: FaultBook
) -> None:
    email = f"stranger-{uuid4().hex[:8]}@oprina.test"
    body = {"email": email, "subject": "Hello", "message": "Hello"}
    headers = {"Idempotency-Key": str(uuid4())}
    faults.write({"supabase": {"open_contact_case": {"lose_answer": True}}})
    first = await backend.client.post("/v1/contact", json=body, headers=headers | from_somewhere())
    assert_problem(first, 503, "database_unavailable")
    faults.write({})
    again = await backend.client.post("/v1/contact", json=body, headers=headers | from_somewhere())
    ((number,),) = await database.fetch("select case_id from public.contact_cases where email = %s", email)
    assert (again.status_code, again.json()) == (201, {"case_id": number})


# Slow


async def test_a_slow_database_is_waited_for(backend: Backend, ada: Person, faults: FaultBook) -> None:
    faults.write({"supabase": {"get_me": {"delay_ms": 1_500}}})
    answer = await backend.client.get("/v1/users/me", headers=ada.headers)
    assert answer.status_code == 200


async def test_a_database_that_is_slower_than_anybody_waits_is_away(
    backend: Backend, ada: Person, faults: FaultBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults.write({"supabase": {"get_me": {"delay_ms": 1_500}}})
    async with httpx.AsyncClient(timeout=0.3) as impatient:
        monkeypatch.setitem(client._pools, asyncio.get_running_loop(), impatient)
        answer = await backend.client.get("/v1/users/me", headers=ada.headers)
    assert_problem(answer, 503, "database_unavailable")


# Bookkeeping that fails


async def test_a_limiter_whose_row_is_held_lets_the_request_pass(
    backend: Backend, database: Database, ada: Person
) -> None:
    await backend.client.get("/v1/users/me", headers=ada.headers)
    async with locked(database, HOLD_LIMITERS, f"person {ada.id} %"):
        answer = await backend.client.get("/v1/users/me", headers=ada.headers)
    assert answer.status_code == 200
    assert "ratelimit" not in answer.headers


async def test_a_request_whose_count_is_held_is_served_and_limited_all_the_same(
    backend: Backend, database: Database, ada: Person
) -> None:
    await backend.client.get("/v1/users/me", headers=ada.headers)
    mine = "update public.request_tallies set count = count where user_id = %s"
    async with locked(database, mine, ada.id):
        answer = await backend.client.get("/v1/users/me", headers=ada.headers)
    assert answer.status_code == 200
    assert answer.headers["ratelimit"]


async def test_a_limiter_by_address_whose_row_is_held_lets_the_request_pass(
    backend: Backend, database: Database
) -> None:
    somewhere = from_somewhere()
    body = {"email": "nobody@oprina.test", "password": "speak-with-oprina"}
    await backend.client.post("/v1/auth/login", json=body, headers=somewhere)
    async with locked(database, HOLD_LIMITERS, f"address {somewhere['X-Forwarded-For']} %"):
        answer = await backend.client.post("/v1/auth/login", json=body, headers=somewhere)
    assert_problem(answer, 401, "credentials_invalid")


async def test_a_quota_of_the_project_whose_books_are_held_lets_the_call_pass(database: Database) -> None:
    person, name = database.person(), str(uuid4())
    entry = database.entry(fleet=[{"name": name, "per_minute": 1, "cost": 1}])
    async with locked(database, "select pg_advisory_xact_lock(hashtextextended(%s, 0))", f"fleet {name}"):
        said = await asyncio.to_thread(person.call, "enter_only", p_entry=entry)
    assert said["entry"]["replay"] is None
    assert database.rows("select from public.fleet_uses where name = %s", name) == []


async def test_a_confirmation_whose_limiter_is_held_is_sent(backend: Backend, database: Database) -> None:
    email = f"stranger-{uuid4().hex[:8]}@oprina.test"
    body = {"email": email, "subject": "Hello", "message": "Hello"}
    await backend.client.post("/v1/contact", json=body, headers=from_somewhere())
    async with locked(database, HOLD_LIMITERS, "confirmation %"):
        await backend.client.post("/v1/contact", json=body, headers=from_somewhere())
    assert len(backend.mailbox.to(email)) == 2
