"""Google's accounts over HTTP, all of its hosts on one port.

accounts.google.com               GET POST /o/oauth2/v2/auth · GET /.well-known/openid-configuration
oauth2.googleapis.com             POST /token · POST /revoke · GET /tokeninfo
openidconnect.googleapis.com      GET POST /v1/userinfo
www.googleapis.com                GET /oauth2/v3/certs · GET /oauth2/v1/certs · GET /oauth2/v3/userinfo

Of our own, for tests and the curious: POST /local/consent, GET POST /local/people, PATCH /local/people/{subject},
POST /local/people/{subject}/expire, GET PUT /local/settings. Gmail and Calendar are served beside them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from local.google import scopes
from local.google.calendar.api import methods as calendar_methods
from local.google.calendar.shelf import SCHEMA as CALENDAR_SCHEMA
from local.google.consent import Client, ConsentRequest, consented, denied, read_request
from local.google.database import open_database
from local.google.gmail.api import methods as gmail_methods
from local.google.gmail.mailbox import SCHEMA as GMAIL_SCHEMA
from local.google.grants import Grants
from local.google.keys import SigningKeys
from local.google.people import GooglePerson, People
from local.google.quota import Quotas, Settings
from local.google.refusals import Blocked, Refused
from local.google.rest import Api, Method, MethodNames
from local.google.tokens import ISSUER, TokenEndpoints

_HERE = Path(__file__).parent
# The account that this browser chose last, as Google's own cookies remember it.
_REMEMBERED: Final = "google_account"
_SOMEBODY_ELSE: Final = "another"


@dataclass(frozen=True)
class GoogleAccounts:
    """What the routes share. Google's other services ask `grants.access` what a token opens."""

    clients: tuple[Client, ...]
    people: People
    grants: Grants
    keys: SigningKeys
    endpoints: TokenEndpoints
    settings: Settings
    now: Callable[[], float]
    database: sqlite3.Connection

    def close(self) -> None:
        self.database.close()


def open_accounts(file: Path, clients: Iterable[Client], now: Callable[[], float] = time.time) -> GoogleAccounts:
    """Google's accounts over one file, whose folder is made when it is missing. `now` gives seconds since the epoch."""
    database = open_database(file)
    known, settings = tuple(clients), Settings(database)

    def ahead() -> float:
        return now() + settings.all()["clock_ahead_seconds"]

    people, keys = People(database), SigningKeys(database)
    grants = Grants(database, ahead, lambda: settings.all()["access_token_seconds"])
    endpoints = TokenEndpoints(known, people, grants, keys, ahead)
    return GoogleAccounts(known, people, grants, keys, endpoints, settings, ahead, database)


def create_application(accounts: GoogleAccounts) -> Starlette:
    pages, machines, ours = _Pages(accounts), _Machines(accounts), _Ours(accounts)
    return Starlette(
        routes=[
            Route("/o/oauth2/v2/auth", pages.ask, methods=["GET"]),
            Route("/o/oauth2/v2/auth", pages.decide, methods=["POST"]),
            Route("/accounts.css", pages.style),
            Route("/.well-known/openid-configuration", machines.discovery),
            Route("/oauth2/v3/certs", machines.jwks),
            Route("/oauth2/v1/certs", machines.certificates),
            Route("/token", machines.token, methods=["POST"]),
            Route("/revoke", machines.revoke, methods=["POST"]),
            Route("/tokeninfo", machines.token_info, methods=["GET", "POST"]),
            Route("/v1/userinfo", machines.user_info, methods=["GET", "POST"]),
            Route("/oauth2/v3/userinfo", machines.user_info, methods=["GET", "POST"]),
            Route("/local/consent", ours.consent, methods=["POST"]),
            Route("/local/people", ours.people, methods=["GET", "POST"]),
            Route("/local/people/{subject}", ours.change, methods=["PATCH"]),
            Route("/local/people/{subject}/expire", ours.expire, methods=["POST"]),
            Route("/local/settings", ours.settings, methods=["GET", "PUT"]),
            *services_of(accounts),
        ],
        exception_handlers={Blocked: pages.blocked, Refused: machines.refused},
    )


def services_of(accounts: GoogleAccounts) -> list[Route]:
    """Gmail and Calendar, for the people and tokens of these accounts."""
    database = accounts.database
    database.executescript(GMAIL_SCHEMA + CALENDAR_SCHEMA)
    methods = _methods(database, accounts.people, accounts.now)
    quotas = Quotas(accounts.settings, accounts.now)
    return Api(methods, accounts.people, accounts.grants, quotas).routes()


