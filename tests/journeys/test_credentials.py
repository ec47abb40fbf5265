"""Passwords and devices as people meet them, over each function's real application and a real database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import bcrypt
import httpx
import pytest

from shared.accounts import even_time
from shared.operations import service as operations
from shared.runtime import clock
from shared.runtime.settings import load
from tests.support.backend import PAGE_URL, PASSWORD, Backend, Person, from_somewhere, person_from
from tests.support.database import Database

NEW = "a-brand-new-secret"
BURST = 20


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert (document["status"], document["code"]) == (status, code)
    return document


async def post(backend: Backend, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    return await backend.client.post(f"/v1/auth/{path}", json=body, headers=from_somewhere() | (headers or {}))


async def forgot(backend: Backend, email: str) -> httpx.Response:
    return await post(backend, "password/forgot", {"email": email})


async def reset(backend: Backend, token: str, password: str = NEW, **headers: str) -> httpx.Response:
    return await post(backend, "password/reset", {"token": token, "new_password": password}, headers)


async def change(backend: Backend, person: Person, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    return await post(backend, "password/change", {"current_password": current, "new_password": new}, person.headers)


async def login_from(backend: Backend, address: str, email: str, password: str = PASSWORD) -> httpx.Response:
    return await backend.client.post(
        "/v1/auth/login", json={"email": email, "password": password}, headers={"X-Forwarded-For": address}
    )


def link_token(mail: EmailMessage) -> str:
    """The token of a reset mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    found = re.search(re.escape(PAGE_URL) + r"/#reset=([A-Za-z0-9_-]{43})\s", body.get_content())
    assert found is not None
    return found[1]


async def asked(backend: Backend, email: str) -> str:
    """Ask for a link. Returns its token."""
    assert (await forgot(backend, email)).status_code == 202
    return link_token(backend.mailbox.to(email)[-1])


async def is_signed_in(backend: Backend, person: Person) -> bool:
    answer = await backend.client.get("/v1/users/me", headers=person.headers)
    if answer.status_code == 401:
        assert answer.json()["code"] == "sign_in_ended"
    return answer.status_code == 200


async def device(backend: Backend, email: str, password: str = PASSWORD) -> Person:
    return person_from((await backend.login(email, password)).json(), password)


async def audited(database: Database, person_id: str) -> list[tuple[str, str]]:
    """What the audit log holds of a person, oldest first: the kind of the actor, and the action."""
    rows = await database.fetch(
        "select l.actor_kind, l.action from public.audit_log l join private.audit_keys k on k.user_id = %s::uuid"
        " where l.subject = encode(sha256(k.key || uuid_send(k.user_id)), 'hex') order by l.at, l.id",
        person_id,
    )
    return [(kind, action.removeprefix("accounts.")) for kind, action in rows]


@pytest.fixture(autouse=True)
def even_ms(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Answers that take the same time take a short one, or what a test says."""

    def set_to(milliseconds: int) -> None:
        monkeypatch.setattr(even_time, "_WHOLE_MS", milliseconds)

    set_to(20)
    return set_to


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bcrypt was asked to do."""
    done: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            done.append(name)
            return real(*arguments)

        return call

    monkeypatch.setattr(bcrypt, "hashpw", counted("hash", bcrypt.hashpw))
    monkeypatch.setattr(bcrypt, "checkpw", counted("check", bcrypt.checkpw))
    return done


@contextmanager
def password_cost(monkeypatch: pytest.MonkeyPatch, cost: int) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("PASSWORD_COST", str(cost))
        load.cache_clear()
        yield
    load.cache_clear()


# Forgotten


async def test_a_forgotten_password_is_replaced_by_the_link_in_the_mail(backend: Backend) -> None:
    person = await backend.register_person(full_name="Ada")
    assert (await forgot(backend, person.email.upper())).status_code == 202
    token = link_token(backend.mailbox.to(person.email)[-1])

    answer = await reset(backend, token)

    assert answer.status_code == 200
    assert set(answer.json()) == {"user", "access_token", "token_type", "expires_in", "refresh_token"}
    renewed = person_from(answer.json(), NEW)
    assert (renewed.id, renewed.user["full_name"]) == (person.id, "Ada")
    assert await is_signed_in(backend, renewed)
    assert (await backend.refresh(renewed.refresh_token)).status_code == 200
    assert (await backend.login(person.email, NEW)).status_code == 200
    assert_problem(await backend.login(person.email, PASSWORD), 401, "credentials_invalid")


async def test_a_reset_ends_every_earlier_sign_in_and_its_refresh_token(backend: Backend) -> None:
    person = await backend.register_person()
    others = [person, await device(backend, person.email)]
    renewed = person_from((await reset(backend, await asked(backend, person.email))).json())
    assert [await is_signed_in(backend, each) for each in others] == [False, False]
    for each in others:
        assert_problem(await backend.refresh(each.refresh_token), 401, "refresh_token_invalid")
    assert await is_signed_in(backend, renewed)


async def test_a_reset_is_told_by_a_mail_that_carries_no_token(backend: Backend) -> None:
    person = await backend.register_person()
    await reset(backend, await asked(backend, person.email))
    mail = backend.mailbox.to(person.email)[-1]
    assert mail["Subject"] == "Your password was changed"
    assert "#" not in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]


