"""From a stranger to a signed-in person and back, over each function's real application and a real database."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import bcrypt
import httpx
import pytest

from shared.runtime import clock, logs
from shared.runtime.settings import load
from tests.support.backend import PASSWORD, Backend, from_somewhere, person_from
from tests.support.database import Database

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "retryable"}
PROFILE_MEMBERS = {
    "id", "email", "full_name", "preferred_name", "display_name", "avatar_url", "work_type", "ai_preferences",
    "timezone", "language", "preferences", "is_admin", "email_verified_at", "created_at", "updated_at",
}  # fmt: skip


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document.keys() >= PROBLEM_MEMBERS
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bcrypt was asked to do."""
    done: list[str] = []
    hashpw, checkpw = bcrypt.hashpw, bcrypt.checkpw

    def hashing_counted(password: bytes, salt: bytes) -> bytes:
        done.append("hash")
        return hashpw(password, salt)

    def checking_counted(password: bytes, stored: bytes) -> bool:
        done.append("check")
        return checkpw(password, stored)

    monkeypatch.setattr(bcrypt, "hashpw", hashing_counted)
    monkeypatch.setattr(bcrypt, "checkpw", checking_counted)
    return done


# Registering


async def test_a_stranger_registers_confirms_and_is_signed_in(backend: Backend) -> None:
    email = await backend.register(full_name="Ada Lovelace", timezone="Europe/London", language="en-GB")
    assert len(backend.mailbox.to(email)) == 1

    token = backend.mailbox.verification_token(email)
    answer = await backend.client.post("/v1/auth/email/verify", json={"token": token}, headers=from_somewhere())

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"user", "access_token", "token_type", "expires_in", "refresh_token"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
    assert set(body["user"]) == PROFILE_MEMBERS
    assert body["user"]["full_name"] == "Ada Lovelace"
    assert (body["user"]["timezone"], body["user"]["language"]) == ("Europe/London", "en-GB")
    assert body["user"]["email_verified_at"] is not None
    me = await backend.client.get("/v1/users/me", headers=person_from(body).headers)
    assert me.json() == body["user"]


async def test_a_known_and_an_unknown_address_get_the_same_answer_for_the_same_work(
    backend: Backend, hashing: list[str]
) -> None:
    known = await backend.register_person()
    answers, work = [], []
    for email in (known.email, f"new-{uuid4().hex}@oprina.test"):
        hashing.clear()
        backend.mailbox.mails.clear()
        body = {"email": email, "password": "another-password"}
        answer = await backend.client.post("/v1/auth/register", json=body, headers=from_somewhere())
        answers.append((answer.status_code, answer.content, sorted(set(answer.headers) - {"x-request-id"})))
        work.append((list(hashing), len(backend.mailbox.to(email))))
    assert answers[0] == answers[1]
    assert answers[0][:2] == (202, b'{"status":"verification_sent"}')
    assert work == [(["hash"], 1), (["hash"], 1)]


async def test_registering_a_known_address_changes_nothing_and_says_so_by_mail(backend: Backend) -> None:
    known = await backend.register_person(full_name="Ada")
    await backend.register(known.email.upper(), "a-strangers-password", full_name="Mallory")

    mail = backend.mailbox.to(known.email)[-1]
    assert mail["Subject"] == "You already have an account"
    assert "#verify=" not in mail.as_string()
    assert (await backend.login(known.email, "a-strangers-password")).status_code == 401
    assert (await backend.login(known.email)).json()["user"]["full_name"] == "Ada"


async def test_a_mail_repeats_nothing_that_was_typed_into_the_form(backend: Backend) -> None:
    email = await backend.register(full_name="Win money at spam.example")
    assert "spam" not in backend.mailbox.to(email)[-1].as_string()


async def test_a_mail_server_that_is_away_does_not_change_the_answer(backend: Backend, database: Database) -> None:
    backend.mailbox.refusing = True
    try:
        email = await backend.register()
    finally:
        backend.mailbox.refusing = False
    assert backend.mailbox.to(email) == []
    waiting = await database.fetch("select attempts, sent_at from public.outbox where payload ->> 'to' = %s", email)
    assert waiting == [(1, None)]


