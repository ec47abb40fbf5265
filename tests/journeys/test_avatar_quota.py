"""A person looks at their avatar time and their avatar sessions; an administrator gives more of it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.avatars import service
from tests.support.avatars import AvatarTime
from tests.support.backend import Backend, Person
from tests.support.database import Database, DatabasePerson
from tests.support.talk import assert_problem


@pytest.fixture
async def ada(backend: Backend) -> Person:
    return await backend.register_person()


@pytest.fixture
async def admin(backend: Backend, database: Database) -> Person:
    person = await backend.register_person()
    await database.execute("update public.users set is_admin = true where id = %s", person.id)
    return person


def time_of(database: Database, person: Person) -> AvatarTime:
    """The same person at the database, where sessions are reserved as long as no function does."""
    return AvatarTime(DatabasePerson(database, person.id, person.email, "", "", person.access_token))


async def give(backend: Backend, admin: Person, to: str, key: str | None = None, **changes: Any) -> httpx.Response:
    headers = {**admin.headers, **({"Idempotency-Key": key} if key else {})}
    return await backend.client.post(f"/v1/admin/users/{to}/quota", json=changes, headers=headers)


async def test_a_person_sees_what_is_used_set_aside_and_left(backend: Backend, database: Database, ada: Person) -> None:
    time = time_of(database, ada)
    session = await asyncio.to_thread(time.live, 500)
    await asyncio.to_thread(time.settle, session["id"], 200)
    await asyncio.to_thread(time.reserve, 100)
    answer = await backend.client.get("/v1/avatars/quota", headers=ada.headers)
    assert answer.status_code == 200, answer.text
    quota = answer.json()
    assert (quota["limit_seconds"], quota["used_seconds"], quota["reserved_seconds"], quota["remaining_seconds"]) == (
        900, 200, 100, 600,
    )  # fmt: skip
    assert quota["resets_at"].endswith("Z")
    usage = (await backend.client.get("/v1/users/me/usage", headers=ada.headers)).json()["usage"]
    assert [(line["kind"], line["unit"], line["quantity"]) for line in usage] == [("avatar", "seconds", 200)]


async def test_a_person_reads_their_sessions_and_nobody_elses(
    backend: Backend, database: Database, ada: Person
) -> None:
    time = time_of(database, ada)
    made = []
    for _ in range(3):
        session = await asyncio.to_thread(time.live, 10)
        await asyncio.to_thread(time.settle, session["id"], 4)
        made.append(session["id"])
    first = (await backend.client.get("/v1/avatars/sessions", params={"limit": 2}, headers=ada.headers)).json()
    following = {"limit": 2, "cursor": first["next_cursor"]}
    second = (await backend.client.get("/v1/avatars/sessions", params=following, headers=ada.headers)).json()
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None
    one = await backend.client.get(f"/v1/avatars/sessions/{made[0]}", headers=ada.headers)
    assert (one.json()["status"], one.json()["settled_seconds"]) == ("settled", 4)
    assert "token" not in one.text
    bob = await backend.register_person()
    assert_problem(await backend.client.get(f"/v1/avatars/sessions/{made[0]}", headers=bob.headers), 404, "not_found")


@pytest.mark.parametrize("cursor", ["bm90aGluZw", "eyJwb3NpdGlvbiI6MX0"], ids=["not ours", "of another list"])
async def test_a_cursor_of_nothing_is_refused(backend: Backend, ada: Person, cursor: str) -> None:
    answer = await backend.client.get("/v1/avatars/sessions", params={"cursor": cursor}, headers=ada.headers)
    assert_problem(answer, 400, "cursor_invalid")


async def test_an_administrator_gives_seconds_once_for_a_key(backend: Backend, admin: Person, ada: Person) -> None:
    wanted = {"grant": {"seconds": 120, "reason": "an outage"}}
    key = str(uuid4())
    for _ in range(2):
        answer = await give(backend, admin, ada.id, key, **wanted)
        assert answer.status_code == 200, answer.text
        assert answer.json()["limit_seconds"] == 1020
    assert answer.headers["idempotency-replayed"] == "true"
    plus = await give(backend, admin, ada.id, plan="plus")
    assert plus.json()["limit_seconds"] == 3720


async def test_nobody_else_gives_seconds(backend: Backend, ada: Person) -> None:
    answer = await give(backend, ada, ada.id, grant={"seconds": 120, "reason": "for me"})
    assert_problem(answer, 403, "administrators_only")


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"plan": "golden"}, {"grant": {"seconds": 0, "reason": "x"}}, {"grant": {"seconds": -5, "reason": "x"}},
        {"grant": {"seconds": 10}}, {"grant": {"seconds": 10, "reason": " "}}, {"seconds": 10},
    ],
    ids=["nothing", "no such plan", "no seconds", "fewer", "no reason", "an empty reason", "unknown"],
)  # fmt: skip
async def test_a_change_that_makes_no_sense_is_refused(
    backend: Backend, admin: Person, ada: Person, changes: dict[str, Any]
) -> None:
    answer = await give(backend, admin, ada.id, **changes)
    assert answer.status_code == 422, answer.text


async def test_the_schedule_resets_everybody_page_by_page(backend: Backend, database: Database) -> None:
    people = [await backend.register_person() for _ in range(3)]
    times = [time_of(database, person) for person in people]
    for time in times:
        session = await asyncio.to_thread(time.live, 900)
        await asyncio.to_thread(time.settle, session["id"], 900)
        await asyncio.to_thread(time.end_period)
    done = await service.reset_quotas(page_size=1)
    assert (done.failed, done.reset >= 3) == (0, True)
    assert [time.books().used for time in times] == [0, 0, 0]
