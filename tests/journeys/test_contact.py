"""Whoever writes to us is heard once, gets a number, and can make us write to nobody else."""

from __future__ import annotations

import asyncio
import secrets
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.operations.service import sweep_outbox
from tests.support.backend import SUPPORT_ADDRESS, Backend, from_somewhere
from tests.support.database import Database
from tests.support.talk import assert_problem

MESSAGE = {"name": "Ada", "subject": "A question", "message": "How do I <b>start</b>?\n\nThank you."}


def stranger() -> str:
    return f"stranger-{secrets.token_hex(6)}@oprina.test"


async def write(backend: Backend, email: str, key: str | None = None, **changes: Any) -> httpx.Response:
    headers = from_somewhere() | changes.pop("headers", {}) | ({"Idempotency-Key": key} if key else {})
    body = {name: value for name, value in (MESSAGE | {"email": email} | changes).items() if value is not ...}
    return await backend.client.post("/v1/contact", json=body, headers=headers)


def case_mails(backend: Backend, email: str) -> list[EmailMessage]:
    return [mail for mail in backend.mailbox.to(SUPPORT_ADDRESS) if mail["Reply-To"] == email]


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content


async def cases(database: Database, email: str) -> list[tuple[Any, ...]]:
    return await database.fetch(
        "select case_id, user_id::text, name, subject, message from public.contact_cases where email = %s"
        " order by case_id",
        email,
    )


async def test_a_message_is_kept_mailed_to_support_and_confirmed(backend: Backend, database: Database) -> None:
    email = stranger()
    answer = await write(backend, email)
    assert answer.status_code == 201, answer.text
    number = answer.json()["case_id"]
    assert await cases(database, email) == [(number, None, "Ada", "A question", MESSAGE["message"])]
    (to_support,) = case_mails(backend, email)
    assert to_support["Subject"] == f"Case {number}: A question"
    assert MESSAGE["message"] in text_of(to_support).replace("\r\n", "\n")
    assert "&lt;b&gt;start&lt;/b&gt;" in text_of(to_support, "html")
    (confirmation,) = backend.mailbox.to(email)
    assert str(number) in confirmation["Subject"]
    assert confirmation["Auto-Submitted"] == "auto-generated"
    assert confirmation["Date"] is not None


async def test_numbers_grow_and_no_two_cases_share_one(backend: Backend) -> None:
    answers = await asyncio.gather(*(write(backend, stranger()) for _ in range(12)))
    numbers = [answer.json()["case_id"] for answer in answers]
    assert len(set(numbers)) == 12
    later = (await write(backend, stranger())).json()["case_id"]
    assert later > max(numbers)


async def test_a_confirmation_repeats_nothing_that_was_typed(backend: Backend) -> None:
    email = stranger()
    canary = "BUY-NOW-https://spam.example"
    await write(backend, email, name=canary, subject=canary, message=canary)
    (confirmation,) = backend.mailbox.to(email)
    assert canary not in str(confirmation)
    assert "spam.example" not in text_of(confirmation) + text_of(confirmation, "html")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"subject": "Hi\r\nBcc: victim@oprina.test"}, 422),
        ({"name": "Ada\nBcc: victim@oprina.test"}, 422),
        ({"email": "a@oprina.test\r\nBcc: victim@oprina.test"}, 422),
        ({"email": "a@oprina.test, victim@oprina.test"}, 422),
        ({"email": '"a, victim@oprina.test"@oprina.test'}, 422),
        ({"email": "nobody"}, 422),
        ({"email": ...}, 422),
        ({"subject": ""}, 422),
        ({"subject": "x" * 201}, 422),
        ({"message": "   "}, 422),
        ({"message": "x" * 5001}, 422),
        ({"message": "a\0b"}, 422),
        ({"to": "victim@oprina.test"}, 422),
        ({"message": "x" * 40_000}, 413),
    ],
)
async def test_what_is_no_message_sends_nothing(backend: Backend, change: dict[str, Any], status: int) -> None:
    before = len(backend.mailbox.mails)
    answer = await write(backend, change.pop("email", "a@oprina.test"), **change)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(backend.mailbox.mails) == before


