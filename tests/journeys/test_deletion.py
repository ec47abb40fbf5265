"""A person deletes their account: refused at once, erased everywhere, whatever fails on the way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.accounts import erasure
from shared.accounts import places as registry
from shared.accounts.places import Place, places
from shared.clients import database as client
from shared.operations.service import sweep_outbox
from shared.runtime import logs
from tests.support.backend import Backend, Person, open_backend
from tests.support.database import Database, throwaway_database
from tests.support.talk import assert_problem
from tests.support.traces import Filled, fill, speaker, traces


# Its own database: the sweep takes whatever is due, and here it is told to die.
@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with throwaway_database() as opened:
        yield opened


@pytest.fixture(scope="module")
async def backend(database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with open_backend(database.environment, tmp_path_factory.mktemp("public")) as opened:
        yield opened


@pytest.fixture(scope="module")
async def admin(backend: Backend, database: Database) -> Person:
    person = await backend.register_person()
    await database.execute("update public.users set is_admin = true where id = %s", person.id)
    return person


@pytest.fixture
async def filled(backend: Backend, database: Database, admin: Person) -> Filled:
    return await fill(backend, database, admin)


async def delete(backend: Backend, person: Person) -> httpx.Response:
    return await backend.client.delete("/v1/users/me", headers=person.headers)


async def retry_now(database: Database, person: Person) -> None:
    """Let every lease and every wait of what the person left in the outbox run out."""
    await database.execute(
        "update public.outbox set lease_until = null, next_attempt_at = now()"
        " where sent_at is null and dead_at is null and (payload ->> 'to' = %s or payload ->> 'person_id' = %s)",
        person.email,
        person.id,
    )


async def rows_of(database: Database, table: str, person: Person) -> int:
    query = f"select count(*) from public.{table} where user_id = %s"  # noqa: S608 - our tables
    ((count,),) = await database.fetch(query, person.id)
    return int(count)


async def is_known(database: Database, person: Person) -> bool:
    return bool(await database.fetch("select 1 from public.users where id = %s", person.id))


# The whole of it


async def test_of_a_deleted_person_no_trace_is_left_anywhere_and_of_the_other_everything(
    backend: Backend, database: Database, admin: Person
) -> None:
    gone, other = await fill(backend, database, admin), await fill(backend, database, admin)
    before = await traces(database, [*gone.needles, gone.audit_name])
    tables = {("private." if place.name == "audit_keys" else "public.") + place.name for place in places()}
    assert before.keys() == tables, "`fill` has to leave something in every place of the register, and nowhere else"
    of_other = await traces(database, [*other.needles, other.audit_name])

    answer = await delete(backend, gone.person)
    assert answer.status_code == 204, answer.text
    await sweep_outbox()

    assert await traces(database, gone.needles) == {}
    assert (await traces(database, [gone.audit_name])).keys() == {"public.audit_log"}
    assert await traces(database, [*other.needles, other.audit_name]) == of_other
    assert (await backend.client.get("/v1/users/me", headers=other.person.headers)).status_code == 200


async def test_the_entries_of_the_audit_log_stay_and_nobody_can_tell_whose_they_were(
    backend: Backend, database: Database, filled: Filled
) -> None:
    entries = "select action from public.audit_log where subject = %s order by at"
    await delete(backend, filled.person)
    await sweep_outbox()
    actions = [action for (action,) in await database.fetch(entries, filled.audit_name)]
    assert actions[-2:] == ["accounts.deleted", "accounts.erased"]
    ((name_now,),) = await database.fetch(
        "select count(*) from private.audit_keys where user_id = %s", filled.person.id
    )
    assert name_now == 0


async def test_a_deleted_person_is_refused_everywhere_before_anything_is_erased(backend: Backend) -> None:
    person = await backend.register_person()
    await delete(backend, person)
    refused = await backend.client.get("/v1/users/me", headers=person.headers)
    assert assert_problem(refused, 401, "person_inactive")["account"] == "deleted"
    assert_problem(await backend.refresh(person.refresh_token), 401, "refresh_token_invalid")
    assert_problem(await backend.login(person.email), 401, "credentials_invalid")


async def test_a_mail_says_goodbye_and_is_the_last(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    await delete(backend, person)
    assert backend.mailbox.to(person.email)[-1]["Subject"] != "Your account is deleted"
    await sweep_outbox()
    await sweep_outbox()
    subjects = [mail["Subject"] for mail in backend.mailbox.to(person.email)]
    assert subjects[-1] == "Your account is deleted"
    assert subjects.count("Your account is deleted") == 1
    assert not await is_known(database, person)


# Asked again, at once, by others


async def test_asking_again_is_as_good_as_the_first_time_before_and_after_everything_is_erased(
    backend: Backend, database: Database
) -> None:
    person = await backend.register_person()
    answers = [await delete(backend, person), await delete(backend, person)]
    await sweep_outbox()
    assert not await is_known(database, person)
    answers.append(await delete(backend, person))
    assert [answer.status_code for answer in answers] == [204] * 3


async def test_asking_many_times_at_once_deletes_once(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    answers = await asyncio.gather(*(delete(backend, person) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [204] * 5
    ((entries,),) = await database.fetch(
        "select count(*) from public.outbox where kind = 'erase_person' and payload ->> 'person_id' = %s", person.id
    )
    assert entries == 1
    await sweep_outbox()
    assert [mail["Subject"] for mail in backend.mailbox.to(person.email)].count("Your account is deleted") == 1


async def test_nobody_deletes_without_signing_in_and_nobody_deletes_another(
    backend: Backend, database: Database
) -> None:
    person, other = await backend.register_person(), await backend.register_person()
    assert_problem(await backend.client.delete("/v1/users/me"), 401, "token_missing")
    forged = {"Authorization": f"Bearer {person.access_token[:-4]}AAAA"}
    assert_problem(await backend.client.delete("/v1/users/me", headers=forged), 401, "token_invalid")
    await delete(backend, person)
    await sweep_outbox()
    assert await is_known(database, other)
    assert (await backend.client.get("/v1/users/me", headers=other.headers)).status_code == 200


async def test_a_suspended_person_cannot_slip_away_from_a_suspension(
    backend: Backend, database: Database, admin: Person
) -> None:
    person = await backend.register_person()
    path = f"/v1/admin/users/{person.id}/suspend"
    await backend.client.post(path, json={"reason": "spam"}, headers=admin.headers)
    assert_problem(await delete(backend, person), 401, "person_inactive")
    assert await database.fetch("select status from public.users where id = %s", person.id) == [("suspended",)]


# The address is free (what this replaces could never register a deleted address again)


async def test_an_address_can_be_registered_again_at_once_and_the_erasure_of_the_old_leaves_the_new_alone(
    backend: Backend, database: Database
) -> None:
    person = await backend.register_person()
    await delete(backend, person)
    again = await backend.register_person(person.email, full_name="Newcomer")
    assert again.id != person.id
    assert (again.user["full_name"], again.user["preferred_name"]) == ("Newcomer", None)
    backend.mailbox.refusing = True
    await backend.register(person.email)
    backend.mailbox.refusing = False
    waiting = (
        "select count(*) from public.outbox where kind = 'mail' and payload ->> 'to' = %s and sent_at is null"
        " and created_at > (select created_at from public.users where id = %s)"
    )
    assert await database.fetch(waiting, person.email, again.id) == [(1,)]
    await database.execute(
        "update public.outbox set next_attempt_at = now() + interval '1 day' where payload ->> 'to' = %s"
        " and created_at > (select created_at from public.users where id = %s)",
        person.email,
        again.id,
    )
    await sweep_outbox()
    assert not await is_known(database, person)
    assert await database.fetch(waiting, person.email, again.id) == [(1,)]
    assert (await backend.client.get("/v1/users/me", headers=again.headers)).json() == again.user


async def test_many_registrations_of_a_deleted_address_at_once_make_one_new_person(
    backend: Backend, database: Database
) -> None:
    person = await backend.register_person()
    deleting = asyncio.create_task(delete(backend, person))
    await asyncio.gather(*(backend.register(person.email) for _ in range(4)))
    deleted = await deleting
    assert deleted.status_code == 204
    await asyncio.gather(*(backend.register(person.email) for _ in range(4)), sweep_outbox())
    living = "select count(*) from public.users where lower(email) = %s and status <> 'deleted'"
    assert await database.fetch(living, person.email) == [(1,)]
    await retry_now(database, person)
    await sweep_outbox()
    assert not await is_known(database, person)
    assert await database.fetch(living, person.email) == [(1,)]


async def test_requests_of_a_deleted_person_never_bring_them_back(backend: Backend, database: Database) -> None:
    person = await backend.register_person()

    async def poll() -> list[int]:
        answers = [await backend.client.get("/v1/users/me", headers=person.headers) for _ in range(6)]
        return [answer.status_code for answer in answers]

    deleting = asyncio.create_task(delete(backend, person))
    polled = await asyncio.gather(*(poll() for _ in range(4)))
    await deleting
    await sweep_outbox()
    assert {status for statuses in polled for status in statuses} <= {200, 401}
    assert (await poll()) == [401] * 6
    assert await database.fetch("select 1 from public.users where lower(email) = %s", person.email) == []
    assert (await backend.register_person(person.email)).email == person.email


# What fails on the way


async def test_a_mail_server_that_is_away_keeps_the_address_until_the_goodbye_left_and_nothing_else(
    backend: Backend, database: Database, filled: Filled
) -> None:
    await delete(backend, filled.person)
    backend.mailbox.refusing = True
    await sweep_outbox()
    backend.mailbox.refusing = False
    assert await is_known(database, filled.person)
    for table in ("messages", "turns", "sessions", "sign_ins", "refresh_tokens", "idempotency_keys", "one_time_tokens"):
        assert await rows_of(database, table, filled.person) == 0, table
    await retry_now(database, filled.person)
    await sweep_outbox()
    assert await traces(database, filled.needles) == {}
    assert backend.mailbox.to(filled.person.email)[-1]["Subject"] == "Your account is deleted"


async def test_a_goodbye_that_nobody_takes_for_good_does_not_keep_the_person(
    backend: Backend, database: Database, filled: Filled
) -> None:
    await delete(backend, filled.person)
    backend.mailbox.refusing = True
    for _ in range(12):
        await retry_now(database, filled.person)
        await sweep_outbox()
    backend.mailbox.refusing = False
    await retry_now(database, filled.person)
    await sweep_outbox()
    assert await traces(database, filled.needles) == {}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A provider's place in the middle of the register: fails while `away`; `erased` is what it was told to forget."""
    held: dict[str, Any] = {"away": True, "erased": []}

    async def erase(person_id: UUID) -> None:
        if held["away"]:
            raise ConnectionError("the provider is away")
        held["erased"].append(str(person_id))

    place = Place("provider", "grants", "grants at a provider", None, erase, told_in=("sign_ins",))
    monkeypatch.setattr(registry, "_places", {(place.kind, place.name): place, **registry._places})
    return held


