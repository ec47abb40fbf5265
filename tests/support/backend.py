"""The whole backend in one process for tests: every function's real application over a real database.

`open_backend` sets the environment the functions read, publishes the signing keys, and takes mail. What else a test
needs (an agent, speech) is somebody else's endpoint: its address comes in by `environment`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from pathlib import Path
from typing import Any

import httpx
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.responses import PlainTextResponse
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from local.google_identity import JWKS_OBJECT, GoogleIdentity
from local.public_objects import public_objects
from shared.accounts import tokens
from shared.clients import speech, texttospeech
from shared.http.declaration import Function
from shared.http.discovery import discover
from shared.operations import checks
from shared.runtime.settings import load
from tests.support.gateway import free_socket, served

PASSWORD = "speak-with-oprina"
PAGE_URL = "http://page.oprina.test"
SUPPORT_ADDRESS = "support@oprina.test"
SERVICE_ROOT = "https://{service}-123456789012.us-central1.run.app"
TASKS_ACCOUNT = "tasks@oprina-local.iam.gserviceaccount.com"
SCHEDULER_ACCOUNT = "scheduler@oprina-local.iam.gserviceaccount.com"


@functools.cache
def functions() -> tuple[Function, ...]:
    return tuple(discover())


class Router:
    """Sends each path to the function that declares it, as the gateway does."""

    def __init__(self) -> None:
        # Literal addresses before templates: /v1/users/me is nobody's {id}.
        ordered = sorted(functions(), key=lambda function: function.path.count("{"))
        self._routes = [(compile_path(function.path)[0], function) for function in ordered]

    def function_for(self, path: str) -> Function | None:
        return next((function for pattern, function in self._routes if pattern.fullmatch(path)), None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        function = self.function_for(scope["path"]) if scope["type"] == "http" else None
        app: ASGIApp = function.asgi if function else PlainTextResponse("no function has this path", 404)
        await app(scope, receive, send)


@dataclass
class Mailbox:
    """Takes every mail; `refusing` makes it refuse them."""

    mails: list[EmailMessage] = field(default_factory=list)
    refusing: bool = False

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        if self.refusing:
            return "451 4.3.0 Not now"
        self.mails.append(message_from_bytes(_bytes(envelope.content), policy=default_policy))
        return "250 2.0.0 Kept"

    def to(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == address]

    def verification_token(self, address: str) -> str:
        """The token of the newest verification mail."""
        body = self.to(address)[-1].get_body(("plain",))
        assert body is not None
        found = re.search(re.escape(PAGE_URL) + r"/#verify=([A-Za-z0-9_-]+)", body.get_content())
        assert found is not None
        return found[1]


def _bytes(content: bytes | str | None) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""


@asynccontextmanager
async def _taking_mail(mailbox: Mailbox) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="mail.test"), "127.0.0.1", 0)
    try:
        yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Person:
    """Somebody who is signed in."""

    id: str
    email: str
    password: str
    access_token: str
    refresh_token: str
    user: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


@dataclass
class Backend:
    """`client` speaks to all functions in process; `served_on_a_port` gives an address for what must really stream."""

    app: Router
    client: httpx.AsyncClient
    mailbox: Mailbox
    environment: Mapping[str, str]
    google: GoogleIdentity

    async def tick(
        self, name: str, scheduled_at: str = "2026-11-25T08:00:00Z", job: str | None = None
    ) -> httpx.Response:
        """What the scheduler sends for one time of a schedule, with its token."""
        path = f"/schedules/{name}"
        function = self.app.function_for(path)
        assert function is not None
        token = self.google.id_token(SCHEDULER_ACCOUNT, SERVICE_ROOT.format(service=function.name))
        headers = {
            "Authorization": f"Bearer {token}",
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": job or name,
            "X-CloudScheduler-ScheduleTime": scheduled_at,
        }
        return await self.client.post(path, headers=headers)

    @property
    def keyring(self) -> str:
        return self.environment["ACCESS_TOKEN_KEYRING"]

    def served_on_a_port(self) -> Any:
        """An async context manager that gives the base address of the backend on a real port."""
        return served(self.app, free_socket())

    async def register(self, email: str | None = None, password: str = PASSWORD, **profile: Any) -> str:
        """Register an address, and leave it unverified. Returns the address."""
        email = email or f"person-{secrets.token_hex(6)}@oprina.test"
        body = {"email": email, "password": password, **profile}
        answer = await self.client.post("/v1/auth/register", json=body, headers=from_somewhere())
        assert answer.status_code == 202, answer.text
        return email

    async def register_person(self, email: str | None = None, password: str = PASSWORD, **profile: Any) -> Person:
        """Register, confirm the address, and be signed in."""
        email = await self.register(email, password, **profile)
        token = self.mailbox.verification_token(email)
        answer = await self.client.post("/v1/auth/email/verify", json={"token": token}, headers=from_somewhere())
        assert answer.status_code == 200, answer.text
        return person_from(answer.json(), password)

    async def login(self, email: str, password: str = PASSWORD) -> httpx.Response:
        body = {"email": email, "password": password}
        return await self.client.post("/v1/auth/login", json=body, headers=from_somewhere())

    async def refresh(self, refresh_token: str) -> httpx.Response:
        body = {"refresh_token": refresh_token}
        return await self.client.post("/v1/auth/refresh", json=body, headers=from_somewhere())


def person_from(answer: Mapping[str, Any], password: str = PASSWORD) -> Person:
    user = answer["user"]
    return Person(user["id"], user["email"], password, answer["access_token"], answer["refresh_token"], dict(user))


def from_somewhere() -> dict[str, str]:
    """An address that nobody has called from before, so that limits by address leave the test alone."""
    return {"X-Forwarded-For": str(".".join(str(secrets.randbelow(254) + 1) for _ in range(4)))}


@contextmanager
def _environment(values: Mapping[str, str]) -> Any:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    _forget()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _forget()


def _forget() -> None:
    """What this process has made from another environment: settings, applications, and clients of Google's services."""
    load.cache_clear()
    speech._clients.clear()
    texttospeech._clients.clear()
    checks._watches.clear()
    for function in functions():
        function._application = None


