"""Google's accounts on a port, and what a client and a person do with them."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from local.faults import FaultBook
from local.google.application import GoogleAccounts, create_application, open_accounts
from local.google.consent import Client
from local.google.people import People
from local.google.rest import failure
from local.google.service import STAND_IN, method_of
from local.http_faults import WithFaults
from tests.support.gateway import free_socket, served

CLIENT_ID = "1-tests.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-tests"
REDIRECT_URI = "http://oprina.test/v1/auth/google/callback"
BASIC = "openid email profile"
_TABLES = (
    "people", "grants", "codes", "access_tokens", "refresh_tokens", "settings", "gmail_boxes", "gmail_messages",
    "gmail_labels", "gmail_drafts", "gmail_history", "calendars", "events",
)  # fmt: skip


@dataclass
class Clock:
    """Seconds since the epoch, moved by tests."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Google:
    """A running stand-in. `client` speaks to it and follows no redirects."""

    base: str
    client: httpx.AsyncClient
    accounts: GoogleAccounts
    faults: FaultBook
    clock: Clock

    @property
    def environment(self) -> dict[str, str]:
        """The settings of functions that sign people in with this Google."""
        return {
            "GOOGLE_CLIENT_ID": CLIENT_ID,
            "GOOGLE_CLIENT_SECRET": CLIENT_SECRET,
            "GOOGLE_REDIRECT_URI": REDIRECT_URI,
            "GOOGLE_AUTH_URL": f"{self.base}/o/oauth2/v2/auth",
            "GOOGLE_TOKEN_URL": f"{self.base}/token",
            "GOOGLE_JWKS_URL": f"{self.base}/oauth2/v3/certs",
        }

    def forget_everything(self) -> None:
        """People, grants, tokens, faults and the browser's cookies as they were at first; the key stays."""
        database = self.accounts.database
        for table in _TABLES:
            database.execute(f"delete from {table}")  # noqa: S608 - our own names
        People(database)
        self.client.cookies.clear()
        self.faults.write({})
        self.clock.ahead = 0

    async def consent(self, url: str, account: str, **wish: Any) -> dict[str, str]:
        """A person's decision about a request for consent. Returns the parameters they come back with."""
        answer = await self.client.post("/local/consent", json={"url": url, "account": account, **wish})
        assert answer.status_code == 200, answer.text
        return returned(answer.json()["redirect"])

    async def code(self, account: str = "ada.lovelace@gmail.com", **asked: Any) -> tuple[str, Request]:
        """A fresh code for a request of these parameters."""
        request = Request(parameters=asked)
        return (await self.consent(request.url(self.base), account))["code"], request

    async def token(self, **form: str) -> httpx.Response:
        """POST /token as our client."""
        return await self.client.post("/token", data={"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **form})

    async def exchange(self, value: str, request: Request, /, **changes: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code", "code": value, "redirect_uri": REDIRECT_URI,
            "code_verifier": request.verifier,
        }  # fmt: skip
        return await self.token(**(form | changes))

    async def tokens(self, account: str = "ada.lovelace@gmail.com", **asked: Any) -> dict[str, Any]:
        """All that a client gets for a person's whole consent."""
        answer = await self.exchange(*await self.code(account, **asked))
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    async def person(self, email: str, **changes: Any) -> dict[str, Any]:
        """The Google account of an address, made when it is new, with these changes."""
        answer = await self.client.post("/local/people", json={"email": email, **changes})
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    async def change(self, subject: str, **changes: Any) -> None:
        answer = await self.client.patch(f"/local/people/{subject}", json=changes)
        assert answer.status_code == 200, answer.text


@dataclass
class Request:
    """A request for consent, valid but for `parameters` (None leaves one out), with its PKCE verifier."""

    parameters: dict[str, Any] = field(default_factory=dict)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")

    def query(self) -> dict[str, str]:
        valid = {
            "client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI, "response_type": "code", "scope": BASIC,
            "state": "the-state", "code_challenge": self.challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        return {name: str(value) for name, value in (valid | self.parameters).items() if value is not None}

    def url(self, base: str = "") -> str:
        return f"{base}/o/oauth2/v2/auth?{urlencode(self.query())}"


def returned(address: str) -> dict[str, str]:
    """The parameters in an address that a browser is sent to, in its query or behind its #."""
    parts = urlsplit(address)
    return {name: values[0] for name, values in parse_qs(parts.query or parts.fragment).items()}


@asynccontextmanager
async def open_google(folder: Path) -> AsyncIterator[Google]:
    """Serve Google's accounts with their state in `folder`."""
    faults, clock = FaultBook(folder / "faults.json"), Clock()
    client = Client(CLIENT_ID, CLIENT_SECRET, frozenset({REDIRECT_URI}))
    accounts = open_accounts(folder / "google.sqlite3", [client], clock)
    app = WithFaults(create_application(accounts), STAND_IN, faults, method_of, failure)
    async with served(app, free_socket()) as base, httpx.AsyncClient(base_url=base, timeout=10) as browser:
        try:
            yield Google(base, browser, accounts, faults, clock)
        finally:
            accounts.close()