@pytest.fixture
def errors() -> Iterator[list[logging.LogRecord]]:
    """What is logged at ERROR."""
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeping(logging.ERROR)
    logs.logger().addHandler(handler)
    yield records
    logs.logger().removeHandler(handler)


async def test_a_grant_that_cannot_be_revoked_yet_keeps_the_others_going_and_is_tried_until_it_is(
    backend: Backend, database: Database, filled: Filled, provider: dict[str, Any], errors: list[logging.LogRecord]
) -> None:
    await delete(backend, filled.person)
    for _ in range(15):
        await sweep_outbox()
        await retry_now(database, filled.person)
    assert await is_known(database, filled.person)
    assert set(await traces(database, filled.needles)) == {
        "public.users", "public.outbox", "public.usage_events", "private.audit_keys", "public.sign_ins",
        "public.google_identities", "public.contact_cases", "public.quota_grants", "public.avatar_quotas",
        "public.avatar_sessions",
    }  # fmt: skip
    told = [record for record in errors if record.getMessage() == "a person could not be erased yet"]
    assert len(told) == 15
    assert told[-1].__dict__["places"] == ["grants"]
    assert (told[-1].__dict__["waiting"], told[-1].__dict__["failing"]) == (1, 1)
    assert not any(needle in str(record.__dict__) for record in errors for needle in filled.needles)

    provider["away"] = False
    await sweep_outbox()
    assert provider["erased"] == [filled.person.id]
    assert await traces(database, filled.needles) == {}


