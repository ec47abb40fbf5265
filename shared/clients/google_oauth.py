"""Google's OAuth 2.0 and OpenID Connect for web servers: the consent address, the exchange of a code, who somebody is.

Wire format: https://developers.google.com/identity/protocols/oauth2/web-server and
https://developers.google.com/identity/openid-connect/openid-connect. The code goes with PKCE (RFC 7636, S256).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

import httpx
import jwt

from shared.clients import jwks
from shared.clients.connections import Connections
from shared.runtime import clock, logs
from shared.runtime.errors import BadRequest, Unavailable, UpstreamFailed
from shared.runtime.settings import SecretStr, Settings, load

_TIMEOUT: Final = httpx.Timeout(10.0, connect=3.0)
# Google writes its issuer in both ways: https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken
_ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
_REQUIRED_CLAIMS: Final = ["iss", "aud", "sub", "iat", "exp"]
_LEEWAY_SECONDS: Final = 30
_ERROR_WORD_MAX: Final = 64


class GoogleClientSettings(Settings):
    """Our client at Google, and where Google asks people. The defaults are Google's own addresses."""

    google_client_id: str
    google_redirect_uri: str
    google_auth_url: str = "https://accounts.google.com/o/oauth2/v2/auth"


class GoogleExchangeSettings(GoogleClientSettings):
    """What exchanging a code takes beside it."""

    google_client_secret: SecretStr
    google_token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no secret
    google_jwks_url: str = "https://www.googleapis.com/oauth2/v3/certs"


@dataclass(frozen=True)
class GoogleTokens:
    """What Google gave for a code. `scopes` are those granted, by canonical name; people may grant fewer than asked."""

    access_token: str
    expires_at: datetime
    scopes: frozenset[str]
    refresh_token: str | None
    id_token: str | None


@dataclass(frozen=True)
class GoogleIdentity:
    """Who somebody is, by a verified ID token. `subject` is the account for ever, whatever becomes of its address."""

    subject: str
    email: str | None
    email_verified: bool
    hosted_domain: str | None
    name: str | None
    given_name: str | None
    picture: str | None
    locale: str | None


# One connection pool for each event loop: a process has one, tests may have several.
_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()


def _pool() -> httpx.AsyncClient:
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = httpx.AsyncClient(timeout=_TIMEOUT, transport=Connections())
        _pools[loop] = pool
    return pool


def consent_url(*, scopes: Iterable[str], state: str, challenge: str, **further: str) -> str:
    """Where to send a person who is to consent. `further` are Google's other parameters, such as nonce and prompt."""
    settings = load(GoogleClientSettings)
    parameters = {
        "client_id": settings.google_client_id,
        "redirect_uri": settings.google_redirect_uri,
        "response_type": "code",
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **further,
    }
    return f"{settings.google_auth_url}?{urlencode(parameters)}"


async def exchange(code: str, verifier: str) -> GoogleTokens:
    """Exchange a code, once: a second try with the same code is refused by Google.

    Raises:
        BadRequest: `google_code_invalid`: used, expired, invented, or begun with another verifier.
        Unavailable: `google_unavailable`: Google does not answer, or answers that it cannot. The code may be used up.
        UpstreamFailed: `google_refused`: Google does not accept our client. Trying again does not help.
    """
    settings = load(GoogleExchangeSettings)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": settings.google_redirect_uri,
        "client_id": settings.google_client_id,
        "client_secret": settings.google_client_secret.get_secret_value(),
    }
    try:
        answer = await _pool().post(settings.google_token_url, data=form)
    except httpx.HTTPError as error:
        raise _unavailable() from error
    if answer.status_code == 429 or answer.status_code >= 500:
        raise _unavailable()
    document = _document(answer)
    if answer.status_code != 200:
        raise _refusal(answer.status_code, str(document.get("error", "")))
    return _tokens(document)


async def check_reachable() -> None:
    """Have Google's keys at hand before a code is spent whose answer could not be checked without them.

    Raises:
        Unavailable: `google_unavailable`.
    """
    try:
        await jwks.fetched(load(GoogleExchangeSettings).google_jwks_url)
    except jwks.KeysUnavailable as error:
        raise _unavailable() from error


async def identity(tokens: GoogleTokens, nonce: str) -> GoogleIdentity:
    """Check the ID token: signature, issuer, audience, times, and that it was made for the request with this nonce.

    Raises:
        BadRequest: `google_code_invalid`: it belongs to another request for consent.
        Unavailable: `google_unavailable`: the keys cannot be fetched.
        UpstreamFailed: `google_refused`: there is none, or it is not Google's for us.
    """
    if tokens.id_token is None:
        raise _refused("no_id_token")
    settings = load(GoogleExchangeSettings)
    try:
        key = await jwks.signing_key(settings.google_jwks_url, tokens.id_token)
        claims = jwt.decode(
            tokens.id_token,
            key,
            algorithms=["RS256"],
            audience=settings.google_client_id,
            issuer=_ISSUERS,
            options={"require": _REQUIRED_CLAIMS},
            leeway=_LEEWAY_SECONDS,
        )
    except jwks.KeysUnavailable as error:
        raise _unavailable() from error
    except (jwt.PyJWTError, jwks.UnknownKey) as error:
        raise _refused(type(error).__name__) from error
    if not hmac.compare_digest(_text(claims.get("nonce")) or "", nonce):
        raise _code_invalid()
    return GoogleIdentity(
        subject=str(claims["sub"]),
        email=_text(claims.get("email")),
        # Google has written this as text too.
        email_verified=claims.get("email_verified") is True or claims.get("email_verified") == "true",
        hosted_domain=_text(claims.get("hd")),
        name=_text(claims.get("name")),
        given_name=_text(claims.get("given_name")),
        picture=_text(claims.get("picture")),
        locale=_text(claims.get("locale")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _document(answer: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of an answer. What is none came from something between us and Google."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _unavailable()
    return document


def _tokens(document: Mapping[str, Any]) -> GoogleTokens:
    try:
        return GoogleTokens(
            access_token=str(document["access_token"]),
            expires_at=clock.now() + timedelta(seconds=int(document["expires_in"])),
            scopes=frozenset(str(document.get("scope", "")).split()),
            refresh_token=_text(document.get("refresh_token")),
            id_token=_text(document.get("id_token")),
        )
    except (KeyError, TypeError, ValueError):
        raise _refused("answer_incomplete") from None


def _refusal(status: int, error: str) -> BadRequest | UpstreamFailed:
    if error == "invalid_grant":
        return _code_invalid()
    return _refused(error[:_ERROR_WORD_MAX] or f"status_{status}")


def _code_invalid() -> BadRequest:
    return BadRequest("Google does not accept this sign-in any more. Begin again.", code="google_code_invalid")


def _unavailable() -> Unavailable:
    return Unavailable(
        "Google does not answer just now. Try again in a moment.", code="google_unavailable", retry_after_seconds=2
    )


def _refused(word: str) -> UpstreamFailed:
    logs.logger().error("Google refuses our client, or its answer cannot be used", extra={"google_error": word})
    return UpstreamFailed(
        "Signing in with Google does not work at the moment, for a reason on our side.",
        code="google_refused",
        retryable=False,
    )
