"""Which passwords are refused and which hashes are old; answers that take one time; mails about passwords."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accounts import even_time, mails, passwords, rules
from shared.operations import letters
from shared.operations import service as operations
from shared.runtime import clock
from shared.runtime.errors import Unprocessable
from shared.runtime.settings import load

EMAIL = "ada.lovelace@oprina.test"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PAGE_URL", "https://page.test/")
    load.cache_clear()
    yield
    load.cache_clear()


@pytest.mark.parametrize("password", ["password1", "PASSWORD1", "letmein1", "1qaz2wsx", "Ada.Lovelace", EMAIL.upper()])
def test_what_is_guessed_first_is_refused_at_its_field(password: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        passwords.refuse_guessable("new_password", password, EMAIL)
    assert [(field.field, field.code) for field in refused.value.fields] == [("new_password", "password_common")]
    assert password not in str(refused.value.detail)


@pytest.mark.parametrize("password", ["speak-with-oprina", "ada.lovelace1", "password1 and more", "lovelace@oprina"])
def test_what_only_contains_something_common_may_be_chosen(password: str) -> None:
    passwords.refuse_guessable("password", password, EMAIL)


@given(st.text(min_size=8, max_size=30))
def test_upper_and_lower_case_are_refused_alike(password: str) -> None:
    def refused(written: str) -> bool:
        try:
            passwords.refuse_guessable("password", written, EMAIL)
        except Unprocessable:
            return True
        return False

    assert refused(password) == refused(rules.folded(password))


@pytest.mark.parametrize(
    ("stored", "outdated"),
    [("$2b$04$x", True), ("$2b$11$x", True), ("$2b$12$x", False), ("$2b$13$x", False), ("", False), ("$2b$", False)],
)
def test_a_hash_is_outdated_when_its_cost_is_lower_than_the_one_in_use(
    stored: str, outdated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD_COST", "12")
    load.cache_clear()
    try:
        assert passwords.is_outdated(stored) is outdated
    finally:
        load.cache_clear()


def test_the_link_of_a_reset_keeps_its_token_from_servers(page: None) -> None:
    mail = mails.password_reset(EMAIL, "TOKEN")
    letter = letters.write(mail["template"], mail["values"])
    assert "https://page.test/#reset=TOKEN" in letter.text
    assert 'href="https://page.test/#reset=TOKEN"' in letter.html


@pytest.mark.parametrize("made", [mails.password_was_reset, mails.password_was_changed])
def test_news_of_a_password_says_what_to_do_when_it_was_somebody_else(page: None, made: object) -> None:
    mail = made(EMAIL)  # type: ignore[operator]
    assert mail["to"] == EMAIL
    text = letters.write(mail["template"], mail["values"]).text
    assert "It was not you?" in text
    assert "token" not in text.lower()


@pytest.mark.parametrize("seconds", [0.0, 0.05, 60.0])
async def test_an_answer_takes_one_time_however_long_the_mail_takes(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    sent = []

    async def deliver(ids: list[object]) -> None:
        await asyncio.sleep(seconds)
        sent.extend(ids)

    monkeypatch.setattr(operations, "deliver_outbox", deliver)
    started = clock.monotonic_ms()
    async with asyncio.timeout(30):
        await even_time.send_quietly(uuid4(), started)
    assert clock.monotonic_ms() - started >= 1_000
    assert len(sent) == (0 if seconds == 60.0 else 1)