def method_names() -> MethodNames:
    """The methods by verb and path, without anything behind them."""
    nowhere = sqlite3.connect(":memory:")
    return MethodNames([(found.id, found.verb, found.path) for found in _methods(nowhere, People(nowhere), time.time)])


def _methods(database: sqlite3.Connection, people: People, now: Callable[[], float]) -> list[Method]:
    return [*gmail_methods(database, people, now), *calendar_methods(database, people, now)]


class _Pages:
    """What a person sees."""

    def __init__(self, accounts: GoogleAccounts) -> None:
        self._accounts = accounts
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=select_autoescape(), trim_blocks=True
        )

    async def ask(self, request: Request) -> Response:
        asked = self._asked(request)
        person = self._remembered(request)
        covered = person is not None and self._accounts.grants.granted(asked.client.id, person.subject).issuperset(
            asked.scopes
        )
        if person is not None and covered and asked.prompts <= {"none"}:
            return _sent_back(consented(asked, person, asked.scopes, self._accounts.grants), person)
        if "none" in asked.prompts:
            return _sent_back(denied(asked, "interaction_required"))
        return self._consent_page(asked, request)

    async def decide(self, request: Request) -> Response:
        asked = self._asked(request)
        async with request.form(max_files=0) as form:
            if form.get("decision") != "allow":
                return _sent_back(denied(asked))
            try:
                person = self._chosen(form)
            except ValueError as problem:
                return self._consent_page(asked, request, str(problem), str(form.get("email", "")))
            allowed = [*asked.basic, *(str(scope) for scope in form.getlist("scope"))]
        return _sent_back(consented(asked, person, allowed, self._accounts.grants), person)

    async def style(self, _: Request) -> Response:
        return FileResponse(_HERE / "assets" / "accounts.css", media_type="text/css")

    async def blocked(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, Blocked)
        return self._page("blocked.html", "'none'", error.status, error=error)

    def _asked(self, request: Request) -> ConsentRequest:
        return read_request(request.query_params.multi_items(), self._accounts.clients)

    def _remembered(self, request: Request) -> GooglePerson | None:
        return self._accounts.people.of_subject(request.cookies.get(_REMEMBERED, ""))

    def _chosen(self, form: FormData) -> GooglePerson:
        account = str(form.get("account", ""))
        if account == _SOMEBODY_ELSE:
            return self._accounts.people.known_or_new(str(form.get("email", "")))
        person = self._accounts.people.of_subject(account)
        if person is None:
            raise ValueError("Choose an account.")
        return person

    def _consent_page(self, asked: ConsentRequest, request: Request, problem: str = "", typed: str = "") -> Response:
        people = self._accounts.people.all()
        hinted = [person for person in people if asked.login_hint in (person.subject, person.email)]
        if asked.login_hint and not hinted:
            typed = typed or asked.login_hint
        remembered = self._remembered(request)
        return self._page(
            "consent.html",
            _origin(asked.redirect_uri),
            200,
            app=urlsplit(asked.redirect_uri).netloc,
            people=people,
            selected=(hinted[0] if hinted else remembered or people[0]).subject if not typed else _SOMEBODY_ELSE,
            somebody_else=_SOMEBODY_ELSE,
            typed=typed,
            basic=[scopes.described(scope) for scope in asked.basic],
            chosen=[(scope, scopes.described(scope)) for scope in asked.chosen],
            problem=problem,
        )

    def _page(self, template: str, form_targets: str, status: int, **values: Any) -> Response:
        # Browsers hold a form's redirects to form-action too, so it names where the decision leads.
        policy = (
            "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action 'self' {form_targets}"
        )
        headers = {
            "content-security-policy": policy
            if form_targets != "'none'"
            else policy.replace("'self' 'none'", "'none'"),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
        }
        return HTMLResponse(self._templates.get_template(template).render(**values), status, headers)


