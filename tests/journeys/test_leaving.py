"""A person who leaves is gone everywhere, and a person who is suspended is refused everywhere, at once."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from shared.accounts import endings, erasure
from shared.accounts import places as registry
from shared.accounts.export import PersonExport
from shared.accounts.places import FREE_OF_PEOPLE, NotYet, Place, join, places
from shared.operations.service import sweep_outbox
from shared.runtime import clock
from shared.runtime.errors import Unavailable
from tests.support.backend import PASSWORD, Backend, Person, from_somewhere
from tests.support.database import Database

DUE = "update public.outbox set next_attempt_at = now(), lease_until = null where sent_at is null"


async def administrator(backend: Backend, database: Database) -> Person:
    person = await backend.register_person()
    await database.execute("update public.users set is_admin = true where id = %s", person.id)
    return person


async def suspend(backend: Backend, admin: Person, person: Person, reason: str = "Spam.") -> httpx.Response:
    path = f"/v1/admin/users/{person.id}/suspend"
    return await backend.client.post(path, json={"reason": reason}, headers=admin.headers)


async def log_in(backend: Backend, person: Person) -> httpx.Response:
    return await backend.login(person.email)


async def a_life(backend: Backend, person: Person) -> str:
    """Leaves something in every place that a person fills by using the product. Returns the session's id."""
    client, headers = backend.client, person.headers
    made = await client.post("/v1/sessions", json={"title": f"Of {person.email}"}, headers=headers | {
        "Idempotency-Key": str(uuid4())})  # fmt: skip
    assert made.status_code == 201, made.text
    await client.patch("/v1/users/me", json={"full_name": f"Name of {person.id}"}, headers=headers)
    case = {"email": person.email, "subject": "About me", "message": f"I am {person.email}."}
    # Once signed in, and once as a stranger who gives the same address.
    for known in (headers, {}):
        assert (await client.post("/v1/contact", json=case, headers=known | from_somewhere())).status_code == 201
    await client.get("/v1/users/me", headers=headers)
    return str(made.json()["id"])


async def traces(database: Database, *needles: str) -> dict[str, list[str]]:
    """Every table of ours in whose rows one of these texts stands."""
    found: dict[str, list[str]] = {}
    tables = await database.fetch(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('public', 'private') and c.relkind = 'r'"
    )
    url = database.local._cluster.administrator_url
    with psycopg.connect(url) as connection:
        for schema, table in tables:
            for needle in needles:
                query = f'select count(*) from "{schema}"."{table}" one where one::text like %s'  # noqa: S608
                ((count,),) = connection.execute(query.encode(), [f"%{needle}%"]).fetchall()
                if count:
                    found.setdefault(f"{schema}.{table}", []).append(needle)
    return found


# Suspension


async def test_a_suspended_person_is_refused_at_once_with_every_credential_they_hold(
    backend: Backend, database: Database
) -> None:
    admin, person = await administrator(backend, database), await backend.register_person()
    answer = await suspend(backend, admin, person)
    assert (answer.status_code, answer.json()) == (200, {"id": person.id, "status": "suspended"})
    assert (await backend.client.get("/v1/users/me", headers=person.headers)).status_code == 401
    assert (await backend.refresh(person.refresh_token)).status_code == 401
    assert (await log_in(backend, person)).status_code == 401


async def test_a_restored_person_signs_in_again_and_the_old_sign_ins_stay_ended(
    backend: Backend, database: Database
) -> None:
    admin, person = await administrator(backend, database), await backend.register_person()
    await suspend(backend, admin, person)
    path = f"/v1/admin/users/{person.id}/restore"
    answer = await backend.client.post(path, headers=admin.headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "active")
    assert (await backend.client.get("/v1/users/me", headers=person.headers)).status_code == 401
    assert (await log_in(backend, person)).status_code == 200