async def test_asking_tells_nothing_about_an_address_not_even_by_its_time(
    backend: Backend, database: Database, even_ms: Callable[[int], None]
) -> None:
    even_ms(1_000)
    known, suspended = await backend.register_person(), await backend.register_person()
    await database.execute("update public.users set status = 'suspended' where id = %s", suspended.id)
    backend.mailbox.mails.clear()
    answers = []
    for email in (known.email, f"nobody-{uuid4().hex}@oprina.test", suspended.email):
        started = clock.monotonic_ms()
        answer = await forgot(backend, email)
        headers = sorted(set(answer.headers) - {"x-request-id"})
        answers.append((answer.status_code, answer.content, headers, clock.monotonic_ms() - started >= 1_000))
    assert answers[0][:2] == (202, b'{"status":"reset_sent"}')
    assert answers[0][3]
    assert answers == [answers[0]] * 3
    assert [mail["To"] for mail in backend.mailbox.mails] == [known.email]


async def test_a_mail_server_that_hangs_neither_delays_the_answer_nor_loses_the_mail(
    backend: Backend, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await backend.register_person()
    backend.mailbox.mails.clear()
    deliver = operations.deliver_outbox

    async def hang(ids: Any) -> None:
        await asyncio.sleep(60)
        await deliver(ids)

    with monkeypatch.context() as patch:
        patch.setattr(operations, "deliver_outbox", hang)
        async with asyncio.timeout(10):
            assert (await forgot(backend, person.email)).status_code == 202
    assert backend.mailbox.to(person.email) == []
    await operations.sweep_outbox()
    assert (await reset(backend, link_token(backend.mailbox.to(person.email)[-1]))).status_code == 200


async def test_a_reset_link_works_once(backend: Backend) -> None:
    person = await backend.register_person()
    token = await asked(backend, person.email)
    assert (await reset(backend, token)).status_code == 200
    assert_problem(await reset(backend, token, "another-new-secret"), 400, "token_invalid")
    assert (await backend.login(person.email, NEW)).status_code == 200


async def test_of_simultaneous_uses_of_a_reset_link_one_wins(backend: Backend) -> None:
    person = await backend.register_person()
    token = await asked(backend, person.email)
    wanted = [f"{NEW}-{number}" for number in range(6)]
    answers = await asyncio.gather(*(reset(backend, token, password) for password in wanted))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400, 400]
    won = next(password for password, answer in zip(wanted, answers, strict=True) if answer.status_code == 200)
    assert (await backend.login(person.email, won)).status_code == 200


async def test_a_new_reset_link_voids_the_one_before(backend: Backend) -> None:
    person = await backend.register_person()
    first, second = await asked(backend, person.email), await asked(backend, person.email)
    assert first != second
    assert_problem(await reset(backend, first), 400, "token_invalid")
    assert (await reset(backend, second)).status_code == 200


async def test_a_reset_link_lives_for_an_hour_and_is_then_refused_like_an_unknown_one(
    backend: Backend, database: Database
) -> None:
    person = await backend.register_person()
    token = await asked(backend, person.email)
    of_person = "from public.one_time_tokens where purpose = 'reset_password' and user_id = %s"
    lives = await database.fetch(f"select expires_at - created_at {of_person}", person.id)
    assert abs(lives[0][0] - timedelta(hours=1)) < timedelta(minutes=1)
    await database.execute(
        "update public.one_time_tokens set expires_at = now() where purpose = 'reset_password' and user_id = %s",
        person.id,
    )
    documents = [assert_problem(await reset(backend, each), 400, "token_invalid") for each in (token, "0" * 43)]
    assert documents[0] | {"request_id": ""} == documents[1] | {"request_id": ""}
    assert (await backend.login(person.email)).status_code == 200


