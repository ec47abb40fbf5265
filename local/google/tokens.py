"""/token, /revoke, /tokeninfo and userinfo: codes and refresh tokens against tokens, and what tokens say.

https://developers.google.com/identity/protocols/oauth2/web-server and
https://developers.google.com/identity/openid-connect/openid-connect
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import jwt

from local.google import scopes
from local.google.consent import Client
from local.google.grants import Access, Grants
from local.google.keys import SigningKeys, hash_claim
from local.google.people import GooglePerson, People
from local.google.refusals import Refused

ISSUER: Final = "https://accounts.google.com"
ID_TOKEN_SECONDS: Final = 3600


class TokenEndpoints:
    """The endpoints behind their HTTP form: fields in, a JSON document out."""

    def __init__(
        self,
        clients: Iterable[Client],
        people: People,
        grants: Grants,
        keys: SigningKeys,
        now: Callable[[], float],
    ) -> None:
        self._clients = {client.id: client for client in clients}
        self._people = people
        self._grants = grants
        self._keys = keys
        self._now = now

    def token(self, form: Mapping[str, str], authorization: str) -> dict[str, Any]:
        """Raises Refused, as all of these do."""
        client = self._client(form, authorization)
        kind = form.get("grant_type")
        if kind == "authorization_code":
            return self._exchange(client, form)
        if kind == "refresh_token":
            return self._refresh(client, form)
        if not kind:
            raise Refused("invalid_request", "Missing required parameter: grant_type")
        raise Refused("unsupported_grant_type", f"Invalid grant_type: {kind}")

    def revoke(self, token: str) -> dict[str, Any]:
        if not self._grants.revoke(token):
            raise Refused("invalid_token", "Token expired or revoked")
        return {}

    def token_info(self, query: Mapping[str, str]) -> dict[str, Any]:
        """What a token says. Google writes every value as text here."""
        if "id_token" in query:
            try:
                claims = self._keys.read(query["id_token"])
            except jwt.PyJWTError:
                raise Refused("invalid_token", "Invalid Value") from None
            return {name: _text(value) for name, value in claims.items()} | {"alg": "RS256", "typ": "JWT"}
        access = self._grants.access(query.get("access_token", ""))
        if access is None:
            raise Refused("invalid_token", "Invalid Value")
        return self._described(access)

    def user_info(self, authorization: str) -> dict[str, Any]:
        scheme, _, token = authorization.partition(" ")
        access = self._grants.access(token) if scheme.lower() == "bearer" else None
        if access is None:
            raise Refused("invalid_request", "Invalid Credentials", 401)
        person = self._person(access.subject)
        return {"sub": person.subject, **_about(person, access.scopes)}

    def _client(self, form: Mapping[str, str], authorization: str) -> Client:
        client_id, secret = form.get("client_id"), form.get("client_secret")
        if authorization.lower().startswith("basic "):
            client_id, secret = _basic(authorization)
        if not client_id:
            raise Refused("invalid_request", "Could not determine client ID from request.")
        client = self._clients.get(client_id)
        if client is None:
            raise Refused("invalid_client", "The OAuth client was not found.", 401)
        if not secret:
            raise Refused("invalid_request", "client_secret is missing.")
        if not hmac.compare_digest(secret.encode(), client.secret.encode()):
            raise Refused("invalid_client", "The provided client secret is invalid.", 401)
        return client

    def _exchange(self, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        value = form.get("code")
        if not value:
            raise Refused("invalid_request", "Missing required parameter: code")
        code = self._grants.code(value)
        if code is None or code.client != client.id:
            raise Refused("invalid_grant", "Malformed auth code." if not value.startswith("4/") else "Bad Request")
        if form.get("redirect_uri") != code.redirect_uri:
            raise Refused("redirect_uri_mismatch", "Bad Request")
        _check_verifier(code.challenge, form.get("code_verifier"))
        if not self._grants.use_code(value):
            raise Refused("invalid_grant", "Bad Request")
        answer = self._tokens(client, code.subject, code.scopes, code.nonce, offline=code.offline)
        if code.refreshable:
            answer["refresh_token"] = self._grants.issue_refresh_token(client.id, code.subject, code.scopes)
        return answer

    def _refresh(self, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        token = form.get("refresh_token")
        if not token:
            raise Refused("invalid_request", "Missing required parameter: refresh_token")
        found = self._grants.refreshable(token, client.id)
        if found is None:
            raise Refused("invalid_grant", "Token has been expired or revoked.")
        subject, held = found
        wanted, unknown = scopes.named(form.get("scope", ""))
        if unknown or not held.issuperset(wanted):
            raise Refused("invalid_scope", "Some requested scopes were not granted.")
        return self._tokens(client, subject, frozenset(wanted) or held, None, offline=True)

    def _tokens(
        self, client: Client, subject: str, held: frozenset[str], nonce: str | None, *, offline: bool
    ) -> dict[str, Any]:
        access_token = self._grants.issue_access_token(client.id, subject, held, offline=offline)
        answer: dict[str, Any] = {
            "access_token": access_token,
            "expires_in": self._grants.access_token_seconds(),
            "scope": scopes.written(held),
            "token_type": "Bearer",
        }
        if scopes.OPENID in held:
            answer["id_token"] = self._id_token(client, self._person(subject), held, access_token, nonce)
        return answer

    def _id_token(
        self, client: Client, person: GooglePerson, held: frozenset[str], access_token: str, nonce: str | None
    ) -> str:
        now = int(self._now())
        claims = {
            "iss": ISSUER,
            "azp": client.id,
            "aud": client.id,
            "sub": person.subject,
            **_about(person, held),
            "at_hash": hash_claim(access_token),
            **({"nonce": nonce} if nonce is not None else {}),
            "iat": now,
            "exp": now + ID_TOKEN_SECONDS,
        }
        return self._keys.sign(claims)

    def _described(self, access: Access) -> dict[str, Any]:
        person = self._person(access.subject)
        email = {"email": person.email, "email_verified": _text(person.email_verified)}
        return {
            "azp": access.client,
            "aud": access.client,
            "sub": person.subject,
            "scope": scopes.written(access.scopes),
            "exp": str(int(self._now()) + access.seconds_left),
            "expires_in": str(access.seconds_left),
            **(email if scopes.EMAIL in access.scopes else {}),
            "access_type": "offline" if access.offline else "online",
        }

    def _person(self, subject: str) -> GooglePerson:
        person = self._people.of_subject(subject)
        assert person is not None, "accounts are never deleted here"
        return person


def _about(person: GooglePerson, held: frozenset[str]) -> dict[str, Any]:
    """What the granted scopes let a client know of a person."""
    known: dict[str, Any] = {}
    if person.hosted_domain and held & {scopes.EMAIL, scopes.PROFILE}:
        known["hd"] = person.hosted_domain
    if scopes.EMAIL in held:
        known |= {"email": person.email, "email_verified": person.email_verified}
    if scopes.PROFILE in held:
        named = {"name": person.name, "given_name": person.given_name, "family_name": person.family_name}
        known |= {name: value for name, value in (named | {"picture": person.picture}).items() if value}
    return known


def _check_verifier(challenge: str | None, verifier: str | None) -> None:
    if challenge is None:
        return
    if not verifier:
        raise Refused("invalid_grant", "Missing code verifier.")
    computed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    if not hmac.compare_digest(computed, challenge):
        raise Refused("invalid_grant", "Invalid code verifier.")


def _basic(authorization: str) -> tuple[str, str]:
    try:
        client_id, _, secret = base64.b64decode(authorization[6:], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Refused("invalid_client", "Unauthorized", 401) from None
    return client_id, secret


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