async def test_who_does_not_administer_suspends_nobody(backend: Backend, database: Database) -> None:
    person, other = await backend.register_person(), await backend.register_person()
    for action in ("suspend", "restore"):
        path = f"/v1/admin/users/{other.id}/{action}"
        answer = await backend.client.post(path, json={"reason": "I can."}, headers=person.headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "administrators_only")
        assert (await backend.client.post(path, json={"reason": "I can."})).status_code == 401
    assert (await backend.client.get("/v1/users/me", headers=other.headers)).status_code == 200


async def test_nobody_suspends_themself_or_who_does_not_exist(backend: Backend, database: Database) -> None:
    admin = await administrator(backend, database)
    assert (await suspend(backend, admin, admin)).json()["code"] == "own_account"
    unknown = await backend.client.post(
        f"/v1/admin/users/{uuid4()}/suspend", json={"reason": "Who?"}, headers=admin.headers
    )
    assert unknown.status_code == 404


async def test_two_administrators_who_suspend_each_other_do_not_both_succeed(
    backend: Backend, database: Database
) -> None:
    one, other = await administrator(backend, database), await administrator(backend, database)
    answers = await asyncio.gather(suspend(backend, one, other), suspend(backend, other, one))
    assert sorted(answer.status_code for answer in answers) == [200, 401]


async def test_what_goes_on_outside_of_requests_is_ended_until_it_is_done(backend: Backend, database: Database) -> None:
    admin, person = await administrator(backend, database), await backend.register_person()
    ended: list[str] = []

    async def effect(person_id: UUID, before: datetime) -> None:
        if str(person_id) != person.id:
            return
        ended.append(str(person_id))
        if len(ended) < 3:
            raise Unavailable("not yet")

    endings.join("a test's", effect)
    try:
        await suspend(backend, admin, person)
        for _ in range(4):
            await database.execute(DUE)
            await sweep_outbox()
    finally:
        endings._effects.pop("a test's")
    assert ended == [person.id] * 3


# Deletion


async def test_a_deleted_person_leaves_no_trace_and_everybody_else_keeps_everything(
    backend: Backend, database: Database
) -> None:
    leaving, staying = await backend.register_person(), await backend.register_person()
    gone, kept = await a_life(backend, leaving), await a_life(backend, staying)
    before = await traces(database, staying.id, staying.email)
    answer = await backend.client.delete("/v1/users/me", headers=leaving.headers)
    assert answer.status_code == 204, answer.text
    await sweep_outbox()
    assert await traces(database, leaving.id, leaving.email, gone) == {}
    assert await traces(database, staying.id, staying.email) == before
    assert (await backend.client.get(f"/v1/sessions/{kept}", headers=staying.headers)).status_code == 200


