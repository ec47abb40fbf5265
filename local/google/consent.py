"""A request for consent as /o/oauth2/v2/auth takes it, and what a person's decision makes of it.

https://developers.google.com/identity/protocols/oauth2/web-server#creatingclient
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from local.google import scopes
from local.google.grants import Code, Grants
from local.google.people import GooglePerson
from local.google.refusals import Blocked

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_PROMPTS: Final = frozenset({"none", "consent", "select_account"})


@dataclass(frozen=True)
class Client:
    """An OAuth client as its owner registered it."""

    id: str
    secret: str
    redirect_uris: frozenset[str]


@dataclass(frozen=True)
class ConsentRequest:
    """A request that may be shown. `scopes` are canonical; `challenge` is the S256 one, or None without PKCE."""

    client: Client
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    nonce: str | None
    challenge: str | None
    prompts: frozenset[str]
    offline: bool
    include_granted: bool
    login_hint: str

    @property
    def basic(self) -> list[str]:
        """The scopes that are part of every consent to this request."""
        return [scope for scope in self.scopes if scope in scopes.BASIC]

    @property
    def chosen(self) -> list[str]:
        """The scopes that a person allows one by one."""
        return [scope for scope in self.scopes if scope not in scopes.BASIC]


def read_request(query: Sequence[tuple[str, str]], clients: Iterable[Client]) -> ConsentRequest:
    """Check a request in the order in which Google complains.

    Raises:
        Blocked: it cannot be shown.
    """
    given = _each_once(query)
    client = next((client for client in clients if client.id == _required(given, "client_id")), None)
    if client is None:
        raise Blocked("invalid_client", "The OAuth client was not found.", 401)
    redirect_uri = _required(given, "redirect_uri")
    if redirect_uri not in client.redirect_uris:
        raise Blocked(
            "redirect_uri_mismatch",
            "The redirect URI in the request does not match the ones authorized for the OAuth client: "
            f"redirect_uri={redirect_uri}",
        )
    if _required(given, "response_type") != "code":
        raise Blocked("unsupported_response_type", f"Invalid response_type: {given['response_type']}")
    return ConsentRequest(
        client=client,
        redirect_uri=redirect_uri,
        scopes=_scopes(_required(given, "scope")),
        state=given.get("state"),
        nonce=given.get("nonce"),
        challenge=_challenge(given),
        prompts=_prompts(given.get("prompt", "")),
        offline=_one_of(given, "access_type", ("online", "offline")) == "offline",
        include_granted=_one_of(given, "include_granted_scopes", ("false", "true")) == "true",
        login_hint=given.get("login_hint", ""),
    )


def consented(request: ConsentRequest, person: GooglePerson, allowed: Iterable[str], grants: Grants) -> str:
    """Keep what a person allowed of the request (at most what was asked). Returns where their browser goes next."""
    scopes_now = frozenset(allowed) & frozenset(request.scopes)
    if not scopes_now:
        return denied(request)
    before = grants.granted(request.client.id, person.subject)
    grants.grant(request.client.id, person.subject, scopes_now)
    held = scopes_now | before if request.include_granted else scopes_now
    asked_anew = "consent" in request.prompts or not scopes_now <= before
    code = grants.issue_code(
        Code(
            client=request.client.id,
            subject=person.subject,
            redirect_uri=request.redirect_uri,
            scopes=held,
            challenge=request.challenge,
            nonce=request.nonce,
            offline=request.offline,
            refreshable=request.offline and asked_anew,
        )
    )
    hosted = {"hd": person.hosted_domain} if person.hosted_domain else {}
    shown = {"authuser": "0", **hosted, "prompt": "consent" if asked_anew else "none"}
    return _returning(request, {"code": code, "scope": scopes.written(held), **shown})


def denied(request: ConsentRequest, error: str = "access_denied") -> str:
    """Where the browser goes after a no."""
    return _returning(request, {"error": error})


def _returning(request: ConsentRequest, answer: dict[str, str]) -> str:
    parts = urlsplit(request.redirect_uri)
    state = {"state": request.state} if request.state is not None else {}
    query = [*parse_qsl(parts.query, keep_blank_values=True), *(state | answer).items()]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _each_once(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    names = [name for name, _ in query]
    for name in names:
        if names.count(name) > 1:
            raise Blocked("invalid_request", f"OAuth 2 parameters can only have a single value: {name}")
    return dict(query)


def _required(given: dict[str, str], name: str) -> str:
    if not given.get(name):
        raise Blocked("invalid_request", f"Missing required parameter: {name}")
    return given[name]


def _scopes(text: str) -> tuple[str, ...]:
    known, unknown = scopes.named(text)
    if unknown or not known:
        raise Blocked("invalid_scope", f"Some requested scopes were invalid. {{valid={known}, invalid={unknown}}}")
    return tuple(known)


def _challenge(given: dict[str, str]) -> str | None:
    challenge, method = given.get("code_challenge"), given.get("code_challenge_method")
    if challenge is None and method is None:
        return None
    # Google takes `plain` too, and defaults to it. Nothing of ours may rely on that.
    if method != "S256":
        raise Blocked("invalid_request", f"Invalid code_challenge_method: {method or 'plain'}. S256 is required here.")
    if challenge is None or not _CHALLENGE.fullmatch(challenge):
        raise Blocked("invalid_request", "Invalid code_challenge: it is not the base64url form of a SHA-256.")
    return challenge


def _prompts(text: str) -> frozenset[str]:
    prompts = frozenset(text.split())
    if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
        raise Blocked("invalid_request", f"Invalid prompt: {text}")
    return prompts


def _one_of(given: dict[str, str], name: str, values: tuple[str, str]) -> str:
    """The value of a parameter with two values, of which the first is the default."""
    value = given.get(name, values[0])
    if value not in values:
        raise Blocked("invalid_request", f"Invalid parameter value for {name}: '{value}'")
    return value