async def test_a_message_in_any_script_arrives_as_it_was_typed(backend: Backend) -> None:
    email = f"jörg-{secrets.token_hex(4)}@oprina.test"
    assert (await write(backend, email, name="Jörg 你好", subject="Grüße ✓", message="Ünï\n— 🐋")).status_code == 201
    ((mail),) = [mail for mail in backend.mailbox.to(SUPPORT_ADDRESS) if "Ünï" in text_of(mail)]
    assert mail["Subject"].endswith("Grüße ✓")
    assert "Jörg 你好" in text_of(mail)


async def test_an_address_cannot_be_flooded_with_confirmations(backend: Backend, database: Database) -> None:
    email = stranger()
    for variant in (email, email.upper(), email, email, email):
        assert (await write(backend, variant)).status_code == 201
    assert len([mail for mail in backend.mailbox.mails if mail["To"].lower() == email]) == 3
    assert len(await database.fetch("select from public.contact_cases where lower(email) = %s", email)) == 5


async def test_an_address_of_the_network_may_write_five_times_a_minute(backend: Backend) -> None:
    somewhere = from_somewhere()
    answers = [await write(backend, stranger(), headers=somewhere) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [201] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_key_gives_the_same_case_again_from_wherever_it_is_sent(backend: Backend, database: Database) -> None:
    email, key = stranger(), str(uuid4())
    first = await write(backend, email, key)
    again = await write(backend, email, key)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(await cases(database, email)) == 1
    assert len(backend.mailbox.to(email)) == 1
    assert_problem(await write(backend, email, key, message="Another"), 422, "idempotency_key_reused")


async def test_of_parallel_requests_with_one_key_one_makes_a_case(backend: Backend, database: Database) -> None:
    email, key = stranger(), str(uuid4())
    answers = await asyncio.gather(*(write(backend, email, key) for _ in range(6)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 5
    assert len(await cases(database, email)) == 1


async def test_two_strangers_may_choose_the_same_key(backend: Backend) -> None:
    one, other = await write(backend, stranger(), "1"), await write(backend, stranger(), "1")
    assert one.status_code == other.status_code == 201
    assert one.json() != other.json()


async def test_a_key_is_forgotten_after_a_day(backend: Backend, database: Database) -> None:
    email, key = stranger(), str(uuid4())
    first = await write(backend, email, key)
    await database.execute(
        "update public.contact_cases set created_at = created_at - interval '25 hours' where email = %s", email
    )
    later = await write(backend, email, key, message="Another")
    assert later.json()["case_id"] != first.json()["case_id"]


async def test_a_person_who_is_signed_in_is_attached(backend: Backend, database: Database) -> None:
    ada = await backend.register_person()
    email = stranger()
    assert (await write(backend, email, headers=ada.headers)).status_code == 201
    assert (await cases(database, email))[0][1] == ada.id
    await backend.client.post("/v1/auth/logout", headers=ada.headers)
    other = stranger()
    assert (await write(backend, other, headers=ada.headers)).status_code == 201
    assert (await cases(database, other))[0][1] is None, "the sign-in had ended: the case is nobody's"


async def test_a_token_that_is_none_is_refused_rather_than_left_out(backend: Backend) -> None:
    answer = await write(backend, stranger(), headers={"Authorization": "Bearer nonsense"})
    assert_problem(answer, 401, "token_invalid")


async def test_a_mail_server_that_is_away_loses_no_message(backend: Backend, database: Database) -> None:
    email = stranger()
    backend.mailbox.refusing = True
    answer = await write(backend, email)
    backend.mailbox.refusing = False
    assert answer.status_code == 201
    assert backend.mailbox.to(email) == []
    await database.execute(
        "update public.outbox set next_attempt_at = now() where payload ->> 'to' = %s or payload ->> 'reply_to' = %s",
        email, email,
    )  # fmt: skip
    await sweep_outbox()
    assert len(backend.mailbox.to(email)) == len(case_mails(backend, email)) == 1


async def test_cases_of_long_ago_are_purged(backend: Backend, database: Database) -> None:
    old, young = stranger(), stranger()
    for email in (old, young):
        await write(backend, email)
    await database.execute(
        "update public.contact_cases set created_at = created_at - interval '731 days' where email = %s", old
    )
    assert database.call("purge_contact_cases", p_limit=100)["contact_cases"] >= 1
    assert (await cases(database, old), len(await cases(database, young))) == ([], 1)
