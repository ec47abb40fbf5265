"""An administrator shuts a person out and lets them in again, over each function's real application."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from local.database.cluster import Cluster
from shared.accounts import endings
from shared.accounts.endings import Effect
from shared.operations.service import sweep_outbox
from tests.support.backend import Backend, Person
from tests.support.database import Database
from tests.support.stack import Stack
from tests.support.talk import Talker, assert_problem, read_events

REASON = {"reason": "Sends spam"}


async def administrator(backend: Backend, database: Database) -> Person:
    person = await backend.register_person()
    await database.execute("update public.users set is_admin = true where id = %s", person.id)
    return person


@pytest.fixture
async def admin(backend: Backend, database: Database) -> Person:
    return await administrator(backend, database)


async def act(backend: Backend, who: Person, whom: str, what: str = "suspend", **options: Any) -> httpx.Response:
    body = {"json": REASON} if what == "suspend" else {}
    return await backend.client.post(f"/v1/admin/users/{whom}/{what}", headers=who.headers, **(body | options))


async def knock(backend: Backend, person: Person) -> httpx.Response:
    return await backend.client.get("/v1/users/me", headers=person.headers)


# Refused everywhere at once (a deactivated account that keeps its access is what this replaces)


async def test_a_suspended_person_is_refused_with_a_running_token_at_the_next_request(
    backend: Backend, admin: Person
) -> None:
    person = await backend.register_person()
    assert (await knock(backend, person)).status_code == 200
    answer = await act(backend, admin, person.id)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": person.id, "status": "suspended"}
    for method, path in (("GET", "/v1/users/me"), ("POST", "/v1/sessions"), ("DELETE", "/v1/users/me")):
        refused = await backend.client.request(method, path, headers=person.headers, json={})
        document = assert_problem(refused, 401, "person_inactive")
        assert document["account"] == "suspended"


async def test_a_suspended_person_cannot_refresh(backend: Backend, admin: Person) -> None:
    person = await backend.register_person()
    await act(backend, admin, person.id)
    assert_problem(await backend.refresh(person.refresh_token), 401, "refresh_token_invalid")


async def test_a_suspended_person_cannot_sign_in_and_only_who_knows_the_password_learns_why(
    backend: Backend, admin: Person
) -> None:
    person = await backend.register_person()
    await act(backend, admin, person.id)
    assert_problem(await backend.login(person.email), 401, "person_inactive")
    assert_problem(await backend.login(person.email, "another password"), 401, "credentials_invalid")


async def test_a_link_that_was_mailed_before_lets_no_suspended_person_in(
    backend: Backend, admin: Person, database: Database
) -> None:
    email = await backend.register()
    ((person_id,),) = await database.fetch("select id from public.users where email = %s", email)
    await act(backend, admin, str(person_id))
    link = {"token": backend.mailbox.verification_token(email)}
    assert_problem(await backend.client.post("/v1/auth/email/verify", json=link), 401, "person_inactive")


async def test_a_suspended_administrator_administers_nothing(
    backend: Backend, admin: Person, database: Database
) -> None:
    other = await administrator(backend, database)
    await act(backend, admin, other.id)
    assert_problem(await act(backend, other, admin.id), 401, "person_inactive")
    assert (await knock(backend, admin)).status_code == 200


# Letting in again


async def test_a_restored_person_signs_in_anew_and_old_sign_ins_stay_ended(backend: Backend, admin: Person) -> None:
    person = await backend.register_person()
    await act(backend, admin, person.id)
    answer = await act(backend, admin, person.id, "restore")
    assert answer.json() == {"id": person.id, "status": "active"}
    assert_problem(await knock(backend, person), 401, "sign_in_ended")
    assert_problem(await backend.refresh(person.refresh_token), 401, "refresh_token_invalid")
    again = await backend.login(person.email)
    assert again.status_code == 200
    assert again.json()["user"]["id"] == person.id


async def test_suspending_and_restoring_again_changes_nothing(
    backend: Backend, admin: Person, database: Database
) -> None:
    person = await backend.register_person()
    about = (
        "select count(*) from public.audit_log where subject = private.audit_name(%s) and action like 'accounts.%%ed'"
    )
    counts = []
    for what in ("suspend", "suspend", "restore", "restore"):
        assert (await act(backend, admin, person.id, what)).status_code == 200
        counts.append((await database.fetch(about, person.id))[0][0])
    assert [count - counts[0] for count in counts] == [0, 0, 1, 1]
    row = await database.fetch(
        "select status, suspended_at, suspension_reason from public.users where id = %s", person.id
    )
    assert row == [("active", None, None)]


async def test_the_audit_log_says_who_did_it_to_whom_and_repeats_no_reason(
    backend: Backend, admin: Person, database: Database
) -> None:
    person = await backend.register_person()
    await act(backend, admin, person.id)
    entry = await database.fetch(
        "select actor = private.audit_name(%s), actor_kind, action, detail from public.audit_log"
        " where subject = private.audit_name(%s) and action = 'accounts.suspended'",
        admin.id,
        person.id,
    )
    assert entry == [(True, "administrator", "accounts.suspended", {"sign_ins_ended": 1, "turns_ended": 0})]
    kept = await database.fetch("select suspension_reason from public.users where id = %s", person.id)
    assert kept == [(REASON["reason"],)]


# Who may


@pytest.mark.parametrize("what", ["suspend", "restore"])
async def test_only_an_administrator_may(backend: Backend, database: Database, what: str) -> None:
    person, other = await backend.register_person(), await backend.register_person()
    address = f"/v1/admin/users/{other.id}/{what}"
    assert_problem(await backend.client.post(address, json=REASON), 401, "token_missing")
    assert_problem(await act(backend, person, other.id, what), 403, "administrators_only")
    assert_problem(await act(backend, person, person.id, what), 403, "administrators_only")
    # Nor does a stranger learn who exists.
    assert_problem(await act(backend, person, str(uuid4()), what), 403, "administrators_only")
    assert (await knock(backend, other)).status_code == 200


async def test_an_administrator_cannot_suspend_themself(backend: Backend, admin: Person) -> None:
    assert_problem(await act(backend, admin, admin.id), 409, "own_account")
    assert (await knock(backend, admin)).status_code == 200


@pytest.mark.parametrize("what", ["suspend", "restore"])
async def test_nobody_unknown_is_suspended_or_restored(backend: Backend, admin: Person, what: str) -> None:
    assert_problem(await act(backend, admin, str(uuid4()), what), 404, "not_found")
    assert_problem(await act(backend, admin, "somebody", what), 422, "validation_failed")


async def test_a_deleted_person_is_nobody_who_could_be_restored(backend: Backend, admin: Person) -> None:
    person = await backend.register_person()
    await backend.client.delete("/v1/users/me", headers=person.headers)
    assert_problem(await act(backend, admin, person.id, "restore"), 404, "not_found")
    assert_problem(await act(backend, admin, person.id), 404, "not_found")


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "   "}, {"reason": "x" * 501}, {"reason": "a\0b"},
                                  {"reason": "ok", "until": "later"}, {"reason": None}])  # fmt: skip
async def test_a_suspension_needs_a_reason_and_nothing_else(
    backend: Backend, admin: Person, body: dict[str, Any]
) -> None:
    person = await backend.register_person()
    assert_problem(await act(backend, admin, person.id, json=body), 422, "validation_failed")
    assert (await knock(backend, person)).status_code == 200


# What goes on outside the database


@pytest.fixture
def effects(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two registered effects; `failing` holds the names of those that fail, `had` what was done."""
    book: dict[str, Any] = {"failing": set(), "had": []}

    def effect(name: str) -> Effect:
        async def end(person_id: UUID, at: datetime) -> None:
            if name in book["failing"]:
                raise ConnectionError("the provider is away")
            book["had"].append((name, str(person_id), at))

        return Effect(name, end)

    monkeypatch.setattr(endings, "_effects", {name: effect(name) for name in ("avatar", "jobs")})
    return book


