"""A person sees what they used, what it cost and what they asked for, by the days of their own zone."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.support.backend import Backend, Person
from tests.support.database import Database
from tests.support.talk import assert_problem

AUCKLAND = "Pacific/Auckland"
USED = (
    "insert into public.usage_events (id, user_id, kind, provider, unit, quantity, cost_micros, created_at)"
    " values (%s, %s, %s, 'tests', %s, %s, %s, %s)"
)


@pytest.fixture
async def ada(backend: Backend) -> Person:
    return await backend.register_person(timezone=AUCKLAND)


async def use(
    database: Database, person: Person, at: datetime, cost: int | None, quantity: float = 10, kind: str = "hearing"
) -> None:
    unit = {"hearing": "seconds", "speaking": "characters", "thinking": "input_tokens"}[kind]
    await database.execute(USED, str(uuid4()), person.id, kind, unit, quantity, cost, at)


async def usage(backend: Backend, person: Person, **query: str) -> httpx.Response:
    return await backend.client.get("/v1/users/me/usage", params=query, headers=person.headers)


async def used(backend: Backend, person: Person, **query: str) -> dict[str, Any]:
    answer = await usage(backend, person, **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def today() -> date:
    return datetime.now(ZoneInfo(AUCKLAND)).date()


# The ledger


async def test_somebody_who_used_nothing_owes_nothing(backend: Backend, ada: Person) -> None:
    found = await used(backend, ada)
    assert (found["usage"], found["cost_micros"], found["unpriced_events"]) == ([], 0, 0)
    assert (found["from"], found["to"]) == (str(today() - timedelta(days=29)), str(today()))
    assert found["timezone"] == AUCKLAND


async def test_the_sums_are_the_ledgers(backend: Backend, database: Database, ada: Person) -> None:
    now = datetime.now(UTC)
    for days in range(0, 25, 3):
        await use(database, ada, now - timedelta(days=days), 1_000 + days, quantity=7.5)
        await use(database, ada, now - timedelta(days=days), 30, quantity=days, kind="speaking")
    ((cost, events),) = await database.fetch(
        "select sum(cost_micros)::bigint, count(*) from public.usage_events where user_id = %s", ada.id
    )
    found = await used(backend, ada)
    assert found["cost_micros"] == cost
    assert sum(day["cost_micros"] for day in found["days"]) == cost
    assert sum(line["events"] for line in found["usage"]) == events
    lines = {line["kind"]: line for line in found["usage"]}
    assert lines["hearing"]["quantity"] == 7.5 * 9
    assert lines["speaking"]["quantity"] == sum(range(0, 25, 3))
    told = [day["day"] for day in found["days"]]
    assert told == sorted(told, reverse=True)


async def test_an_unknown_cost_is_null_and_never_free(backend: Backend, database: Database, ada: Person) -> None:
    await use(database, ada, datetime.now(UTC), None, kind="thinking")
    found = await used(backend, ada)
    assert found["cost_micros"] is None
    assert found["days"][0]["cost_micros"] is None
    assert found["usage"][0]["cost_micros"] is None
    await use(database, ada, datetime.now(UTC), 500)
    await use(database, ada, datetime.now(UTC), 0)
    found = await used(backend, ada)
    assert (found["cost_micros"], found["unpriced_events"]) == (500, 1)
    assert [line["cost_micros"] for line in found["usage"]] == [500, None]


async def test_a_day_is_the_persons_own(backend: Backend, database: Database, ada: Person) -> None:
    midnight = datetime(2026, 4, 5, tzinfo=ZoneInfo(AUCKLAND))  # the day on which their summer time ends has 25 hours
    for at in (midnight - timedelta(seconds=1), midnight, midnight.replace(hour=23, minute=59)):
        await use(database, ada, at, 100)
    found = await used(backend, ada, **{"from": "2026-04-05", "to": "2026-04-05"})
    assert found["cost_micros"] == 200
    both = await used(backend, ada, **{"from": "2026-04-04", "to": "2026-04-05"})
    assert [(day["day"], day["cost_micros"]) for day in both["days"]] == [("2026-04-05", 200), ("2026-04-04", 100)]
    await backend.client.patch("/v1/users/me", json={"timezone": "UTC"}, headers=ada.headers)
    assert (await used(backend, ada, **{"from": "2026-04-05", "to": "2026-04-05"}))["cost_micros"] == 100


async def test_a_zone_that_the_database_does_not_know_is_utc(backend: Backend, database: Database, ada: Person) -> None:
    await database.execute("update public.users set timezone = 'Mars/Olympus' where id = %s", ada.id)
    found = await used(backend, ada)
    assert found["timezone"] == "UTC"
    assert found["requests"] == [{"route": "GET /v1/users/me/usage", "count": 1}]


async def test_nobody_sees_anybody_elses_usage(backend: Backend, database: Database, ada: Person) -> None:
    bob = await backend.register_person()
    await use(database, bob, datetime.now(UTC), 9)
    await used(backend, bob)
    found = await used(backend, ada)
    assert found["cost_micros"] == 0
    assert found["requests"] == [{"route": "GET /v1/users/me/usage", "count": 1}]


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ({"from": "2025-01-01", "to": "2026-01-01"}, "2025-01-01", "2026-01-01"),
        ({"to": "2024-02-29"}, "2024-01-31", "2024-02-29"),
        ({"from": "2999-01-01"}, "2999-01-01", "2999-01-01"),
    ],
    ids=["366 days", "only the end", "not come yet"],
)
async def test_a_range_may_be_named_in_part(
    backend: Backend, ada: Person, query: dict[str, str], first: str, last: str
) -> None:
    found = await used(backend, ada, **query)
    assert (found["from"], found["to"], found["days"]) == (first, last, [])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"from": "2026-01-02", "to": "2026-01-01"}, "range_invalid"),
        ({"from": "2025-01-01", "to": "2026-01-02"}, "range_invalid"),
        ({"from": "2000-01-01"}, "range_invalid"),
        ({"from": "2026-02-30"}, "validation_failed"),
        ({"from": "1767225600"}, "validation_failed"),
        ({"to": "2026-01-01T00:00:00"}, "validation_failed"),
        ({"to": "٢٠٢٦-٠١-٠١"}, "validation_failed"),
        ({"to": "\0"}, "validation_failed"),
    ],
    ids=["backwards", "367 days", "open and too long", "no such day", "a number", "a moment", "digits", "nul"],
)
async def test_a_range_that_is_none_is_refused(backend: Backend, ada: Person, query: dict[str, str], code: str) -> None:
    assert_problem(await usage(backend, ada, **query), 422, code)


async def test_without_a_token_there_is_no_usage(backend: Backend) -> None:
    assert_problem(await backend.client.get("/v1/users/me/usage"), 401, "token_missing")


# Requests


async def test_requests_are_counted_by_route_and_day(backend: Backend, ada: Person) -> None:
    for _ in range(3):
        await backend.client.get("/v1/users/me", headers=ada.headers)
    await backend.client.get(f"/v1/sessions/{uuid4()}", headers=ada.headers)
    found = await used(backend, ada)
    counted = {line["route"]: line["count"] for line in found["requests"]}
    assert counted == {"GET /v1/users/me": 3, "GET /v1/sessions/{session_id}": 1, "GET /v1/users/me/usage": 1}
    assert found["days"][0]["requests"] == found["requests"]


async def test_what_was_refused_for_its_rate_is_not_counted(backend: Backend, ada: Person) -> None:
    statuses = [(await backend.client.post("/v1/auth/logout", headers=ada.headers)).status_code for _ in range(2)]
    assert statuses == [204, 401]
    back = await backend.login(ada.email)
    headers = {"Authorization": f"Bearer {back.json()['access_token']}"}
    # All at once, so that nothing is lost between them either.
    answers = await asyncio.gather(*(backend.client.get("/v1/users/me", headers=headers) for _ in range(80)))
    let_in = [answer for answer in answers if answer.status_code == 200]
    assert len(let_in) < len(answers)
    found = (await backend.client.get("/v1/users/me/usage", headers=headers)).json()
    counted = {line["route"]: line["count"] for line in found["requests"]}
    assert counted["GET /v1/users/me"] == len(let_in)
    assert counted["POST /v1/auth/logout"] == 1


async def test_a_request_of_several_steps_counts_once(backend: Backend, database: Database, ada: Person) -> None:
    session = (await backend.client.post("/v1/sessions", headers=ada.headers)).json()["id"]
    await database.execute(
        "insert into public.messages (id, session_id, user_id, role, kind, text, position)"
        " values (%s, %s, %s, 'user', 'text', 'Tell me about whales.', 1)",
        str(uuid4()), session, ada.id,
    )  # fmt: skip
    answer = await backend.client.post(f"/v1/sessions/{session}/title", headers=ada.headers)
    assert answer.status_code == 200, answer.text
    counted = {line["route"]: line["count"] for line in (await used(backend, ada))["requests"]}
    assert counted["POST /v1/sessions/{session_id}/title"] == 1


async def test_days_that_are_over_are_kept_and_told_together_with_today(
    backend: Backend, database: Database, ada: Person
) -> None:
    await backend.client.get("/v1/users/me", headers=ada.headers)
    await database.execute("update public.request_tallies set day = day - 1, count = 41 where user_id = %s", ada.id)
    for _ in range(2):
        await backend.client.get("/v1/users/me", headers=ada.headers)
    kept = await database.fetch("select day, count from public.request_counts where user_id = %s", ada.id)
    assert kept == [(today() - timedelta(days=1), 41)]
    tallies = await database.fetch("select count from public.request_tallies where user_id = %s", ada.id)
    assert tallies == [(2,)]
    found = await used(backend, ada)
    assert {line["route"]: line["count"] for line in found["requests"]}["GET /v1/users/me"] == 43
    assert [day["requests"][0]["count"] for day in found["days"]] == [2, 41]


async def test_counts_older_than_any_range_are_forgotten(backend: Backend, database: Database, ada: Person) -> None:
    await database.execute(
        "insert into public.request_counts values (%s, current_date - 500, 'GET /v1/x', 1),"
        " (%s, current_date - 300, 'GET /v1/x', 1)", ada.id, ada.id,
    )  # fmt: skip
    await backend.client.get("/v1/users/me", headers=ada.headers)
    assert len(await database.fetch("select from public.request_counts where user_id = %s", ada.id)) == 1


async def test_a_request_that_cannot_be_counted_is_served_all_the_same(
    backend: Backend, database: Database, ada: Person
) -> None:
    await backend.client.get("/v1/users/me", headers=ada.headers)
    await database.execute("update public.request_tallies set count = 9223372036854775807 where user_id = %s", ada.id)
    answer = await backend.client.get("/v1/users/me", headers=ada.headers)
    assert answer.status_code == 200
    assert answer.headers["ratelimit"]
    await database.execute("delete from public.request_tallies where user_id = %s", ada.id)
