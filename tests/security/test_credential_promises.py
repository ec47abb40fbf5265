"""What holds of every credential, whichever route it comes by."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import httpx
import jwt
import pytest

from shared.accounts import tokens
from shared.clients.jwks import _keys
from shared.runtime.errors import ConfigurationError
from shared.runtime.settings import SecretStr, load, read
from tests.support.backend import PASSWORD, Backend, Person, from_somewhere, functions, open_backend
from tests.support.database import Database, shared_database

SETTINGS = sorted(
    {kind for function in functions() for kind in function.required_settings}, key=lambda kind: kind.__name__
)
SIGNED_IN_ROUTES = [
    ("POST", "/v1/auth/logout", None),
    ("POST", "/v1/auth/logout-all", None),
    ("GET", "/v1/auth/sign-ins", None),
    ("DELETE", f"/v1/auth/sign-ins/{UUID(int=1)}", None),
    ("POST", "/v1/auth/password/change", {"current_password": PASSWORD, "new_password": "another-new-secret"}),
    ("GET", "/v1/users/me", None),
    ("PATCH", "/v1/users/me", {"full_name": "Mallory"}),
]


@pytest.fixture(scope="module")
def database() -> Database:
    return shared_database()


@pytest.fixture(scope="module")
async def backend(database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with open_backend(database.environment, tmp_path_factory.mktemp("public")) as opened:
        yield opened


async def ask(backend: Backend, method: str, path: str, body: Any, person: Person) -> httpx.Response:
    return await backend.client.request(method, path, json=body, headers=person.headers)


async def forgot(backend: Backend, email: str) -> str:
    """Ask for a reset link. Returns its token."""
    answer = await backend.client.post("/v1/auth/password/forgot", json={"email": email}, headers=from_somewhere())
    assert answer.status_code == 202
    body = backend.mailbox.to(email)[-1].get_body(("plain",))
    assert body is not None
    return str(body.get_content()).partition("#reset=")[2].split()[0]


# Who is not active, or not signed in any more


@pytest.mark.parametrize(("method", "path", "body"), SIGNED_IN_ROUTES)
@pytest.mark.parametrize("status", ["suspended", "deleted"])
async def test_who_is_not_active_any_more_is_let_in_nowhere(
    backend: Backend, database: Database, method: str, path: str, body: Any, status: str
) -> None:
    person = await backend.register_person()
    await database.execute("update public.users set status = %s where id = %s", status, person.id)
    answer = await ask(backend, method, path, body, person)
    assert (answer.status_code, answer.json()["code"]) == (401, "person_inactive")


@pytest.mark.parametrize(("method", "path", "body"), SIGNED_IN_ROUTES)
async def test_a_token_of_a_device_that_signed_out_opens_nothing(
    backend: Backend, method: str, path: str, body: Any
) -> None:
    person = await backend.register_person()
    assert (await backend.client.post("/v1/auth/logout", headers=person.headers)).status_code == 204
    answer = await ask(backend, method, path, body, person)
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_ended")


# Keys and secrets


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_no_secret_has_a_default(kind: Any) -> None:
    secret = [name for name, field in kind.model_fields.items() if field.annotation is SecretStr]
    assert [name for name in secret if not kind.model_fields[name].is_required()] == []


@pytest.mark.parametrize(
    "keyring",
    [
        "",
        "secret",
        "{}",
        '{"active": "x", "keys": []}',
        '{"active": "x", "keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "x"}]}',
    ],
)
def test_nothing_is_signed_without_a_keyring_of_private_keys(keyring: str) -> None:
    environment = {"TOKEN_ISSUER": "https://tokens.test", "ACCESS_TOKEN_KEYRING": keyring}
    with pytest.raises(ConfigurationError) as refused:
        read(tokens.SigningSettings, environment)
    assert "ACCESS_TOKEN_KEYRING" in str(refused.value)
    assert "c2VjcmV0" not in str(refused.value)


def test_a_public_key_does_not_sign() -> None:
    ring = tokens.new_keyring()
    public = json.dumps({"active": json.loads(ring)["active"], **tokens.public_jwks(ring)})
    with pytest.raises(ValueError, match="keyring"):
        tokens.parse_keyring(public)


async def test_keys_that_cannot_be_fetched_are_our_trouble_and_not_the_callers(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await backend.register_person()
    monkeypatch.setenv("JWKS_URL", "http://127.0.0.1:9/.well-known/jwks.json")
    load.cache_clear()
    try:
        answer = await backend.client.get("/v1/auth/sign-ins", headers=person.headers)
    finally:
        monkeypatch.undo()
        load.cache_clear()
        _keys.cache_clear()
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "keys_unavailable", True)


# One kind of token for each thing


async def test_no_other_secret_of_a_person_is_an_access_token(backend: Backend) -> None:
    email = await backend.register()
    verification = backend.mailbox.verification_token(email)
    person = await backend.register_person()
    for secret in (verification, await forgot(backend, person.email), person.refresh_token, person.id):
        answer = await backend.client.get("/v1/users/me", headers={"Authorization": f"Bearer {secret}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_no_other_secret_of_a_person_is_a_refresh_token_or_a_link(backend: Backend) -> None:
    person = await backend.register_person()
    reset = await forgot(backend, person.email)
    assert (await backend.refresh(reset)).json()["code"] == "refresh_token_invalid"
    wrong = [("email/verify", {"token": reset}), ("email/verify", {"token": person.refresh_token})]
    wrong += [("password/reset", {"token": person.refresh_token, "new_password": "another-new-secret"})]
    for path, body in wrong:
        answer = await backend.client.post(f"/v1/auth/{path}", json=body, headers=from_somewhere())
        assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")


async def test_an_access_token_always_says_whose_it_is_and_when_it_ends(backend: Backend) -> None:
    person = await backend.register_person()
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "iat", "exp", "sub", "sid", "role"}
    assert (claims["exp"] - claims["iat"], claims["sub"], claims["role"]) == (900, person.id, "authenticated")


# Telling nothing


async def test_no_state_of_an_account_is_told_to_who_does_not_know_its_password(
    backend: Backend, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[str] = []
    checkpw = bcrypt.checkpw

    def counted(password: bytes, stored: bytes) -> bool:
        checks.append(stored[:7].decode())
        return checkpw(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    plain, suspended, passwordless = [await backend.register_person() for _ in range(3)]
    await database.execute("update public.users set status = 'suspended' where id = %s", suspended.id)
    await database.execute("update public.users set password_hash = null where id = %s", passwordless.id)
    unverified, nobody = await backend.register(), f"nobody-{uuid4().hex}@oprina.test"
    seen = []
    for email in (plain.email, suspended.email, passwordless.email, unverified, nobody):
        checks.clear()
        answer = await backend.login(email, "a wrong password")
        seen.append((answer.status_code, answer.json() | {"request_id": ""}, sorted(answer.headers), list(checks)))
    assert seen[0][0] == 401
    assert seen[0][3] == ["$2b$04$"]
    assert seen == [seen[0]] * 5


async def test_what_is_stored_is_what_was_typed(backend: Backend) -> None:
    person = await backend.register_person(full_name="O'Brien & Co <b>")
    for _ in range(2):
        current = (await backend.client.get("/v1/users/me", headers=person.headers)).json()["full_name"]
        await backend.client.patch("/v1/users/me", json={"full_name": current}, headers=person.headers)
    me = await backend.client.get("/v1/users/me", headers=person.headers)
    assert me.json()["full_name"] == "O'Brien & Co <b>"


BAD_BODIES: list[Any] = [None, [], "text", {}, {"email": 7}, {"token": "a b"}, {"token": "x", "new_password": None}]
ANSWERING_ROUTES = ["login", "refresh", "register", "email/verify", "email/resend", "password/forgot", "password/reset"]


@pytest.mark.parametrize("route", ANSWERING_ROUTES)
async def test_a_bad_request_is_never_our_failure(backend: Backend, route: str) -> None:
    for body in BAD_BODIES:
        answer = await backend.client.post(f"/v1/auth/{route}", json=body, headers=from_somewhere())
        assert answer.status_code == 422, (body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    broken = {**from_somewhere(), "Content-Type": "application/json"}
    answer = await backend.client.post(f"/v1/auth/{route}", content=b"{", headers=broken)
    assert answer.status_code == 400


async def test_a_bad_token_and_no_token_are_401_and_never_403_or_500(backend: Backend) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp5"}):
        for method, path, body in SIGNED_IN_ROUTES:
            answer = await backend.client.request(method, path, json=body, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer ")