async def test_a_sent_mail_leaves_no_token_in_the_outbox(backend: Backend, database: Database) -> None:
    email = await backend.register()
    token = backend.mailbox.verification_token(email)
    left = await database.fetch("select count(*) from public.outbox where payload::text like %s", f"%{token}%")
    assert left == [(0,)]


async def test_passwords_and_tokens_are_stored_as_hashes_only(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    rows = await database.fetch("select password_hash from public.users where id = %s", person.id)
    assert rows[0][0].startswith("$2b$04$")
    kept = await database.fetch("select token_hash from public.refresh_tokens where user_id = %s", person.id)
    assert kept
    assert all(len(row[0]) == 64 and row[0] != person.refresh_token for row in kept)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 73}, "password"),
        ({"timezone": "Nowhere/Town"}, "timezone"),
        ({"language": "klingonese"}, "language"),
        ({"is_admin": True}, "is_admin"),
        ({"full_name": "a\u0000b"}, "full_name"),
    ],
)
async def test_what_cannot_be_registered_is_named(backend: Backend, change: dict[str, Any], field: str) -> None:
    body = {"email": "somebody@oprina.test", "password": PASSWORD, **change}
    answer = await backend.client.post("/v1/auth/register", json=body, headers=from_somewhere())
    document = assert_problem(answer, 422, "validation_failed")
    assert [error["field"] for error in document["errors"]] == [field]
    assert all(set(error) == {"field", "code", "detail"} for error in document["errors"])
    assert PASSWORD not in answer.text


# Confirming the address


async def test_a_verification_token_works_once(backend: Backend) -> None:
    email = await backend.register()
    body = {"token": backend.mailbox.verification_token(email)}
    first = await backend.client.post("/v1/auth/email/verify", json=body, headers=from_somewhere())
    second = await backend.client.post("/v1/auth/email/verify", json=body, headers=from_somewhere())
    assert first.status_code == 200
    assert_problem(second, 400, "token_invalid")