async def test_a_link_is_good_for_its_own_purpose_only(backend: Backend) -> None:
    email = await backend.register()
    verification = backend.mailbox.verification_token(email)
    assert_problem(await reset(backend, verification), 400, "token_invalid")
    token = await asked(backend, email)
    assert_problem(await post(backend, "email/verify", {"token": token}), 400, "token_invalid")
    assert (await post(backend, "email/verify", {"token": verification})).status_code == 200


async def test_whoever_reads_the_mail_owns_the_address_so_a_reset_verifies_it(backend: Backend) -> None:
    email = await backend.register(password="a-strangers-choice")
    verification = backend.mailbox.verification_token(email)
    answer = await reset(backend, await asked(backend, email))
    assert answer.json()["user"]["email_verified_at"] is not None
    assert (await backend.login(email, NEW)).status_code == 200
    assert_problem(await backend.login(email, "a-strangers-choice"), 401, "credentials_invalid")
    assert_problem(await post(backend, "email/verify", {"token": verification}), 400, "token_invalid")


async def test_a_person_who_signed_up_without_a_password_sets_one_by_mail(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    await database.execute("update public.users set password_hash = null where id = %s", person.id)
    assert_problem(await backend.login(person.email), 401, "credentials_invalid")
    assert_problem(await change(backend, person), 409, "password_not_set")
    assert (await reset(backend, await asked(backend, person.email))).status_code == 200
    assert (await backend.login(person.email, NEW)).status_code == 200


async def test_a_suspended_person_resets_nothing(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    token = await asked(backend, person.email)
    await database.execute("update public.users set status = 'suspended' where id = %s", person.id)
    assert_problem(await reset(backend, token), 401, "person_inactive")
    await database.execute("update public.users set status = 'active' where id = %s", person.id)
    assert (await backend.login(person.email)).status_code == 200


async def test_a_refused_new_password_leaves_the_link_good(backend: Backend) -> None:
    person = await backend.register_person()
    token = await asked(backend, person.email)
    assert_problem(await reset(backend, token, "password1"), 422, "validation_failed")
    assert (await reset(backend, token)).status_code == 200


async def test_no_password_is_hashed_for_a_link_that_is_none(backend: Backend, hashing: list[str]) -> None:
    assert_problem(await reset(backend, "0" * 43), 400, "token_invalid")
    assert hashing == []


async def test_a_stranger_who_asks_again_and_again_neither_floods_nor_locks_out(backend: Backend) -> None:
    person = await backend.register_person()
    backend.mailbox.mails.clear()
    answers = await asyncio.gather(*(forgot(backend, person.email) for _ in range(8)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b'{"status":"reset_sent"}')}
    mails = backend.mailbox.to(person.email)
    assert len(mails) == 5
    statuses = [(await reset(backend, link_token(mail))).status_code for mail in mails]
    assert sorted(statuses) == [200, 400, 400, 400, 400]


async def test_a_stranger_cannot_flood_an_address_with_verification_mails_either(backend: Backend) -> None:
    email = await backend.register()
    backend.mailbox.mails.clear()
    answers = await asyncio.gather(*(post(backend, "email/resend", {"email": email}) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(backend.mailbox.to(email)) == 5


# Changed


async def test_a_change_keeps_this_device_and_ends_the_others(backend: Backend) -> None:
    person = await backend.register_person()
    other = await device(backend, person.email)

    answer = await change(backend, person)

    assert (answer.status_code, answer.content) == (204, b"")
    assert [await is_signed_in(backend, each) for each in (person, other)] == [True, False]
    assert (await backend.refresh(person.refresh_token)).status_code == 200
    assert_problem(await backend.refresh(other.refresh_token), 401, "refresh_token_invalid")
    assert (await backend.login(person.email, NEW)).status_code == 200
    assert_problem(await backend.login(person.email, PASSWORD), 401, "credentials_invalid")
    mail = backend.mailbox.to(person.email)[-1]
    assert mail["Subject"] == "Your password was changed"
    assert NEW not in mail.as_string()


async def test_a_change_takes_the_current_password(backend: Backend) -> None:
    person = await backend.register_person()
    backend.mailbox.mails.clear()
    assert_problem(await change(backend, person, current="a wrong password"), 403, "password_wrong")
    assert (await backend.login(person.email)).status_code == 200
    assert backend.mailbox.to(person.email) == []


async def test_a_change_voids_a_reset_link_that_is_under_way(backend: Backend) -> None:
    person = await backend.register_person()
    token = await asked(backend, person.email)
    assert (await change(backend, person)).status_code == 204
    assert_problem(await reset(backend, token, "somebody-elses-wish"), 400, "token_invalid")


async def test_of_simultaneous_changes_one_wins(backend: Backend) -> None:
    person = await backend.register_person()
    wanted = [f"{NEW}-{number}" for number in range(4)]
    answers = await asyncio.gather(*(change(backend, person, new=password) for password in wanted))
    won = [password for password, answer in zip(wanted, answers, strict=True) if answer.status_code == 204]
    assert len(won) == 1
    assert (await backend.login(person.email, won[0])).status_code == 200
    assert await is_signed_in(backend, person)


async def test_a_borrowed_device_cannot_be_used_to_guess_the_current_password_for_long(
    backend: Backend, database: Database
) -> None:
    person = await backend.register_person()
    answers = [await change(backend, person, current=f"guess number {number}") for number in range(6)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429]


# Choosing a password

REFUSED = ["password", "PassWord1", "12345678", "QWERTYUIOP", "iloveyou1", "ｐａｓｓｗｏｒｄ"]


@pytest.mark.parametrize("password", REFUSED)
async def test_a_common_password_is_refused_whatever_its_case(
    backend: Backend, hashing: list[str], password: str
) -> None:
    email = f"person-{uuid4().hex}@oprina.test"
    document = assert_problem(
        await post(backend, "register", {"email": email, "password": password}), 422, "validation_failed"
    )
    assert [(error["field"], error["code"]) for error in document["errors"]] == [("password", "password_common")]
    assert hashing == []


async def test_the_persons_own_address_is_no_password(backend: Backend) -> None:
    email = f"grace.hopper.{uuid4().hex}@oprina.test"
    for password in (email, email.partition("@")[0].upper()):
        answer = await post(backend, "register", {"email": email, "password": password})
        document = assert_problem(answer, 422, "validation_failed")
        assert [(error["field"], error["code"]) for error in document["errors"]] == [("password", "password_common")]
    person = await backend.register_person(email)
    local_part = email.partition("@")[0]
    token = await asked(backend, email)
    for answer in (await change(backend, person, new=local_part), await reset(backend, token, local_part)):
        document = assert_problem(answer, 422, "validation_failed")
        assert [(each["field"], each["code"]) for each in document["errors"]] == [("new_password", "password_common")]


@pytest.mark.parametrize("password", ["short", "x" * 73, "ä" * 37])
async def test_the_same_rules_hold_wherever_a_password_is_set(backend: Backend, password: str) -> None:
    person = await backend.register_person()
    for path, body, headers in (
        ("password/change", {"current_password": PASSWORD, "new_password": password}, person.headers),
        ("password/reset", {"token": "0" * 43, "new_password": password}, {}),
    ):
        document = assert_problem(await post(backend, path, body, headers), 422, "validation_failed")
        assert [error["field"] for error in document["errors"]] == ["new_password"]
        assert password not in str(document["errors"])


# Devices


async def test_a_person_sees_their_devices_the_newest_first_and_which_one_this_is(backend: Backend) -> None:
    person = await backend.register_person()
    body = {"email": person.email, "password": PASSWORD}
    headers = {"X-Forwarded-For": "198.51.100.77", "User-Agent": "Telephone/1"}
    newest = person_from((await backend.client.post("/v1/auth/login", json=body, headers=headers)).json())

    answer = await backend.client.get("/v1/auth/sign-ins", headers=person.headers)

    assert answer.status_code == 200
    page = answer.json()
    assert page["next_cursor"] is None
    assert [item["current"] for item in page["items"]] == [False, True]
    assert set(page["items"][0]) == {"id", "device", "current", "created_at", "last_used_at"}
    assert page["items"][0]["device"] == {"user_agent": "Telephone/1", "address": "198.51.100.77"}
    seen_by_newest = (await backend.client.get("/v1/auth/sign-ins", headers=newest.headers)).json()["items"]
    assert [item["current"] for item in seen_by_newest] == [True, False]


async def test_devices_come_in_pages_without_gaps_or_repeats(backend: Backend) -> None:
    person = await backend.register_person()
    for _ in range(4):
        await device(backend, person.email)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        parameters = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = await backend.client.get("/v1/auth/sign-ins", params=parameters, headers=person.headers)
        seen += [item["id"] for item in answer.json()["items"]]
        cursor = answer.json()["next_cursor"]
    assert cursor is None
    whole = (await backend.client.get("/v1/auth/sign-ins", headers=person.headers)).json()["items"]
    assert seen == [item["id"] for item in whole]
    assert len(set(seen)) == 5


@pytest.mark.parametrize("cursor", ["e30", "eyJhdCI6MX0", "eyJhdCI6IngiLCJpZCI6IngifQ"])
async def test_a_cursor_that_somebody_made_up_is_refused(backend: Backend, cursor: str) -> None:
    person = await backend.register_person()
    answer = await backend.client.get("/v1/auth/sign-ins", params={"cursor": cursor}, headers=person.headers)
    assert_problem(answer, 400, "cursor_invalid")


async def test_a_device_that_refreshes_is_shown_as_used(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    past = "update public.sign_ins set created_at = created_at - interval '1 day', last_used_at = last_used_at"
    await database.execute(f"{past} - interval '1 day' where user_id = %s", person.id)
    renewed = person_from((await backend.refresh(person.refresh_token)).json())
    item = (await backend.client.get("/v1/auth/sign-ins", headers=renewed.headers)).json()["items"][0]
    assert item["last_used_at"] > item["created_at"]


async def test_devices_that_are_signed_out_or_whose_tokens_ran_out_are_not_listed(
    backend: Backend, database: Database
) -> None:
    person = await backend.register_person()
    out, forgotten = await device(backend, person.email), await device(backend, person.email)
    await backend.client.post("/v1/auth/logout", headers=out.headers)
    listed = (await backend.client.get("/v1/auth/sign-ins", headers=person.headers)).json()["items"]
    assert len(listed) == 2
    changed = await database.execute(
        "update public.sign_ins set expires_at = now() where id = %s and user_id = %s", listed[0]["id"], person.id
    )
    assert (changed, listed[0]["current"]) == (1, False)
    assert forgotten.id == person.id
    rest = (await backend.client.get("/v1/auth/sign-ins", headers=person.headers)).json()["items"]
    assert [item["current"] for item in rest] == [True]


async def test_a_person_signs_out_another_of_their_devices_once_or_twice(backend: Backend) -> None:
    person = await backend.register_person()
    other = await device(backend, person.email)
    listed = (await backend.client.get("/v1/auth/sign-ins", headers=person.headers)).json()["items"]
    path = f"/v1/auth/sign-ins/{listed[0]['id']}"
    for _ in range(2):
        assert (await backend.client.delete(path, headers=person.headers)).status_code == 204
    assert [await is_signed_in(backend, each) for each in (person, other)] == [True, False]
    assert_problem(await backend.refresh(other.refresh_token), 401, "refresh_token_invalid")


async def test_another_persons_device_is_not_found_and_stays(backend: Backend) -> None:
    person, other = await backend.register_person(), await backend.register_person()
    theirs = (await backend.client.get("/v1/auth/sign-ins", headers=other.headers)).json()["items"]
    assert len(theirs) == 1
    for sign_in_id in (theirs[0]["id"], str(uuid4())):
        answer = await backend.client.delete(f"/v1/auth/sign-ins/{sign_in_id}", headers=person.headers)
        assert_problem(answer, 404, "not_found")
    assert await is_signed_in(backend, other)
    answer = await backend.client.delete("/v1/auth/sign-ins/not-an-id", headers=person.headers)
    assert answer.status_code == 422


async def test_signing_out_everywhere_ends_every_device_of_nobody_else(backend: Backend) -> None:
    person, stranger = await backend.register_person(), await backend.register_person()
    devices = [person, await device(backend, person.email), await device(backend, person.email)]

    answer = await backend.client.post("/v1/auth/logout-all", headers=devices[1].headers)

    assert (answer.status_code, answer.content) == (204, b"")
    assert [await is_signed_in(backend, each) for each in devices] == [False] * 3
    for each in devices:
        assert_problem(await backend.refresh(each.refresh_token), 401, "refresh_token_invalid")
    assert await is_signed_in(backend, stranger)
    assert (await backend.login(person.email)).status_code == 200


# Guessing


async def guess(backend: Backend, email: str, times: int) -> list[httpx.Response]:
    """Wrong passwords, each from a network of its own."""
    return [await login_from(backend, from_somewhere()["X-Forwarded-For"], email, "wrong") for _ in range(times)]


async def test_guesses_from_anywhere_are_limited_by_account_before_a_hash_is_computed(
    backend: Backend, hashing: list[str]
) -> None:
    person = await backend.register_person()
    assert {answer.status_code for answer in await guess(backend, person.email, BURST)} == {401}
    hashing.clear()

    refused = (await guess(backend, person.email, 1))[0]

    document = assert_problem(refused, 429, "rate_limited")
    assert document["retryable"] is True
    assert 200 < int(refused.headers["retry-after"]) <= 300
    assert hashing == []


async def test_a_stranger_does_not_lock_out_who_signs_in_from_where_they_did_before(backend: Backend) -> None:
    person = await backend.register_person()
    home = "2001:db8:7:1::5"
    assert (await login_from(backend, home, person.email)).status_code == 200
    await guess(backend, person.email, BURST)

    # The right password does not help from elsewhere: else guessing would go on, one answer in a 429.
    assert_problem(await backend.login(person.email), 429, "rate_limited")
    # The same /64, as an address of the same household.
    assert (await login_from(backend, "2001:db8:7:1:abcd::9", person.email)).status_code == 200
    assert_problem(await login_from(backend, "2001:db8:7:2::5", person.email), 429, "rate_limited")


async def test_failures_at_one_known_place_leave_the_other_known_place_alone(backend: Backend) -> None:
    person = await backend.register_person()
    cafe, home = from_somewhere()["X-Forwarded-For"], from_somewhere()["X-Forwarded-For"]
    for place in (cafe, home):
        assert (await login_from(backend, place, person.email)).status_code == 200
    # The address' own limit would come first.
    answers = []
    for _ in range(BURST + 1):
        answers.append(await login_from(backend, cafe, person.email, "wrong"))
        if answers[-1].status_code == 429:
            break
    assert answers[-1].status_code == 429
    assert (await login_from(backend, home, person.email)).status_code == 200
    assert (await backend.login(person.email)).status_code == 200


async def test_a_place_is_forgotten_after_ninety_days(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    home = from_somewhere()["X-Forwarded-For"]
    assert (await login_from(backend, home, person.email)).status_code == 200
    await guess(backend, person.email, BURST)
    for days, status in ((89, 200), (91, 429)):
        await database.execute(
            "update public.sign_ins set last_used_at = now() - make_interval(days => %s) where user_id = %s",
            days,
            person.id,
        )
        assert (await login_from(backend, home, person.email)).status_code == status


async def test_the_limit_reveals_nothing_about_an_address(backend: Backend) -> None:
    person = await backend.register_person()
    seen = []
    for email in (person.email, f"nobody-{uuid4().hex}@oprina.test"):
        answers = await guess(backend, email, BURST + 2)
        # The wait is shorter by what this loop took, which is no matter of the address.
        waits = [200 < int(answer.headers.get("retry-after", 0)) <= 300 for answer in answers]
        seen.append(([(answer.status_code, answer.json()["code"]) for answer in answers], waits))
    assert seen[0] == seen[1]


async def test_only_failures_count(backend: Backend) -> None:
    person = await backend.register_person()
    for _ in range(BURST + 5):
        assert (await backend.login(person.email)).status_code == 200


async def test_parallel_guesses_are_not_more_than_there_may_be(backend: Backend) -> None:
    person = await backend.register_person()
    places = [from_somewhere()["X-Forwarded-For"] for _ in range(BURST * 2)]
    answers = await asyncio.gather(*(login_from(backend, place, person.email, "wrong") for place in places))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (BURST, BURST)


async def test_a_reset_by_mail_works_while_guessing_is_limited(backend: Backend) -> None:
    person = await backend.register_person()
    await guess(backend, person.email, BURST)
    assert_problem(await backend.login(person.email), 429, "rate_limited")
    place = from_somewhere()["X-Forwarded-For"]
    answer = await reset(backend, await asked(backend, person.email), **{"X-Forwarded-For": place})
    assert answer.status_code == 200
    assert (await login_from(backend, place, person.email, NEW)).status_code == 200


# Hashes that age


async def test_a_hash_is_renewed_at_the_sign_in_after_the_cost_rose_and_only_then(
    backend: Backend, database: Database, hashing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await backend.register_person()
    kept = "select password_hash from public.users where id = %s"
    with password_cost(monkeypatch, 5):
        assert_problem(await backend.login(person.email, "a wrong password"), 401, "credentials_invalid")
        assert (await database.fetch(kept, person.id))[0][0].startswith("$2b$04$")
        hashing.clear()
        assert (await backend.login(person.email)).status_code == 200
        assert (await database.fetch(kept, person.id))[0][0].startswith("$2b$05$")
        assert (await backend.login(person.email)).status_code == 200
    assert hashing == ["check", "hash", "check"]
    assert (await backend.login(person.email)).status_code == 200
    assert (await database.fetch(kept, person.id))[0][0].startswith("$2b$05$")


async def test_a_hash_that_cannot_be_renewed_does_not_fail_the_sign_in(
    backend: Backend, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await backend.register_person()
    refuse = "create function private.refuse_renewal() returns trigger language plpgsql set search_path = '' as"
    await database.execute(f"{refuse} $$ begin raise exception 'not now'; end $$")
    await database.execute(
        "create trigger refuse_renewal before update of password_hash on public.users for each row"
        f" when (old.email = '{person.email}') execute function private.refuse_renewal()"
    )
    try:
        with password_cost(monkeypatch, 5):
            assert (await backend.login(person.email)).status_code == 200
    finally:
        await database.execute("drop function private.refuse_renewal() cascade")
    rows = await database.fetch("select password_hash from public.users where id = %s", person.id)
    assert rows[0][0].startswith("$2b$04$")


# The audit log


async def test_what_happens_to_credentials_is_in_the_audit_log(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    assert await audited(database, person.id) == [("person", "address_verified"), ("person", "signed_in")]

    await backend.login(person.email, "a wrong password")
    other = await device(backend, person.email)
    listed = (await backend.client.get("/v1/auth/sign-ins", headers=person.headers)).json()["items"]
    assert listed[0]["current"] is False
    for _ in range(2):
        await backend.client.delete(f"/v1/auth/sign-ins/{listed[0]['id']}", headers=person.headers)
    assert not await is_signed_in(backend, other)
    await change(backend, person)
    renewed = person_from((await reset(backend, await asked(backend, person.email))).json())
    second = (await backend.refresh(renewed.refresh_token)).json()
    await backend.refresh(second["refresh_token"])
    assert_problem(await backend.refresh(renewed.refresh_token), 401, "refresh_token_reused")
    last = await device(backend, person.email, NEW)
    await backend.client.post("/v1/auth/logout", headers=last.headers)
    last = await device(backend, person.email, NEW)
    await backend.client.post("/v1/auth/logout-all", headers=last.headers)

    assert (await audited(database, person.id))[2:] == [
        ("nobody", "sign_in_failed"),
        ("person", "signed_in"),
        ("person", "sign_in_ended"),
        ("person", "password_changed"),
        ("nobody", "reset_asked"),
        ("person", "password_reset"),
        ("person", "signed_in"),
        ("nobody", "refresh_token_reused"),
        ("person", "signed_in"),
        ("person", "signed_out"),
        ("person", "signed_in"),
        ("person", "all_signed_out"),
    ]


async def test_the_audit_log_repeats_no_address_password_or_token(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    await backend.login(person.email, "a-wrong-password")
    token = await asked(backend, person.email)
    await reset(backend, token)
    written = await database.fetch("select coalesce(string_agg(l::text, ' '), '') from public.audit_log l")
    for secret in (person.email, "a-wrong-password", token, PASSWORD, NEW, person.id):
        assert secret not in written[0][0]
    assert await audited(database, person.id)