class Killed(BaseException):
    """The process ends here."""


def killing(monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool) -> Callable[[], bool]:
    """Let the process die at a call of the database: before it is sent, or after it was done and before its answer.

    Returns whether it has died.
    """
    real, calls, died = client._call, [0], [False]

    async def call(function: str, parameters: Any, token: str | None) -> Any:
        calls[0] += 1
        dying = calls[0] == at
        died[0] = died[0] or dying
        if dying and not after:
            raise Killed
        answer = await real(function, parameters, token)
        if dying:
            raise Killed
        return answer

    monkeypatch.setattr(client, "_call", call)
    return lambda: died[0]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_process_that_dies_between_any_two_steps_leaves_a_deletion_that_heals(
    backend: Backend, database: Database, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    at, died = 0, True
    while died:
        at += 1
        filled = await asyncio.to_thread(speaker, database)
        await delete(backend, filled.person)
        with monkeypatch.context() as patched:
            has_died = killing(patched, at, after=after)
            with contextlib.suppress(Killed):
                await sweep_outbox()
            died = has_died()
        await retry_now(database, filled.person)
        await sweep_outbox()
        assert await traces(database, filled.needles) == {}, f"after a death at call {at}"
        goodbyes = [
            mail for mail in backend.mailbox.to(filled.person.email) if mail["Subject"] == "Your account is deleted"
        ]
        assert len({mail["Message-ID"] for mail in goodbyes}) == 1
    assert at > len([place for place in places() if place.erase is not None])


async def test_two_walks_at_once_erase_one_person(backend: Backend, database: Database, filled: Filled) -> None:
    await delete(backend, filled.person)
    ((payload,),) = await database.fetch(
        "select payload from public.outbox where kind = 'erase_person' and payload ->> 'person_id' = %s",
        filled.person.id,
    )
    at = datetime.fromisoformat(payload["at"])
    await asyncio.gather(*(erasure.erase(UUID(filled.person.id), at) for _ in range(4)))
    await sweep_outbox()
    assert await traces(database, filled.needles) == {}


async def test_a_great_deal_is_erased_in_small_steps(
    backend: Backend, database: Database, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.execute(
        "insert into public.sessions (id, user_id, title)"
        " select gen_random_uuid(), %s, 'n' from generate_series(1, 2500)",
        filled.person.id,
    )
    await delete(backend, filled.person)
    await sweep_outbox()
    assert await traces(database, filled.needles) == {}
