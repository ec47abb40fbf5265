"""Passwords, the keyring, tokens, and what a profile may hold."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import bcrypt
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.accounts import mails, passwords, rules, tokens
from shared.accounts.models import Credentials, ProfileChanges, Registration
from shared.operations import letters
from shared.runtime.errors import ConfigurationError
from shared.runtime.settings import load, read

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def accounts_environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    keyring = tokens.new_keyring()
    for name, value in {
        "PASSWORD_COST": "4",
        "ALLOW_WEAK_PASSWORD_HASHES": "true",
        "ACCESS_TOKEN_KEYRING": keyring,
        "TOKEN_ISSUER": "https://issuer.test",
        "PAGE_URL": 'https://page.test/a"b/',
    }.items():
        monkeypatch.setenv(name, value)
    load.cache_clear()
    yield keyring
    load.cache_clear()


# Passwords


@pytest.mark.parametrize("password", ["correct horse", "x" * 72, "é" * 36, "12345678"])
def test_a_password_of_eight_characters_to_72_bytes_can_be_chosen(password: str) -> None:
    assert rules.password_refusal(password) is None


@pytest.mark.parametrize("password", ["1234567", "", "x" * 73, "é" * 37, "🔑" * 19])
def test_a_password_that_is_too_short_or_not_wholly_hashed_is_refused(password: str) -> None:
    assert rules.password_refusal(password) is not None


def test_the_same_password_typed_on_another_keyboard_is_the_same() -> None:
    assert rules.password_bytes("cafe\u0301 creme") == rules.password_bytes("caf\u00e9 creme")


async def test_a_hash_matches_its_password_and_no_other(accounts_environment: str) -> None:
    stored = await passwords.hashed("speak-with-oprina")
    assert await passwords.matches("speak-with-oprina", stored)
    assert not await passwords.matches("speak-with-Oprina", stored)
    assert not await passwords.matches("speak-with-oprina", None)


async def test_a_stored_hash_that_is_none_matches_nothing(accounts_environment: str) -> None:
    assert not await passwords.matches("speak-with-oprina", "$2b$04$broken")


async def test_what_lies_beyond_72_bytes_never_matches(accounts_environment: str) -> None:
    stored = await passwords.hashed("x" * 72)
    assert await passwords.matches("x" * 72, stored)
    assert not await passwords.matches("x" * 73, stored)


async def test_an_unknown_address_costs_a_hash_of_the_same_cost(
    accounts_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[bytes] = []
    genuine = bcrypt.checkpw

    def counting(password: bytes, stored: bytes) -> bool:
        costs.append(stored[:7])
        return genuine(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    await passwords.matches("a wrong one", await passwords.hashed("a right one"))
    await passwords.matches("a wrong one", None)
    assert costs == [b"$2b$04$", b"$2b$04$"]


def test_the_hash_of_nobody_is_really_computed() -> None:
    nobody = f"$2b$10${passwords._NOBODYS}".encode()
    started = time.perf_counter()
    assert bcrypt.checkpw(b"whatever", nobody) is False
    assert time.perf_counter() - started > 0.005


def test_the_default_cost_is_strong() -> None:
    assert read(passwords.PasswordSettings, {}).password_cost >= 12


@pytest.mark.parametrize(
    "environment",
    [
        {"PASSWORD_COST": "11"},
        {"PASSWORD_COST": "3", "ALLOW_WEAK_PASSWORD_HASHES": "true"},
        {"PASSWORD_COST": "4", "ALLOW_WEAK_PASSWORD_HASHES": "true", "K_SERVICE": "accounts-login"},
        {"PASSWORD_COST": "17"},
    ],
)
def test_a_weak_cost_is_refused_at_start(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        read(passwords.PasswordSettings, environment)


# Addresses and profiles


@pytest.mark.parametrize(
    ("given_as", "kept_as"),
    [
        ("demo@oprina.test", "demo@oprina.test"),
        ("  Ada.Lovelace@Example.COM ", "ada.lovelace@example.com"),
        ("ada@BÜCHER.example.com", "ada@xn--bcher-kva.example.com"),
    ],
)
def test_an_address_is_kept_in_one_form(given_as: str, kept_as: str) -> None:
    assert Credentials(email=given_as, password="x").email == kept_as


@pytest.mark.parametrize(
    "address", ["", "ada", "ada@", "@x.com", "a b@x.com", "ada@localhost", "a@x.com\nbcc: b@x.com"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        Credentials(email=address, password="x")


def test_registration_refuses_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        Registration.model_validate({"email": "a@x.com", "password": "12345678", "is_admin": True})


@pytest.mark.parametrize(
    "changes",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"timezone": ""},
        {"language": "english"},
        {"language": "en_US"},
        {"avatar_url": "javascript:alert(1)"},
        {"avatar_url": "ftp://x.test/a.png"},
        {"full_name": "x" * 256},
        {"full_name": "   "},
        {"full_name": "two\nlines"},
        {"display_name": "nul\0"},
        {"work_type": "x" * 101},
        {"ai_preferences": "x" * 1001},
        {"ai_preferences": "nul\0"},
        {"preferences": {"a": "x" * 8200}},
        {"preferences": {"a": float("nan")}},
        {"preferences": {"a": "\ud800"}},
        {"preferences": []},
        {"email": "other@x.com"},
        {"is_admin": True},
        {"id": str(uuid4())},
    ],
)
def test_a_profile_refuses_what_it_may_not_hold(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProfileChanges.model_validate(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"timezone": "America/Argentina/Buenos_Aires"},
        {"timezone": "UTC"},
        {"language": "en"},
        {"language": "zh-Hant-TW"},
        {"language": "es-419"},
        {"avatar_url": "https://images.test/a.png"},
        {"full_name": "نسترن\u200cپور"},
        {"ai_preferences": "Be brief.\nNever joke."},
        {"preferences": {"theme": {"dark": True}, "speed": 1.25}},
        {"full_name": None, "preferences": None},
        {},
    ],
)
def test_a_profile_takes_what_people_have(changes: dict[str, Any]) -> None:
    assert ProfileChanges.model_validate(changes).changes() == changes


# Tokens


def test_a_token_says_who_and_for_how_long(accounts_environment: str) -> None:
    person, sign_in = uuid4(), uuid4()
    token = tokens.access_token(person, sign_in, NOW)
    jwk = tokens.public_jwks(accounts_environment)["keys"][0]
    claims = jwt.decode(
        token,
        jwt.PyJWK(jwk),
        algorithms=["ES256"],
        audience="authenticated",
        issuer="https://issuer.test",
        options={"verify_exp": False, "verify_iat": False},
    )
    issued = int(NOW.timestamp())
    assert claims == {
        "iss": "https://issuer.test",
        "aud": "authenticated",
        "iat": issued,
        "exp": issued + 900,
        "sub": str(person),
        "sid": str(sign_in),
        "role": "authenticated",
    }
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "JWT", "kid": jwk["kid"]}


def test_published_keys_hold_nothing_private(accounts_environment: str) -> None:
    for key in tokens.public_jwks(accounts_environment)["keys"]:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


def test_a_key_is_named_by_its_thumbprint() -> None:
    jwk = tokens.public_jwks(tokens.new_keyring())["keys"][0]
    # RFC 7638, section 3: the required members in order, without spaces.
    canonical = '{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.format(**jwk)
    assert jwk["kid"] == base64.urlsafe_b64encode(sha256(canonical.encode()).digest()).decode().rstrip("=")


def test_any_key_of_a_keyring_may_be_the_active_one() -> None:
    first, second = json.loads(tokens.new_keyring()), json.loads(tokens.new_keyring())
    both = json.dumps({"active": second["active"], "keys": first["keys"] + second["keys"]})
    assert tokens.parse_keyring(both).active == second["active"]
    assert [key["kid"] for key in tokens.public_jwks(both)["keys"]] == [first["active"], second["active"]]


def _public_only() -> str:
    ring = json.loads(tokens.new_keyring())
    for key in ring["keys"]:
        del key["d"]
    return json.dumps(ring)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "no json",
        "[]",
        '{"active": "a", "keys": []}',
        '{"active": "a", "keys": [{"kid": "a", "kty": "oct", "k": "c2VjcmV0"}]}',
        json.dumps({**json.loads(tokens.new_keyring()), "active": "another"}),
        _public_only(),
    ],
)
def test_a_broken_keyring_is_refused_at_start_without_being_shown(raw: str) -> None:
    environment = {"ACCESS_TOKEN_KEYRING": raw, "TOKEN_ISSUER": "https://issuer.test"}
    with pytest.raises(ConfigurationError) as refusal:
        read(tokens.SigningSettings, environment)
    assert "ACCESS_TOKEN_KEYRING" in str(refusal.value)
    assert "c2VjcmV0" not in str(refusal.value)


def test_no_representation_of_the_settings_shows_the_keyring(accounts_environment: str) -> None:
    private = json.loads(accounts_environment)["keys"][0]["d"]
    assert private not in repr(load(tokens.SigningSettings))


def test_verifiers_find_the_keys() -> None:
    assert tokens.openid_configuration("https://issuer.test", "https://issuer.test/jwks.json") == {
        "issuer": "https://issuer.test",
        "jwks_uri": "https://issuer.test/jwks.json",
        "id_token_signing_alg_values_supported": ["ES256"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
    }


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - Hypothesis wants them so
def test_lifetimes_are_the_promised_ones(moment: datetime) -> None:
    now = moment.replace(tzinfo=UTC)
    assert rules.verification_expiry(now) - now == timedelta(hours=24)
    assert rules.refresh_token_expiry(now) - now == timedelta(days=30)


# Mails


def written(order: mails.MailContent) -> letters.Letter:
    """The mail as it is sent."""
    return letters.write(order["template"], order["values"])


def test_the_link_holds_the_token_behind_the_hash(accounts_environment: str) -> None:
    mail = written(mails.verification("ada@x.com", "abc_-1"))
    assert 'https://page.test/a"b/#verify=abc_-1\n' in mail.text
    assert 'href="https://page.test/a&#34;b/#verify=abc_-1"' in mail.html


def test_a_mail_to_a_known_address_holds_no_token(accounts_environment: str) -> None:
    mail = written(mails.already_registered("ada@x.com"))
    assert "verify" not in mail.text + mail.html