async def test_the_goodbye_leaves_before_the_address_does(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    backend.mailbox.refusing = True
    assert (await backend.client.delete("/v1/users/me", headers=person.headers)).status_code == 204
    await sweep_outbox()
    assert "public.users" in await traces(database, person.email)
    backend.mailbox.refusing = False
    for _ in range(2):
        await database.execute(DUE)
        await sweep_outbox()
    assert [mail["Subject"] for mail in backend.mailbox.to(person.email)][-1] == "Your account is deleted"
    assert await traces(database, person.id, person.email) == {}


async def test_a_deleted_person_is_refused_at_once_and_deleting_again_is_no_error(
    backend: Backend, database: Database
) -> None:
    person = await backend.register_person()
    assert (await backend.client.delete("/v1/users/me", headers=person.headers)).status_code == 204
    assert (await backend.client.get("/v1/users/me", headers=person.headers)).status_code == 401
    assert (await backend.client.delete("/v1/users/me", headers=person.headers)).status_code == 204
    assert (await log_in(backend, person)).status_code == 401


async def test_the_address_is_free_again_and_opens_nothing_of_before(backend: Backend) -> None:
    person = await backend.register_person()
    await a_life(backend, person)
    await backend.client.delete("/v1/users/me", headers=person.headers)
    again = await backend.register_person(email=person.email)
    assert again.id != person.id
    listed = await backend.client.get("/v1/sessions", headers=again.headers)
    assert listed.json()["items"] == []


async def test_one_place_that_fails_keeps_no_other_from_being_erased_and_is_come_back_to(
    backend: Backend, database: Database
) -> None:
    person = await backend.register_person()
    session = await a_life(backend, person)
    tries: list[int] = []

    async def erase(person_id: UUID) -> None:
        if str(person_id) != person.id:
            return
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("away")
        if len(tries) == 2:
            raise NotYet("still at it")

    join(Place("provider", "a test's", "nothing", None, erase))
    try:
        await backend.client.delete("/v1/users/me", headers=person.headers)
        await sweep_outbox()
        assert await database.fetch("select id from public.sessions where id = %s", session) == []
        assert await database.fetch("select status from public.users where id = %s", person.id) == [("deleted",)]
        for _ in range(2):
            await database.execute(DUE)
            await sweep_outbox()
    finally:
        registry._places.pop(("provider", "a test's"))
    assert len(tries) == 3
    assert await traces(database, person.id, person.email) == {}


async def test_nobody_is_erased_who_has_not_been_deleted(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    session = await a_life(backend, person)
    assert await erasure.erase(UUID(person.id), clock.now()) != []
    assert (await backend.client.get(f"/v1/sessions/{session}", headers=person.headers)).status_code == 200


# The registry, and what is taken away


async def test_every_table_is_registered_or_declared_free_of_people(database: Database) -> None:
    tables = {
        str(name)
        for (name,) in await database.fetch("select tablename from pg_tables where schemaname in ('public', 'private')")
    }
    registered = {place.name for place in places() if place.kind == "table"}
    assert tables - registered - set(FREE_OF_PEOPLE) == set(), "register them in shared/accounts/places.py"
    assert registered & set(FREE_OF_PEOPLE) == set()
    assert registered | set(FREE_OF_PEOPLE) <= tables


async def test_a_table_that_names_a_person_cannot_be_declared_free(database: Database) -> None:
    naming = await database.fetch(
        "select distinct c.relname from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('public', 'private') and c.relkind = 'r'"
        " and a.attname in ('user_id', 'person_id', 'email') and not a.attisdropped"
    )
    assert {str(name) for (name,) in naming} & set(FREE_OF_PEOPLE) == set()


async def test_an_export_holds_what_is_the_persons_and_nothing_of_anybody_else(
    backend: Backend, database: Database
) -> None:
    person, other = await backend.register_person(), await backend.register_person()
    session = await a_life(backend, person)
    await a_life(backend, other)
    export, held = PersonExport(UUID(person.id)), dict[str, list[dict[str, Any]]]()
    async for place, rows in export.pages():
        held.setdefault(place, []).extend(rows)
    assert [row["email"] for row in held["users"]] == [person.email]
    assert [row["id"] for row in held["sessions"]] == [session]
    assert held["sign_ins"]
    assert len(held.get("audit_log", [])) == export.manifest.exported["audit_log"]
    written = json.dumps(held)
    assert other.email not in written
    assert other.id not in written
    for secret in ("password_hash", "token_hash", "refresh_token", PASSWORD):
        assert secret not in written
    assert export.manifest.exported["sessions"] == 1
    assert "refresh_tokens" in export.manifest.left_out


@pytest.mark.parametrize("count", [1_203])
async def test_an_export_comes_in_pages(backend: Backend, database: Database, count: int) -> None:
    person = await backend.register_person()
    await database.execute(
        "insert into public.sessions (id, user_id, title) select gen_random_uuid(), %s, 'One of many'"
        " from generate_series(1, %s)",
        person.id,
        count,
    )
    export, sizes, seen = PersonExport(UUID(person.id)), [], set()
    async for place, rows in export.pages():
        if place == "sessions":
            sizes.append(len(rows))
            seen |= {row["id"] for row in rows}
    assert len(seen) == count
    assert max(sizes) <= 500