async def test_of_simultaneous_uses_of_a_verification_token_one_wins(backend: Backend) -> None:
    email = await backend.register()
    body = {"token": backend.mailbox.verification_token(email)}
    answers = await asyncio.gather(
        *(backend.client.post("/v1/auth/email/verify", json=body, headers=from_somewhere()) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400, 400]


async def test_an_expired_verification_token_is_refused_like_an_unknown_one(
    backend: Backend, database: Database
) -> None:
    email = await backend.register()
    token = backend.mailbox.verification_token(email)
    changed = await database.execute(
        "update public.one_time_tokens set expires_at = now() - interval '1 second'"
        " where user_id = (select id from public.users where email = %s)",
        email,
    )
    assert changed == 1
    documents = []
    for given in (token, "0" * 43):
        answer = await backend.client.post("/v1/auth/email/verify", json={"token": given}, headers=from_somewhere())
        document = assert_problem(answer, 400, "token_invalid")
        documents.append({name: value for name, value in document.items() if name != "request_id"})
    assert documents[0] == documents[1]


async def test_a_verification_token_lives_for_24_hours(backend: Backend, database: Database) -> None:
    email = await backend.register()
    rows = await database.fetch(
        "select expires_at - created_at from public.one_time_tokens"
        " where user_id = (select id from public.users where email = %s)",
        email,
    )
    assert abs(rows[0][0] - timedelta(hours=24)) < timedelta(minutes=1)


async def test_another_mail_replaces_the_link_of_the_first(backend: Backend) -> None:
    email = await backend.register()
    first = backend.mailbox.verification_token(email)
    answer = await backend.client.post("/v1/auth/email/resend", json={"email": email}, headers=from_somewhere())
    assert (answer.status_code, answer.json()) == (202, {"status": "verification_sent"})
    second = backend.mailbox.verification_token(email)
    assert second != first
    old = await backend.client.post("/v1/auth/email/verify", json={"token": first}, headers=from_somewhere())
    new = await backend.client.post("/v1/auth/email/verify", json={"token": second}, headers=from_somewhere())
    assert (old.status_code, new.status_code) == (400, 200)


async def test_asking_for_another_mail_tells_nothing_about_an_address(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified, waiting = (await backend.register_person()).email, await backend.register()
    backend.mailbox.mails.clear()
    answers = []
    for email in (verified, waiting, f"nobody-{uuid4().hex}@oprina.test"):
        started = clock.monotonic_ms()
        answer = await backend.client.post("/v1/auth/email/resend", json={"email": email}, headers=from_somewhere())
        answers.append((answer.status_code, answer.content, clock.monotonic_ms() - started >= 1_000))
    assert answers == [(202, b'{"status":"verification_sent"}', True)] * 3
    assert [mail["To"] for mail in backend.mailbox.mails] == [waiting]


# Signing in


async def test_a_person_signs_in_from_several_devices(backend: Backend) -> None:
    person = await backend.register_person()
    again = person_from((await backend.login(person.email.upper())).json())
    assert again.id == person.id
    for headers in (person.headers, again.headers):
        assert (await backend.client.get("/v1/users/me", headers=headers)).status_code == 200


async def test_a_wrong_password_and_an_unknown_address_are_one_answer_for_the_same_work(
    backend: Backend, hashing: list[str]
) -> None:
    person = await backend.register_person()
    seen = []
    for email in (person.email, f"nobody-{uuid4().hex}@oprina.test"):
        hashing.clear()
        answer = await backend.login(email, "a wrong password")
        document = assert_problem(answer, 401, "credentials_invalid")
        seen.append((document | {"request_id": None}, sorted(answer.headers), list(hashing)))
    assert seen[0] == seen[1]
    assert seen[0][2] == ["check"]


async def test_that_an_address_is_unconfirmed_is_told_only_to_who_knows_the_password(backend: Backend) -> None:
    email = await backend.register()
    assert_problem(await backend.login(email, "a wrong password"), 401, "credentials_invalid")
    assert_problem(await backend.login(email), 403, "email_unverified")


async def test_a_password_with_something_after_its_72nd_byte_does_not_sign_in(backend: Backend) -> None:
    person = await backend.register_person(password="x" * 72)
    assert (await backend.login(person.email, "x" * 72)).status_code == 200
    assert_problem(await backend.login(person.email, "x" * 73), 401, "credentials_invalid")


async def test_a_suspended_person_is_refused_everywhere_at_once(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    assert (await backend.client.get("/v1/users/me", headers=person.headers)).status_code == 200
    await database.execute("update public.users set status = 'suspended' where id = %s", person.id)

    assert_problem(await backend.client.get("/v1/users/me", headers=person.headers), 401, "person_inactive")
    assert_problem(await backend.client.get("/v1/sessions", headers=person.headers), 401, "person_inactive")
    assert_problem(await backend.refresh(person.refresh_token), 401, "person_inactive")
    assert_problem(await backend.login(person.email), 401, "person_inactive")
    assert_problem(await backend.login(person.email, "a wrong password"), 401, "credentials_invalid")


async def test_signing_out_ends_this_device_at_once_and_no_other(backend: Backend) -> None:
    person = await backend.register_person()
    other = person_from((await backend.login(person.email)).json())

    answer = await backend.client.post("/v1/auth/logout", headers=person.headers)

    assert (answer.status_code, answer.content) == (204, b"")
    refused = await backend.client.get("/v1/users/me", headers=person.headers)
    assert_problem(refused, 401, "sign_in_ended")
    assert refused.headers["www-authenticate"].startswith("Bearer ")
    assert_problem(await backend.refresh(person.refresh_token), 401, "refresh_token_invalid")
    assert (await backend.client.get("/v1/users/me", headers=other.headers)).status_code == 200
    assert (await backend.refresh(other.refresh_token)).status_code == 200


# Refreshing


async def test_a_refresh_token_is_exchanged_for_a_new_pair(backend: Backend) -> None:
    person = await backend.register_person()
    answer = await backend.refresh(person.refresh_token)
    assert answer.status_code == 200
    renewed = person_from(answer.json())
    assert renewed.id == person.id
    assert renewed.refresh_token != person.refresh_token
    assert (await backend.client.get("/v1/users/me", headers=renewed.headers)).status_code == 200
    assert (await backend.refresh(renewed.refresh_token)).status_code == 200


async def test_the_previous_refresh_token_is_taken_again_within_its_grace(backend: Backend) -> None:
    person = await backend.register_person()
    lost = await backend.refresh(person.refresh_token)
    again = await backend.refresh(person.refresh_token)
    assert (lost.status_code, again.status_code) == (200, 200)
    assert (await backend.refresh(again.json()["refresh_token"])).status_code == 200


async def test_a_superseded_refresh_token_ends_the_whole_family(backend: Backend) -> None:
    person = await backend.register_person()
    second = (await backend.refresh(person.refresh_token)).json()
    third = (await backend.refresh(second["refresh_token"])).json()

    assert_problem(await backend.refresh(person.refresh_token), 401, "refresh_token_reused")

    assert_problem(await backend.refresh(third["refresh_token"]), 401, "refresh_token_invalid")
    refused = await backend.client.get("/v1/users/me", headers=person_from(third).headers)
    assert_problem(refused, 401, "sign_in_ended")


async def test_the_previous_refresh_token_ends_the_family_after_its_grace(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    other = person_from((await backend.login(person.email)).json())
    renewed = (await backend.refresh(person.refresh_token)).json()
    changed = await database.execute(
        "update public.refresh_tokens set superseded_at = superseded_at - interval '31 seconds'"
        " where user_id = %s and superseded_at is not null",
        person.id,
    )
    assert changed == 1

    assert_problem(await backend.refresh(person.refresh_token), 401, "refresh_token_reused")

    assert_problem(await backend.refresh(renewed["refresh_token"]), 401, "refresh_token_invalid")
    assert (await backend.refresh(other.refresh_token)).status_code == 200


async def test_simultaneous_refreshes_leave_one_living_token(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    answers = await asyncio.gather(*(backend.refresh(person.refresh_token) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    living = await database.fetch(
        "select count(*) from public.refresh_tokens where user_id = %s and superseded_at is null", person.id
    )
    assert living == [(1,)]
    ended = await database.fetch("select ended_at from public.sign_ins where user_id = %s", person.id)
    assert ended == [(None,)]


async def test_an_expired_refresh_token_is_refused(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    await database.execute(
        "update public.refresh_tokens set expires_at = now() - interval '1 second' where user_id = %s", person.id
    )
    assert_problem(await backend.refresh(person.refresh_token), 401, "refresh_token_invalid")


async def test_a_refresh_token_lives_for_30_days(backend: Backend, database: Database) -> None:
    person = await backend.register_person()
    rows = await database.fetch(
        "select expires_at - created_at from public.refresh_tokens where user_id = %s", person.id
    )
    assert abs(rows[0][0] - timedelta(days=30)) < timedelta(minutes=1)


async def test_an_unknown_refresh_token_is_refused(backend: Backend) -> None:
    assert_problem(await backend.refresh("0" * 43), 401, "refresh_token_invalid")


# The profile


async def test_a_person_changes_and_clears_fields_of_their_profile(backend: Backend) -> None:
    person = await backend.register_person(full_name="Ada Lovelace", timezone="Europe/London")
    wanted = {
        "preferred_name": "Ada",
        "avatar_url": "https://images.test/ada.png",
        "ai_preferences": "Be brief.\nNo jokes.",
        "preferences": {"theme": "dark", "volume": 0.5},
        "timezone": "Asia/Tokyo",
    }
    changed = await backend.client.patch("/v1/users/me", json=wanted, headers=person.headers)
    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in wanted} == wanted
    assert changed.json()["full_name"] == "Ada Lovelace"

    cleared = await backend.client.patch(
        "/v1/users/me", json={"full_name": None, "preferences": None}, headers=person.headers
    )
    assert (cleared.json()["full_name"], cleared.json()["preferences"]) == (None, {})
    assert cleared.json()["preferred_name"] == "Ada"
    assert (await backend.client.get("/v1/users/me", headers=person.headers)).json() == cleared.json()


@pytest.mark.parametrize(
    "change",
    [
        {"email": "other@oprina.test"},
        {"is_admin": True},
        {"id": str(uuid4())},
        {"password_hash": "x"},
        {"status": "active"},
        {"timezone": "Nowhere/Town"},
        {"avatar_url": "javascript:alert(1)"},
        {"preferences": {"big": "x" * 9000}},
    ],
)
async def test_a_profile_cannot_be_given_what_is_not_the_persons_to_give(
    backend: Backend, change: dict[str, Any]
) -> None:
    person = await backend.register_person()
    answer = await backend.client.patch("/v1/users/me", json=change, headers=person.headers)
    document = assert_problem(answer, 422, "validation_failed")
    assert [error["field"].split(".")[0] for error in document["errors"]] == list(change)
    assert (await backend.client.get("/v1/users/me", headers=person.headers)).json() == person.user


async def test_text_that_the_database_cannot_hold_is_refused_as_the_callers_fault(backend: Backend) -> None:
    person = await backend.register_person()
    answer = await backend.client.patch(
        "/v1/users/me", json={"preferences": {"a": "nul\u0000"}}, headers=person.headers
    )
    assert_problem(answer, 422, "text_invalid")


# The public documents


async def test_the_keys_are_served_byte_for_byte_as_published(backend: Backend) -> None:
    async with httpx.AsyncClient() as anybody:
        published = await anybody.get(backend.environment["JWKS_URL"])
    answer = await backend.client.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.content == published.content
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert b'"d"' not in answer.content


async def test_the_discovery_document_is_served_byte_for_byte_as_published(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = backend.environment["JWKS_URL"].removesuffix("/.well-known/jwks.json")
    monkeypatch.setenv("TOKEN_ISSUER", issuer)
    load.cache_clear()
    try:
        async with httpx.AsyncClient() as anybody:
            published = await anybody.get(issuer + "/.well-known/openid-configuration")
        answer = await backend.client.get("/.well-known/openid-configuration")
    finally:
        monkeypatch.undo()
        load.cache_clear()
    assert published.status_code == 200
    assert answer.content == published.content
    assert answer.json()["jwks_uri"] == backend.environment["JWKS_URL"]
    assert answer.headers["cache-control"] == "public, max-age=300"


async def test_keys_that_cannot_be_read_are_no_empty_answer(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWKS_URL", backend.environment["JWKS_URL"] + ".elsewhere")
    load.cache_clear()
    try:
        answer = await backend.client.get("/.well-known/jwks.json")
    finally:
        monkeypatch.undo()
        load.cache_clear()
    assert_problem(answer, 503, "keys_unavailable")
    assert answer.headers["cache-control"] == "no-store"


# Limits


async def test_too_many_sign_ins_from_one_address_are_refused_for_a_while(backend: Backend) -> None:
    place = from_somewhere()
    body = {"email": f"nobody-{uuid4().hex}@oprina.test", "password": "x"}
    first = await backend.client.post("/v1/auth/login", json=body, headers=place)
    assert first.headers["ratelimit-policy"] == '"route";q=10;w=60'
    assert first.headers["ratelimit"].startswith('"route";r=9;t=')
    statuses = [(await backend.client.post("/v1/auth/login", json=body, headers=place)).status_code for _ in range(9)]
    assert statuses == [401] * 9

    refused = await backend.client.post("/v1/auth/login", json=body, headers=place)

    document = assert_problem(refused, 429, "rate_limited")
    assert document["retryable"] is True
    assert 1 <= int(refused.headers["retry-after"]) <= 6
    assert refused.headers["ratelimit"].startswith('"route";r=0;t=')
    elsewhere = await backend.client.post("/v1/auth/login", json=body, headers=from_somewhere())
    assert elsewhere.status_code == 401


async def test_a_right_password_does_not_pass_the_limit_either(backend: Backend) -> None:
    person, place = await backend.register_person(), from_somewhere()
    for _ in range(10):
        await backend.client.post("/v1/auth/login", json={"email": person.email, "password": "x"}, headers=place)
    body = {"email": person.email, "password": PASSWORD}
    assert_problem(await backend.client.post("/v1/auth/login", json=body, headers=place), 429, "rate_limited")


async def test_a_forged_chain_of_addresses_does_not_dodge_the_limit(backend: Backend) -> None:
    own = from_somewhere()["X-Forwarded-For"]
    body = {"email": f"nobody-{uuid4().hex}@oprina.test", "password": "x"}
    statuses = []
    for number in range(12):
        headers = {"X-Forwarded-For": f"203.0.113.{number}, {own}", "Forwarded": f"for=203.0.113.{number}"}
        statuses.append((await backend.client.post("/v1/auth/login", json=body, headers=headers)).status_code)
    assert statuses == [401] * 10 + [429] * 2


async def test_a_customers_whole_network_is_one_address(backend: Backend) -> None:
    body = {"email": f"nobody-{uuid4().hex}@oprina.test", "password": "x"}
    network = f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}"
    statuses = []
    for number in range(11):
        headers = {"X-Forwarded-For": f"{network}::{number + 1:x}"}
        statuses.append((await backend.client.post("/v1/auth/login", json=body, headers=headers)).status_code)
    assert statuses == [401] * 10 + [429]


# What is never written down


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """All log lines as they would be written: the product's own, and every library's."""
    target = io.StringIO()
    handler = logging.StreamHandler(target)
    # What the test's own client and mail server say is not the product's.
    handler.addFilter(lambda record: record.name != "mail.log" and "http://oprina.test" not in record.getMessage())
    handler.setFormatter(logs._CloudFormatter("%(message)s", timestamp=True))
    root, before = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.INFO)
    for logger in (root, logs.logger()):
        logger.addHandler(handler)
    yield target
    for logger in (root, logs.logger()):
        logger.removeHandler(handler)
    root.setLevel(before)


async def test_no_secret_and_no_address_is_ever_logged(backend: Backend, written: io.StringIO) -> None:
    password = "canary-password-7f3a"
    person = await backend.register_person(password=password, full_name="Canary Fullname")
    await backend.login(person.email, "canary-wrong-password")
    await backend.login(person.email, password)
    renewed = (await backend.refresh(person.refresh_token)).json()
    await backend.refresh("canary-refresh-token-0123456789")
    await backend.client.post(
        "/v1/auth/login", content=b'{"email": "canary-broken', headers={"Content-Type": "application/json"}
    )
    await backend.client.post("/v1/auth/register", json={"email": "canary@", "password": "canary-refused"})
    await backend.client.get("/v1/users/me", headers={"Authorization": "Bearer canary-no-token"})
    created = await backend.client.post("/v1/sessions", json={"title": "canary-title"}, headers=person.headers)
    await backend.client.get("/v1/sessions?q=canary-query", headers=person.headers)
    assert created.status_code == 201

    lines = written.getvalue()
    assert lines.count("request served") >= 10
    assert '"route": "POST /v1/auth/login"' in lines
    for secret in (
        "canary", "Canary", person.email, person.access_token, person.refresh_token, renewed["refresh_token"],
        renewed["access_token"], backend.environment["BACKEND_KEY"], backend.environment["SUPABASE_SECRET_KEY"],
    ):  # fmt: skip
        assert secret not in lines
