"""The housekeeping: each time of a schedule has its effect once, and only the scheduler may bring it."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import httpx
import psycopg
import pytest

from local.database.cluster import Cluster
from tests.support.backend import SERVICE_ROOT, TASKS_ACCOUNT, Backend
from tests.support.database import Database
from tests.support.stack import Stack

DUE = "update public.outbox set next_attempt_at = now(), lease_until = null where payload ->> 'to' = %s"


def some_time() -> str:
    """A schedule time that no other test has."""
    return f"2026-11-25T08:00:00.{uuid4().int % 10**6:06}-07:00"


async def test_the_outbox_is_emptied_by_its_schedule_once_for_each_time(backend: Backend, database: Database) -> None:
    backend.mailbox.refusing = True
    email = await backend.register()
    backend.mailbox.refusing = False
    await database.execute(DUE, email)
    when = some_time()
    answer = await backend.tick("deliver-outbox", when)
    assert answer.status_code == 200, answer.text
    assert answer.json()["ran"] is True
    assert answer.json()["count"] >= 1
    assert len(backend.mailbox.to(email)) == 1
    again = await backend.tick("deliver-outbox", when)
    assert (again.status_code, again.json()) == (200, {"ran": False, "count": 0})
    assert (await backend.tick("deliver-outbox", some_time())).json()["ran"] is True
    assert len(backend.mailbox.to(email)) == 1


async def test_two_deliveries_of_one_time_at_once_have_one_effect(backend: Backend) -> None:
    when = some_time()
    answers = await asyncio.gather(*(backend.tick("reap", when) for _ in range(6)))
    assert sum(answer.status_code == 200 and answer.json()["ran"] for answer in answers) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 409)


async def test_a_time_of_one_schedule_is_not_the_time_of_another(backend: Backend) -> None:
    when = some_time()
    for name in ("deliver-outbox", "reap", "purge"):
        answer = await backend.tick(name, when, job="same")
        assert answer.json()["ran"] is True, answer.text


async def test_turns_whose_lease_ran_out_are_closed(backend: Backend, database: Database) -> None:
    person = await asyncio.to_thread(database.person)
    session = await asyncio.to_thread(person.session)
    turn = str(uuid4())
    await database.execute(
        "insert into public.turns (id, session_id, user_id, ordinal, kind, lease_until)"
        " values (%s, %s, %s, 1, 'text', now() - interval '1 second')",
        turn, session, person.id,
    )  # fmt: skip
    answer = await backend.tick("reap", some_time())
    assert answer.json()["count"] >= 1
    assert await database.fetch("select status, code from public.turns where id = %s", turn) == [
        ("failed", "turn_lost")
    ]


async def test_more_is_purged_than_one_statement_takes(backend: Backend, database: Database) -> None:
    source = f"tests-{uuid4()}"
    await database.execute(
        "insert into public.inbox (source, message_id, lease_until, created_at, done_at)"
        " select %s, n::text, now(), now() - interval '32 days', now() from generate_series(1, 2500) as n",
        source,
    )
    answer = await backend.tick("purge", some_time())
    assert answer.json()["count"] >= 2500
    assert await database.fetch("select count(*) from public.inbox where source = %s", source) == [(0,)]


@pytest.mark.parametrize("name", ["deliver-outbox", "reap", "purge"])
async def test_nobody_but_the_scheduler_starts_a_schedule(backend: Backend, name: str) -> None:
    person = await backend.register_person()
    assert (await backend.client.post(f"/schedules/{name}")).status_code == 401
    assert (await backend.client.post(f"/schedules/{name}", headers=person.headers)).status_code == 401
    function = backend.app.function_for(f"/schedules/{name}")
    assert function is not None
    token = backend.google.id_token(TASKS_ACCOUNT, SERVICE_ROOT.format(service=function.name))
    answer = await backend.client.post(f"/schedules/{name}", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_service_account")


# --- in the whole local cloud


def test_a_mail_that_could_not_be_sent_at_once_comes_with_the_schedule(stack: Stack) -> None:
    email = f"late-{uuid4().hex[:8]}@oprina.test"
    with stack.client() as client:
        stack.set_faults({"smtp": {"DATA": {"status": 451}}})
        body = {"email": email, "password": "correct horse battery staple"}
        headers = {"X-Forwarded-For": stack.new_address()}
        assert client.post("/v1/auth/register", json=body, headers=headers).status_code == 202
        assert stack.mails(email) == []
        stack.set_faults({})
    # The database's clock is the machine's: a failed entry would rest for some seconds.
    cluster = Cluster(stack.places.database_folder, stack.places.postgres_port)
    with psycopg.connect(cluster.administrator_url) as connection:
        connection.execute(DUE.encode(), [email])
    stack.advance(61)
    until = time.monotonic() + 20
    while time.monotonic() < until and not stack.mails(email):
        time.sleep(0.1)
    assert len(stack.mails(email)) == 1


def test_the_public_address_knows_no_schedules_and_the_services_own_wants_a_token(stack: Stack) -> None:
    with stack.client() as client:
        for path in ("/schedules/reap", "/schedules/deliver-outbox", "/tasks/step", "/schedules/none"):
            assert client.post(path).status_code == 404
    base = f"http://127.0.0.1:{stack.places.services_port}"
    with httpx.Client(base_url=base, trust_env=False) as client:
        assert client.post("/operations-reap/schedules/reap").status_code == 401
        assert client.get("/operations-reap/schedules/reap").status_code == 405
        for path in ("/schedules/reap", "/operations-purge/schedules/reap", "/operations-health/v1/health", "/"):
            assert client.post(path).status_code == 404
