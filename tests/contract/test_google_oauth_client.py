"""The client of Google's OAuth believes nothing that Google did not sign for us and for this very request."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.google.database import open_database
from local.google.keys import SigningKeys
from shared.clients import google_oauth
from shared.clients.google_oauth import GoogleExchangeSettings, GoogleTokens
from shared.runtime import clock
from shared.runtime.errors import BadRequest, OprinaError, Unavailable, UpstreamFailed
from shared.runtime.settings import load, read
from tests.support.gateway import free_socket, served

CLIENT_ID = "1-tests.apps.googleusercontent.com"
NONCE = secrets.token_urlsafe(32)


@dataclass
class Impostor:
    """A token endpoint and a key address that say what a test wants."""

    keys: SigningKeys
    answer: Response = field(default_factory=lambda: JSONResponse({}))
    keys_status: int = 200
    key_fetches: int = 0
    form: dict[str, str] = field(default_factory=dict)

    def app(self) -> Starlette:
        async def token(request: HttpRequest) -> Response:
            async with request.form() as form:
                self.form = {name: str(value) for name, value in form.items()}
            return self.answer

        async def certs(_: HttpRequest) -> Response:
            self.key_fetches += 1
            return JSONResponse(self.keys.jwks(), self.keys_status)

        return Starlette(routes=[Route("/token", token, methods=["POST"]), Route("/certs", certs)])

    def signed(self, **changes: Any) -> str:
        return self.keys.sign(claims(**changes))

    def given(self, id_token: str | None) -> GoogleTokens:
        now = clock.now()
        return GoogleTokens("ya29.x", now, frozenset(), None, id_token)


def claims(**changes: Any) -> dict[str, Any]:
    """Valid ones but for `changes`; None leaves one out."""
    now = int(time.time())
    valid: dict[str, Any] = {
        "iss": "https://accounts.google.com", "aud": CLIENT_ID, "sub": "1", "email": "a@oprina.test",
        "email_verified": True, "nonce": NONCE, "iat": now, "exp": now + 3600,
    }  # fmt: skip
    return {name: value for name, value in (valid | changes).items() if value is not None}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SigningKeys:
    database = open_database(tmp_path_factory.mktemp("keys") / "google.sqlite3")
    made = SigningKeys(database)
    database.close()
    return made


@pytest.fixture
async def impostor(keys: SigningKeys, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Impostor]:
    spoken = Impostor(keys)
    async with served(spoken.app(), free_socket()) as base:
        for name, value in {
            "GOOGLE_CLIENT_ID": CLIENT_ID,
            "GOOGLE_CLIENT_SECRET": "GOCSPX-tests",
            "GOOGLE_REDIRECT_URI": "https://oprina.test/v1/auth/google/callback",
            "GOOGLE_TOKEN_URL": f"{base}/token",
            "GOOGLE_JWKS_URL": f"{base}/certs",
        }.items():
            monkeypatch.setenv(name, value)
        load.cache_clear()
        yield spoken
        load.cache_clear()


async def refused(impostor: Impostor, id_token: str | None) -> OprinaError:
    with pytest.raises(OprinaError) as raised:
        await google_oauth.identity(impostor.given(id_token), NONCE)
    return raised.value


def test_the_addresses_are_googles_own_unless_somebody_says_otherwise() -> None:
    settings = read(
        GoogleExchangeSettings,
        {"GOOGLE_CLIENT_ID": "a", "GOOGLE_CLIENT_SECRET": "b", "GOOGLE_REDIRECT_URI": "c"},
    )
    assert settings.google_auth_url == "https://accounts.google.com/o/oauth2/v2/auth"
    assert settings.google_token_url == "https://oauth2.googleapis.com/token"
    assert settings.google_jwks_url == "https://www.googleapis.com/oauth2/v3/certs"
    assert "b" not in repr(settings.google_client_secret)


@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
@pytest.mark.parametrize("verified", [True, "true"])
async def test_both_forms_of_the_issuer_and_of_a_confirmed_address_are_googles(
    impostor: Impostor, issuer: str, verified: Any
) -> None:
    token = impostor.signed(iss=issuer, email_verified=verified)
    found = await google_oauth.identity(impostor.given(token), NONCE)
    assert (found.subject, found.email, found.email_verified) == ("1", "a@oprina.test", True)


@pytest.mark.parametrize("verified", [False, "false", None, 1, "yes"])
async def test_an_address_is_confirmed_only_where_google_says_so(impostor: Impostor, verified: Any) -> None:
    found = await google_oauth.identity(impostor.given(impostor.signed(email_verified=verified)), NONCE)
    assert found.email_verified is False


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://accounts.google.com.evil.test"},
        {"iss": None},
        {"aud": "another.apps.googleusercontent.com"},
        {"aud": None},
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"iat": int(time.time()) + 3600},
        {"sub": None},
    ],
)
async def test_an_id_token_with_a_wrong_or_missing_claim_is_not_believed(
    impostor: Impostor, changes: dict[str, Any]
) -> None:
    error = await refused(impostor, impostor.signed(**changes))
    assert isinstance(error, UpstreamFailed)
    assert (error.code, error.retryable) == ("google_refused", False)


@pytest.mark.parametrize("nonce", [None, "", "another", NONCE + "x"], ids=["none", "empty", "other", "longer"])
async def test_an_id_token_of_another_request_is_not_believed(impostor: Impostor, nonce: str | None) -> None:
    error = await refused(impostor, impostor.signed(nonce=nonce))
    assert isinstance(error, BadRequest)
    assert error.code == "google_code_invalid"


async def test_an_id_token_that_google_did_not_sign_is_not_believed(impostor: Impostor) -> None:
    kid = impostor.keys.jwks()["keys"][0]["kid"]
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    modulus = impostor.keys.jwks()["keys"][0]["n"]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": kid}).encode()).decode().rstrip("=")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).decode().rstrip("=")
    forged = {
        "another key": jwt.encode(claims(), stranger, "RS256", headers={"kid": kid}),
        "an unknown key": jwt.encode(claims(), stranger, "RS256", headers={"kid": "unknown"}),
        "no key named": jwt.encode(claims(), stranger, "RS256"),
        "the public key as a shared secret": jwt.encode(claims(), modulus, "HS256", headers={"kid": kid}),
        "no signature": f"{header}.{body}.",
        "no token": "nonsense",
    }
    for how, token in forged.items():
        assert (await refused(impostor, token)).code == "google_refused", how
    assert (await refused(impostor, None)).code == "google_refused"


async def test_the_keys_are_fetched_once_for_many_tokens(impostor: Impostor) -> None:
    await google_oauth.check_reachable()
    for _ in range(5):
        await google_oauth.identity(impostor.given(impostor.signed()), NONCE)
    assert impostor.key_fetches == 1


async def test_keys_that_cannot_be_fetched_are_google_being_away(impostor: Impostor) -> None:
    impostor.keys_status = 500
    with pytest.raises(Unavailable) as raised:
        await google_oauth.check_reachable()
    assert raised.value.code == "google_unavailable"
    assert (await refused(impostor, impostor.signed())).code == "google_unavailable"


async def test_an_exchange_sends_the_code_with_its_verifier_and_our_client(impostor: Impostor) -> None:
    impostor.answer = JSONResponse({"access_token": "ya29.x", "expires_in": 3599, "scope": "openid a b"})
    tokens = await google_oauth.exchange("4/0Acode", "the-verifier")
    assert impostor.form == {
        "grant_type": "authorization_code", "code": "4/0Acode", "code_verifier": "the-verifier",
        "client_id": CLIENT_ID, "client_secret": "GOCSPX-tests",
        "redirect_uri": "https://oprina.test/v1/auth/google/callback",
    }  # fmt: skip
    assert tokens.scopes == {"openid", "a", "b"}
    assert (tokens.refresh_token, tokens.id_token) == (None, None)
    assert 3590 <= (tokens.expires_at - clock.now()).total_seconds() <= 3599


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (JSONResponse({"error": "invalid_grant"}, 400), BadRequest, "google_code_invalid"),
        (JSONResponse({"error": "redirect_uri_mismatch"}, 400), UpstreamFailed, "google_refused"),
        (JSONResponse({"error": "invalid_client"}, 401), UpstreamFailed, "google_refused"),
        (JSONResponse({"error": "x" * 9000}, 403), UpstreamFailed, "google_refused"),
        (JSONResponse({}, 418), UpstreamFailed, "google_refused"),
        (JSONResponse({"access_token": "ya29.x"}), UpstreamFailed, "google_refused"),
        (JSONResponse({"error": "internal_failure"}, 500), Unavailable, "google_unavailable"),
        (JSONResponse({"error": "rate_limit"}, 429), Unavailable, "google_unavailable"),
        (PlainTextResponse("<html>a proxy</html>", 200), Unavailable, "google_unavailable"),
        (PlainTextResponse("<html>a proxy</html>", 400), Unavailable, "google_unavailable"),
        (JSONResponse(["no", "object"]), Unavailable, "google_unavailable"),
    ],
)
async def test_each_refusal_is_told_as_what_it_is(
    impostor: Impostor, answer: Response, kind: type[OprinaError], code: str
) -> None:
    impostor.answer = answer
    with pytest.raises(kind) as raised:
        await google_oauth.exchange("4/0Acode", "verifier")
    assert raised.value.code == code
    assert raised.value.retryable is (kind is Unavailable)
    assert "xxx" not in raised.value.detail


async def test_a_google_that_nobody_reaches_is_away(impostor: Impostor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_TOKEN_URL", "http://127.0.0.1:1/token")
    load.cache_clear()
    with pytest.raises(Unavailable) as raised:
        await google_oauth.exchange("4/0Acode", "verifier")
    assert raised.value.code == "google_unavailable"


async def test_a_google_that_never_answers_is_waited_for_no_longer_than_allowed(
    impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    monkeypatch.setenv("GOOGLE_TOKEN_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token")
    monkeypatch.setattr(google_oauth._pool(), "timeout", 0.2)
    load.cache_clear()
    with pytest.raises(Unavailable):
        await google_oauth.exchange("4/0Acode", "verifier")
    server.close()
