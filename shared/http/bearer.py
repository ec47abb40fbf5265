"""Who is calling: access tokens checked again by every function, and the dependencies that handlers take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import jwt
from fastapi import Depends, Request

from shared.clients.jwks import KeysUnavailable, UnknownKey, signing_key
from shared.http.exchange import Exchange, exchange_of
from shared.http.json_bodies import read_json
from shared.http.problems import is_json
from shared.http.settings import TokenSettings
from shared.runtime import clock
from shared.runtime.crypto import digest
from shared.runtime.errors import BadRequest, Unauthenticated, Unavailable
from shared.runtime.settings import load
from shared.runtime.visit import Visit

_REQUIRED_CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp", "role"]
_ROLE = "authenticated"
_KEY_LIMIT = 255
_LEEWAY_SECONDS = 5


def _token(request: Request) -> str:
    # Behind API Gateway the caller's own header moves to X-Forwarded-Authorization. Both are only ever verified
    # tokens, so it does not matter who wrote them.
    header = request.headers.get("x-forwarded-authorization") or request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Sign in and send the access token as `Authorization: Bearer …`.", code="token_missing")
    return token.strip()


async def _verified(token: str, needed_seconds: int = 0) -> tuple[UUID, UUID]:
    """Check signature, kind, issuer, audience, times and role.

    Returns:
        The person's id and the sign-in's id.
    """
    settings = load(TokenSettings)
    try:
        key = await signing_key(settings.jwks_url, token)
        decoded = jwt.decode_complete(
            token,
            key,
            algorithms=["ES256"],
            audience=settings.token_audience,
            issuer=settings.token_issuer,
            options={"require": _REQUIRED_CLAIMS},
            leeway=_LEEWAY_SECONDS,
        )
        claims = decoded["payload"]
        _check_type(decoded["header"])
        _check_claims(claims, needed_seconds)
        return UUID(claims["sub"]), UUID(claims["sid"])
    except jwt.ExpiredSignatureError:
        raise Unauthenticated("The access token has expired. Refresh it.", code="token_expired") from None
    except KeysUnavailable:
        raise Unavailable("Tokens cannot be checked just now. Try again.", code="keys_unavailable") from None
    except (jwt.PyJWTError, UnknownKey, ValueError):
        raise Unauthenticated("The access token is not valid here. Sign in again.") from None


def _check_type(header: Mapping[str, Any]) -> None:
    """Refuse what our key signed for another purpose than to call us (RFC 8725, 3.11)."""
    if str(header.get("typ")).upper() != "JWT":
        raise jwt.InvalidTokenError("the token is of another type than an access token")


def _check_claims(claims: Mapping[str, Any], needed_seconds: int) -> None:
    if claims["role"] != _ROLE:
        raise jwt.InvalidTokenError("the token is for another role of the database")
    if claims["exp"] + _LEEWAY_SECONDS < clock.now().timestamp() + needed_seconds:
        raise jwt.ExpiredSignatureError("the token would expire before the work is done")


def _take_key(request: Request, exchange: Exchange) -> None:
    operation = exchange.operation
    if operation is None or operation.idempotency == "none":
        return
    key = request.headers.get("idempotency-key")
    if key is None:
        if operation.idempotency == "required":
            raise BadRequest(
                "Send an Idempotency-Key header: one fresh value for each new request, the same for its retries.",
                code="idempotency_key_missing",
            )
        return
    if not 1 <= len(key) <= _KEY_LIMIT:
        raise BadRequest("An Idempotency-Key has 1 to 255 characters.", code="idempotency_key_invalid")
    exchange.visit.key = key


async def _take_fingerprint(request: Request, visit: Visit) -> None:
    """Fingerprint the parameters and, where the body is JSON, what it says rather than how it is written."""
    parts = [visit.route, request.url.path, str(sorted(request.query_params.multi_items()))]
    if is_json(request.headers.get("content-type", "")):
        body = await request.body()
        try:
            parts.append(json.dumps(read_json(body), sort_keys=True) if body else "")
        except ValueError:
            raise BadRequest("The body is not valid JSON.", code="json_invalid") from None
    visit.fingerprint = digest("\n".join(parts))


async def _anyone(request: Request) -> Visit:
    exchange = exchange_of(request)
    _take_key(request, exchange)
    if exchange.visit.key is not None:
        await _take_fingerprint(request, exchange.visit)
    return exchange.visit


async def _take_person(request: Request, exchange: Exchange) -> None:
    visit = exchange.visit
    visit.token = _token(request)
    needed_seconds = exchange.operation.token_seconds if exchange.operation else 0
    visit.person_id, visit.sign_in_id = await _verified(visit.token, needed_seconds)


async def _signed_in(request: Request) -> Visit:
    await _take_person(request, exchange_of(request))
    return await _anyone(request)


async def _visitor(request: Request) -> Visit:
    if "authorization" in request.headers or "x-forwarded-authorization" in request.headers:
        await _take_person(request, exchange_of(request))
    return await _anyone(request)


# Whoever calls; a person who is signed in; whoever calls, and who it is where a token, which must be good, comes along.
Anyone = Annotated[Visit, Depends(_anyone)]
SignedIn = Annotated[Visit, Depends(_signed_in)]
Visitor = Annotated[Visit, Depends(_visitor)]
# Whether they administer is said by the database, when the service enters it.
Administrator = SignedIn