async def test_every_effect_of_a_suspension_is_had_and_one_that_fails_is_tried_until_it_is_done(
    backend: Backend, admin: Person, database: Database, effects: dict[str, Any]
) -> None:
    person = await backend.register_person()
    effects["failing"].add("avatar")
    await act(backend, admin, person.id)
    await sweep_outbox()
    mine = [name for name, whose, _ in effects["had"] if whose == person.id]
    assert mine == ["jobs"]
    due = (
        "update public.outbox set next_attempt_at = now(), attempts = 40"
        " where kind = 'person_suspended' and payload ->> 'person_id' = %s and last_error = 'avatar'"
    )
    assert await database.execute(due, person.id) == 1
    effects["failing"].clear()
    await sweep_outbox()
    await sweep_outbox()
    mine = [name for name, whose, _ in effects["had"] if whose == person.id]
    assert sorted(mine) == ["avatar", "jobs", "jobs"]
    left = "select 1 from public.outbox where payload ->> 'person_id' = %s and sent_at is null"
    assert await database.fetch(left, person.id) == []


async def test_an_effect_that_comes_late_knows_since_when_so_that_a_restored_person_keeps_what_is_new(
    backend: Backend, admin: Person, database: Database, effects: dict[str, Any]
) -> None:
    person = await backend.register_person()
    await act(backend, admin, person.id)
    ((suspended_at,),) = await database.fetch("select suspended_at from public.users where id = %s", person.id)
    await act(backend, admin, person.id, "restore")
    await sweep_outbox()
    assert {at for _, whose, at in effects["had"] if whose == person.id} == {suspended_at}