class _Machines:
    """What programs ask."""

    def __init__(self, accounts: GoogleAccounts) -> None:
        self._accounts = accounts

    async def token(self, request: Request) -> Response:
        form = await _form(request)
        answer = self._accounts.endpoints.token(form, request.headers.get("authorization", ""))
        return JSONResponse(answer, headers={"cache-control": "no-cache, no-store, max-age=0, must-revalidate"})

    async def revoke(self, request: Request) -> Response:
        token = (await _form(request)).get("token") or request.query_params.get("token", "")
        return JSONResponse(self._accounts.endpoints.revoke(token))

    async def token_info(self, request: Request) -> Response:
        given = dict(request.query_params) | (await _form(request) if request.method == "POST" else {})
        return JSONResponse(self._accounts.endpoints.token_info(given))

    async def user_info(self, request: Request) -> Response:
        return JSONResponse(self._accounts.endpoints.user_info(request.headers.get("authorization", "")))

    async def jwks(self, _: Request) -> Response:
        return JSONResponse(self._accounts.keys.jwks(), headers=_KEYS_CACHED)

    async def certificates(self, _: Request) -> Response:
        return JSONResponse(self._accounts.keys.certificates(), headers=_KEYS_CACHED)

    async def discovery(self, request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        return JSONResponse(
            {
                "issuer": ISSUER,
                "authorization_endpoint": f"{base}/o/oauth2/v2/auth",
                "token_endpoint": f"{base}/token",
                "userinfo_endpoint": f"{base}/v1/userinfo",
                "revocation_endpoint": f"{base}/revoke",
                "jwks_uri": f"{base}/oauth2/v3/certs",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "email", "profile"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                "claims_supported": [
                    "aud", "email", "email_verified", "exp", "family_name", "given_name", "iat", "iss", "name",
                    "picture", "sub",
                ],
                "code_challenge_methods_supported": ["S256"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
            }
        )  # fmt: skip

    async def refused(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return error.response()


class _Ours:
    """What Google does not have: consent without a page, and other people's accounts to change."""

    def __init__(self, accounts: GoogleAccounts) -> None:
        self._accounts = accounts

    async def consent(self, request: Request) -> Response:
        """`{url, account, scopes?, allow?}` → `{redirect}`: the decision of a person at the consent page of `url`.

        `account` is an address (made when it is new) or a subject; `scopes` what is allowed, everything without it, and
        unlike on the page even the basic ones can be left out.
        """
        wish = await _json(request)
        try:
            asked = read_request(parse_qsl(urlsplit(wish["url"]).query), self._accounts.clients)
            people = self._accounts.people
            person = people.of_subject(wish["account"]) or people.known_or_new(wish["account"])
        except Blocked as error:
            return JSONResponse({"error": error.error, "error_description": error.description}, error.status)
        except (KeyError, ValueError) as problem:
            return JSONResponse({"error": "invalid_request", "error_description": str(problem)}, 400)
        if not wish.get("allow", True):
            return JSONResponse({"redirect": denied(asked)})
        allowed, _ = scopes.named(" ".join(wish["scopes"])) if "scopes" in wish else (list(asked.scopes), [])
        return JSONResponse({"redirect": consented(asked, person, allowed, self._accounts.grants)})

    async def people(self, request: Request) -> Response:
        """The accounts; POST `{email, …}` makes one, or gives the one that is there, with these changes."""
        people = self._accounts.people
        if request.method == "GET":
            return JSONResponse([person.public() for person in people.all()])
        wish = await _json(request)
        try:
            person = people.known_or_new(str(wish.pop("email", "")))
            return JSONResponse(people.change(person.subject, wish).public())
        except ValueError as problem:
            return JSONResponse({"error": "invalid_request", "error_description": str(problem)}, 400)

    async def change(self, request: Request) -> Response:
        try:
            changed = self._accounts.people.change(request.path_params["subject"], await _json(request))
        except ValueError as problem:
            return JSONResponse({"error": "invalid_request", "error_description": str(problem)}, 400)
        return JSONResponse(changed.public())

    async def expire(self, request: Request) -> Response:
        """`{access?, refresh?}`: these tokens of a person stop working, without a word to the client."""
        wish = await _json(request)
        subject = request.path_params["subject"]
        self._accounts.grants.expire(subject, access=bool(wish.get("access")), refresh=bool(wish.get("refresh")))
        return JSONResponse({})

    async def settings(self, request: Request) -> Response:
        """Clock, life of access tokens and quotas; PUT changes those it names."""
        if request.method == "PUT":
            try:
                self._accounts.settings.change(await _json(request))
            except ValueError as problem:
                return JSONResponse({"error": "invalid_request", "error_description": str(problem)}, 400)
        return JSONResponse(self._accounts.settings.all())


_KEYS_CACHED: Final = {"cache-control": "public, max-age=21600, must-revalidate, no-transform"}


async def _form(request: Request) -> dict[str, str]:
    async with request.form(max_files=0) as form:
        return {name: str(value) for name, value in form.items()}


async def _json(request: Request) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", await request.json())
    except ValueError:
        raise Refused("invalid_request", "The body is not JSON.") from None


def _sent_back(address: str, person: GooglePerson | None = None) -> Response:
    response = RedirectResponse(address, 302, {"cache-control": "no-store", "referrer-policy": "no-referrer"})
    if person is not None:
        response.set_cookie(_REMEMBERED, person.subject, httponly=True, samesite="lax", path="/o/oauth2")
    return response


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