@asynccontextmanager
async def functions_in_process(environment: Mapping[str, str]) -> AsyncIterator[tuple[Router, httpx.AsyncClient]]:
    """Every function's real application in this process, under this environment; the client speaks to all of them."""
    with _environment(environment):
        app = Router()
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://oprina.test", timeout=30) as client:
            yield app, client


@asynccontextmanager
async def open_backend(
    database: Mapping[str, str], folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Backend]:
    """Serve all functions over a database.

    Args:
        database: the variables by which the functions reach it (SUPABASE_URL, the keys, TOKEN_ISSUER,
            ACCESS_TOKEN_KEYRING).
        folder: where to publish the signing keys.
        environment: further variables, such as the endpoints of an agent and of speech.
    """
    keyring, issuer = database["ACCESS_TOKEN_KEYRING"], database["TOKEN_ISSUER"]
    mailbox = Mailbox()
    async with AsyncExitStack() as stack:
        smtp_url = await stack.enter_async_context(_taking_mail(mailbox))
        public_url = await stack.enter_async_context(served(public_objects(folder), free_socket()))
        google = GoogleIdentity(folder.with_name(folder.name + "-google.pem"))
        google.publish(folder)
        _publish(folder, keyring, issuer, f"{public_url}/.well-known/jwks.json")
        values = {
            "TOKEN_AUDIENCE": "authenticated",
            "JWKS_URL": f"{public_url}/.well-known/jwks.json",
            "SMTP_URL": smtp_url,
            "MAIL_FROM": "Oprina <hello@oprina.test>",
            "SUPPORT_ADDRESS": SUPPORT_ADDRESS,
            "PAGE_URL": PAGE_URL,
            "ALLOWED_ORIGINS": PAGE_URL,
            "TRUSTED_HOPS": "1",
            "PASSWORD_COST": "4",
            "ALLOW_WEAK_PASSWORD_HASHES": "true",
            "GOOGLE_CLOUD_PROJECT": "oprina-local",
            "SERVICE_ROOT": SERVICE_ROOT,
            "GOOGLE_CERTS_URL": f"{public_url}/{JWKS_OBJECT}",
            "TASKS_SERVICE_ACCOUNT": TASKS_ACCOUNT,
            "SCHEDULER_SERVICE_ACCOUNT": SCHEDULER_ACCOUNT,
            **database,
            **(environment or {}),
        }
        app, client = await stack.enter_async_context(functions_in_process(values))
        yield Backend(app, client, mailbox, values, google)


def _publish(folder: Path, keyring: str, issuer: str, jwks_url: str) -> None:
    place = folder / ".well-known"
    place.mkdir(parents=True, exist_ok=True)
    (place / "jwks.json").write_text(json.dumps(tokens.public_jwks(keyring)))
    (place / "openid-configuration").write_text(json.dumps(tokens.openid_configuration(issuer, jwks_url)))
