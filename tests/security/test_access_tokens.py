"""What a forged, borrowed, old or ended access token opens: nothing. Which routes ask for one: test_route_matrix.py."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.accounts import tokens
from shared.runtime import clock
from tests.support.backend import Backend, Person, functions, open_backend
from tests.support.database import shared_database


@pytest.fixture(scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with open_backend(shared_database().environment, tmp_path_factory.mktemp("public")) as opened:
        yield opened


@pytest.fixture(scope="module")
async def person(backend: Backend) -> Person:
    return await backend.register_person()


def claims_of(person: Person, **changes: Any) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(person.access_token, options={"verify_signature": False})
    return {name: value for name, value in (claims | changes).items() if value is not None}


def signed(backend: Backend, claims: dict[str, Any], **header: Any) -> str:
    ring = tokens.parse_keyring(backend.keyring)
    return jwt.encode(claims, ring.keys[ring.active], "ES256", headers={"kid": ring.active} | header)


async def knock(backend: Backend, token: str) -> httpx.Response:
    return await backend.client.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})


def assert_refused(answer: httpx.Response, code: str = "token_invalid") -> None:
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_a_token_signed_as_ours_with_unchanged_claims_opens(backend: Backend, person: Person) -> None:
    # Every refusal below differs from this one in one thing.
    assert (await knock(backend, signed(backend, claims_of(person)))).status_code == 200


async def test_what_is_no_bearer_token_is_no_token(backend: Backend) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}):
        assert_refused(await backend.client.get("/v1/users/me", headers=headers), "token_missing")


@pytest.mark.parametrize("kind", ["refresh+jwt", "at", "", 7, None])
async def test_a_token_that_our_key_signed_for_another_purpose_is_refused(
    backend: Backend, person: Person, kind: Any
) -> None:
    ring = tokens.parse_keyring(backend.keyring)
    content = f"{_part({'alg': 'ES256', 'kid': ring.active, 'typ': kind})}.{_part(claims_of(person))}"
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(
        content.encode(), ring.keys[ring.active]
    )
    assert_refused(await knock(backend, f"{content}.{_part(signature)}"))


async def test_a_turn_is_not_begun_with_a_token_that_would_expire_before_its_end(
    backend: Backend, person: Person
) -> None:
    token = signed(backend, claims_of(person, exp=int(time.time()) + 60))
    assert (await knock(backend, token)).status_code == 200
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "soon"}
    path = f"/v1/sessions/{uuid4()}/turns"
    assert_refused(await backend.client.post(path, json={"text": "Hi"}, headers=headers), "token_expired")


async def test_an_expired_token_says_so(backend: Backend, person: Person) -> None:
    old = clock.now() - timedelta(hours=1)
    claims = claims_of(person, iat=int(old.timestamp()), exp=int((old + timedelta(minutes=15)).timestamp()))
    assert_refused(await knock(backend, signed(backend, claims)), "token_expired")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "anon"},
        {"aud": ["other", "another"]},
        {"iss": "https://other.test"},
        {"sub": "not-a-uuid"},
        {"sid": "not-a-uuid"},
        {"sub": 7},
        {"iat": 4102444800, "exp": 4102448400},
        {"nbf": 4102444800},
        {"exp": "never"},
    ],
)
async def test_a_token_that_says_something_else_is_refused(
    backend: Backend, person: Person, changes: dict[str, Any]
) -> None:
    assert_refused(await knock(backend, _signed_anyhow(backend, claims_of(person, **changes))))


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "sid", "iat", "exp", "role"])
async def test_a_token_without_a_claim_is_refused(backend: Backend, person: Person, claim: str) -> None:
    assert_refused(await knock(backend, signed(backend, claims_of(person, **{claim: None}))))


@pytest.mark.parametrize("role", ["service_role", "anon", "postgres", "app_owner", "authenticator"])
async def test_a_token_with_another_role_opens_nothing(backend: Backend, person: Person, role: str) -> None:
    answer = await knock(backend, signed(backend, claims_of(person, role=role)))
    assert_refused(answer)


def _part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signed_anyhow(backend: Backend, claims: dict[str, Any]) -> str:
    """Signed with the real key, without a library that would check the claims first."""
    ring = tokens.parse_keyring(backend.keyring)
    return jwt.api_jws.encode(
        json.dumps(claims).encode(), ring.keys[ring.active], "ES256", headers={"kid": ring.active, "typ": "JWT"}
    )


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
async def test_an_unsigned_token_is_refused(backend: Backend, person: Person, algorithm: str) -> None:
    kid = tokens.parse_keyring(backend.keyring).active
    head = _part({"alg": algorithm, "typ": "JWT", "kid": kid})
    for signature in ("", "AAAA"):
        assert_refused(await knock(backend, f"{head}.{_part(claims_of(person))}.{signature}"))


async def test_the_public_key_is_no_shared_secret(backend: Backend, person: Person) -> None:
    ring = tokens.parse_keyring(backend.keyring)
    public = ring.keys[ring.active].public_key()
    jwk = json.dumps(tokens.public_jwks(backend.keyring)["keys"][0])
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, der, jwk.encode()):
        content = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': ring.active})}.{_part(claims_of(person))}"
        signature = hmac.new(secret, content.encode(), sha256).digest()
        assert_refused(await knock(backend, f"{content}.{_part(signature)}"))


async def test_another_key_does_not_sign_for_ours(backend: Backend, person: Person) -> None:
    kid = tokens.parse_keyring(backend.keyring).active
    for key, algorithm in (
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
    ):
        forged = jwt.encode(claims_of(person), key, algorithm, headers={"kid": kid})
        assert_refused(await knock(backend, forged))


async def test_a_key_that_the_token_brings_along_is_not_used(backend: Backend, person: Person) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(own.public_key(), as_dict=True)
    kid = tokens.parse_keyring(backend.keyring).active
    for header in (
        {"jwk": jwk, "kid": kid},
        {"jku": "https://evil.test/jwks.json", "kid": kid},
        {"x5u": "https://evil.test/cert.pem", "kid": kid},
        {"kid": "../../dev/null"},
    ):
        assert_refused(await knock(backend, jwt.encode(claims_of(person), own, "ES256", headers=header)))


@pytest.mark.parametrize("kid", ["unknown", "", None, 7])
async def test_a_token_of_an_unknown_key_is_refused(backend: Backend, person: Person, kid: Any) -> None:
    ring = tokens.parse_keyring(backend.keyring)
    header = _part({"alg": "ES256", "typ": "JWT"} | ({} if kid is None else {"kid": kid}))
    content = f"{header}.{_part(claims_of(person))}"
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(
        content.encode(), ring.keys[ring.active]
    )
    assert_refused(await knock(backend, f"{content}.{_part(signature)}"))


@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "....", "e30.e30.e30", "é.é.é", "x" * 5000])
async def test_what_is_no_token_is_refused(backend: Backend, token: str) -> None:
    headers = [(b"authorization", b"Bearer " + token.encode("latin-1"))]
    assert_refused(await backend.client.get("/v1/users/me", headers=headers))


async def test_changed_claims_under_the_old_signature_are_refused(backend: Backend, person: Person) -> None:
    head, _, signature = person.access_token.split(".")
    other = _part(claims_of(person, sub=str(uuid4())))
    assert_refused(await knock(backend, f"{head}.{other}.{signature}"))


async def test_a_token_names_a_person_and_their_own_sign_in(backend: Backend, person: Person) -> None:
    other = await backend.register_person()
    foreign = claims_of(person, sid=claims_of(other)["sid"])
    assert_refused(await knock(backend, signed(backend, foreign)), "sign_in_ended")
    assert_refused(await knock(backend, signed(backend, claims_of(person, sid=str(uuid4())))), "sign_in_ended")
    assert_refused(await knock(backend, signed(backend, claims_of(person, sub=str(uuid4())))), "person_inactive")


async def test_a_header_about_the_user_is_never_believed(backend: Backend, person: Person) -> None:
    info = base64.urlsafe_b64encode(json.dumps(claims_of(person)).encode()).decode()
    for name in ("X-Apigateway-Api-Userinfo", "X-Endpoint-Api-Userinfo", "X-Forwarded-User", "X-User-Id"):
        assert_refused(await backend.client.get("/v1/users/me", headers={name: info}), "token_missing")


async def test_the_gateways_header_is_checked_like_the_callers_own(backend: Backend, person: Person) -> None:
    good = {"X-Forwarded-Authorization": f"Bearer {person.access_token}", "Authorization": "Bearer service-account"}
    bad = {"X-Forwarded-Authorization": "Bearer forged", "Authorization": f"Bearer {person.access_token}"}
    assert (await backend.client.get("/v1/users/me", headers=good)).status_code == 200
    assert_refused(await backend.client.get("/v1/users/me", headers=bad))


async def test_a_refresh_token_is_no_access_token_and_the_reverse(backend: Backend) -> None:
    person = await backend.register_person()
    assert_refused(await knock(backend, person.refresh_token))
    answer = await backend.refresh(person.access_token[:128].replace(".", "-"))
    assert_refused(answer, "refresh_token_invalid")


def test_only_the_functions_that_sign_hold_the_private_keys() -> None:
    holders = {function.name for function in functions() if "ACCESS_TOKEN_KEYRING" in function.secrets}
    readers = {function.name for function in functions() if tokens.SigningSettings in function.settings}
    assert holders == readers
    assert holders == {
        "accounts-login",
        "accounts-refresh",
        "accounts-verify",
        "accounts-password-reset",
        "accounts-google-complete",
    }


def test_only_functions_that_declare_server_calls_hold_the_server_key() -> None:
    for function in functions():
        assert ("SUPABASE_SECRET_KEY" in function.secrets) == bool(function.server_calls), function.name
