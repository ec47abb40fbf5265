"""A browser that signs in with Google, step by step, so that a test may spoil each of them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.support.backend import Backend, from_somewhere
from tests.support.google import Google, returned


@dataclass
class GoogleBrowser:
    """One browser, with the secret that it keeps from start to end."""

    backend: Backend
    google: Google
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    headers: dict[str, str] = field(default_factory=from_somewhere)

    async def start(self) -> str:
        """Begin. Returns the address at Google."""
        secret_hash = hashlib.sha256(self.secret.encode()).hexdigest()
        query = {"browser_secret_hash": secret_hash}
        answer = await self.backend.client.get("/v1/auth/google/start", params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        url: str = answer.json()["url"]
        return url

    async def come_back(self, address: str) -> dict[str, str]:
        """Follow Google's redirect. Returns what the page finds behind its #."""
        parts = urlsplit(address)
        answer = await self.backend.client.get(f"{parts.path}?{parts.query}", headers=self.headers)
        assert answer.status_code == 303, answer.text
        return returned(answer.headers["location"])

    async def decide(self, account: str, **wish: Any) -> dict[str, str]:
        """Begin, decide at Google, and come back to the page."""
        return await self.decide_about(await self.start(), account, **wish)

    async def decide_about(self, url: str, account: str, **wish: Any) -> dict[str, str]:
        body = {"url": url, "account": account, **wish}
        decided = await self.google.client.post("/local/consent", json=body)
        assert decided.status_code == 200, decided.text
        return await self.come_back(decided.json()["redirect"])

    async def complete(self, back: dict[str, str], **changes: str) -> httpx.Response:
        body = {"state": back["state"], "code": back["code"], "browser_secret": self.secret} | changes
        return await self.backend.client.post("/v1/auth/google/complete", json=body, headers=self.headers)

    async def sign_in(self, account: str, **wish: Any) -> httpx.Response:
        return await self.complete(await self.decide(account, **wish))
