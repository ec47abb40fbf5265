"""Access tokens and idempotency keys: what the kit demands before a service hears of a request."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Body
from jwt.algorithms import ECAlgorithm

from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from tests.support import kit

ISSUER = "https://tokens.oprina.test"
PERSON, SIGN_IN = UUID(int=1), UUID(int=2)
KEY, FOREIGN_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
Sign = Callable[..., str]


@pytest.fixture(scope="module")
def jwks_url() -> Iterator[str]:
    public = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "k1", "alg": "ES256", "use": "sig"}

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"keys": [public]}).encode())

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    server.shutdown()
    server.server_close()


@pytest.fixture
async def client(kit_environment: pytest.MonkeyPatch, jwks_url: str) -> AsyncIterator[httpx.AsyncClient]:
    kit_environment.setenv("TOKEN_ISSUER", ISSUER)
    kit_environment.setenv("JWKS_URL", jwks_url)
    async with kit.client(guarded()) as client:
        yield client


def guarded() -> Function:
    """Answers with the visit that the kit made of the request."""
    function = Function(name="kit-guarded", path="/v1/mine/{thing}")

    @function.get("Look", caller=Caller.PERSON)
    async def look(thing: str, person: SignedIn) -> dict[str, Any]:
        return {"person": person.person_id, "sign_in": person.sign_in_id, "key": person.key}

    @function.post("Spend", caller=Caller.PERSON, idempotency="required")
    async def spend(thing: str, person: SignedIn, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        return {"key": person.key, "fingerprint": person.fingerprint}

    return function


def token(key: ec.EllipticCurvePrivateKey = KEY, kid: str | None = "k1", **changes: Any) -> str:
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": "authenticated",
        "sub": str(PERSON),
        "sid": str(SIGN_IN),
        "iat": now,
        "exp": now + timedelta(minutes=15),
        "role": "authenticated",
    } | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid} if kid else None)


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


async def test_a_good_token_says_who_is_calling(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/mine/a", headers=bearer(token()))
    assert answer.json() == {"person": str(PERSON), "sign_in": str(SIGN_IN), "key": None}


AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"exp": AGO}, "token_expired"),
        ({"iss": "https://other.test"}, "token_invalid"),
        ({"aud": "anon"}, "token_invalid"),
        ({"sub": "admin"}, "token_invalid"),
        ({"sid": "x"}, "token_invalid"),
        ({"nbf": datetime.now(UTC) + timedelta(hours=1)}, "token_invalid"),
        ({"kid": "k2"}, "token_invalid"),
        ({"kid": None}, "token_invalid"),
        ({"key": FOREIGN_KEY}, "token_invalid"),
        *[({claim: None}, "token_invalid") for claim in ("iss", "aud", "sub", "sid", "iat", "exp", "role")],
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else value,
)
async def test_a_bad_token_is_refused(client: httpx.AsyncClient, bad: dict[str, Any], code: str) -> None:
    answer = await client.get("/v1/mine/a", headers=bearer(token(**bad)))
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert "www-authenticate" in answer.headers


async def test_a_token_without_a_signature_or_with_one_by_a_public_key_is_refused(client: httpx.AsyncClient) -> None:
    claims = jwt.decode(token(), options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"})
    by_secret = jwt.encode(claims, "k1" * 32, algorithm="HS256", headers={"kid": "k1"})
    header, payload, signature = token().split(".")
    for forged in (unsigned, by_secret, f"{header}.{payload}.", f"{header}.{payload}.{signature[:-4]}AAAA"):
        assert (await client.get("/v1/mine/a", headers=bearer(forged))).status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "token"])
async def test_no_token_is_told_apart_from_a_bad_one(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.get("/v1/mine/a", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")


async def test_behind_the_gateway_the_callers_own_header_counts(client: httpx.AsyncClient) -> None:
    other = UUID(int=7)
    headers = {**bearer(token(sub=str(other))), "X-Forwarded-Authorization": f"Bearer {token()}"}
    assert (await client.get("/v1/mine/a", headers=headers)).json()["person"] == str(PERSON)
    headers["X-Forwarded-Authorization"] = "Bearer nonsense"
    assert (await client.get("/v1/mine/a", headers=headers)).status_code == 401


async def test_user_info_headers_prove_nothing(client: httpx.AsyncClient) -> None:
    headers = {"X-Apigateway-Api-Userinfo": "eyJzdWIiOiAiMSJ9", "X-Endpoint-Api-Userinfo": "eyJzdWIiOiAiMSJ9"}
    assert (await client.get("/v1/mine/a", headers=headers)).status_code == 401


async def test_keys_that_cannot_be_fetched_are_our_trouble_and_not_the_callers(
    kit_environment: pytest.MonkeyPatch,
) -> None:
    kit_environment.setenv("TOKEN_ISSUER", ISSUER)
    kit_environment.setenv("JWKS_URL", "http://127.0.0.1:9/jwks.json")
    async with kit.client(guarded()) as client:
        answer = await client.get("/v1/mine/a", headers=bearer(token()))
    assert (answer.status_code, answer.json()["code"]) == (503, "keys_unavailable")


async def spend(
    client: httpx.AsyncClient, key: str | None, content: str = '{"a": 1}', path: str = "a"
) -> httpx.Response:
    headers = bearer(token()) | {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    return await client.post(f"/v1/mine/{path}", content=content, headers=headers)


@pytest.mark.parametrize(
    ("key", "code"),
    [(None, "idempotency_key_missing"), ("", "idempotency_key_invalid"), ("k" * 256, "idempotency_key_invalid")],
)
async def test_a_key_is_demanded_where_it_is_required(client: httpx.AsyncClient, key: str | None, code: str) -> None:
    answer = await spend(client, key)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_key_is_not_taken_where_none_is_declared(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/mine/a", headers=bearer(token()) | {"Idempotency-Key": "k"})
    assert answer.json()["key"] is None


async def test_no_key_counts_before_the_token_does(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/mine/a", json={}, headers={"Idempotency-Key": str(uuid4())})
    assert answer.status_code == 401


async def test_the_fingerprint_is_of_what_is_said_and_not_of_how_it_is_written(client: httpx.AsyncClient) -> None:
    first = (await spend(client, "k", '{"a": 1, "b": [2]}')).json()["fingerprint"]
    assert (await spend(client, "k", '{ "b":[2],\n"a":1 }')).json()["fingerprint"] == first
    others = [
        await spend(client, "k", '{"a": 1, "b": [3]}'),
        await spend(client, "k", '{"a": 1, "b": [2]}', path="b"),
        await spend(client, "k", '{"a": 1, "b": [2]}', path="a?x=1"),
    ]
    assert len({first, *(answer.json()["fingerprint"] for answer in others)}) == 4