# A turn that is running, over the whole local cloud


async def test_a_turn_that_runs_while_its_person_is_suspended_fails_openly_and_its_cost_is_kept(
    stack: Stack, talker: Talker
) -> None:
    boss = await asyncio.to_thread(stack.person)
    cluster = Cluster(stack.places.database_folder, stack.places.postgres_port)
    with psycopg.connect(cluster.administrator_url, autocommit=True) as connection:
        connection.execute("update public.users set is_admin = true where id = %s", [boss.id])
        session = await talker.new_session()
        person_id = (await talker.request("GET", "/v1/users/me")).json()["id"]
        stack.set_faults({"agent": {"streamQuery": {"delay_ms": 1_500}}})
        async with talker.open_turn(session, text="[[say Never heard.]]", speak="true") as answer:
            events = read_events(answer)
            turn_id = (await anext(events)).data["turn_id"]
            async with httpx.AsyncClient(base_url=stack.base_url, trust_env=False) as client:
                path = f"/v1/admin/users/{person_id}/suspend"
                suspended = await client.post(path, json=REASON, headers=boss.headers)
            assert suspended.status_code == 200, suspended.text
            last = [event async for event in events][-1]
        assert (last.name, last.data["status"], last.data["code"]) == ("turn.failed", 401, "person_inactive")
        assert last.data["turn_id"] == turn_id
        turn = connection.execute(
            "select status, code, capability_hash, jsonb_array_length(usage) from public.turns where id = %s", [turn_id]
        ).fetchone()
        booked = connection.execute(
            "select count(*) from public.usage_events where turn_id = %s and user_id = %s", [turn_id, person_id]
        ).fetchone()
        said = connection.execute("select count(*) from public.messages where turn_id = %s", [turn_id]).fetchone()
    assert turn is not None
    assert booked is not None
    assert turn[:3] == ("failed", "person_suspended", None)
    assert turn[3] == booked[0] > 0
    assert said == (0,)
