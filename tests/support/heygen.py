"""HeyGen on a port, somebody who receives its webhooks, and what a client of its interface does."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from local.faults import FaultBook
from local.heygen.service import HeyGen, heygen
from local.heygen.settings import Settings
from local.heygen.voice import HummedVoice
from tests.support.gateway import eventually, free_socket, served
from tests.support.liveavatar import Clock

API_KEY = "sk_V2_tests"
LOOK = "anna-studio"
QUICK = Settings(render_seconds=0.05, webhook_retry_seconds=0.1, reorder_seconds=0.3)
TABLES = ("videos", "batches", "batch_errors", "assets", "endpoints", "events", "deliveries", "keys")
SCRIPT = "Hello there."


@dataclass
class Received:
    """One webhook as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content

    @property
    def event_id(self) -> str:
        return self.headers["heygen-event-id"]

    def is_signed_with(self, secret: str) -> bool:
        """As https://developers.heygen.com/docs/webhooks has it: over the raw body alone."""
        expected = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, self.headers["heygen-signature"].lower())


@dataclass
class Receiver:
    """Answers webhooks with `status`, and keeps them."""

    base: str = ""
    status: int = 200
    seen: list[Received] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append(Received(headers, body))
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def get(self, count: int, seconds: float = 8) -> list[Received]:
        """The webhooks, when there are so many."""
        assert await eventually(lambda: len(self.seen) >= count, seconds), f"{len(self.seen)} webhooks came"
        return self.seen


@dataclass
class Studio:
    """A running stand-in. `client` speaks with the key of the account, `stranger` without."""

    base: str
    client: httpx.AsyncClient
    stranger: httpx.AsyncClient
    made: HeyGen
    faults: FaultBook
    clock: Clock
    receiver: Receiver

    async def create(self, key: str | None = None, **asked: Any) -> httpx.Response:
        """POST /v3/videos with a small wish, changed by `asked`; None leaves a field out."""
        wish = {"type": "avatar", "avatar_id": LOOK, "script": SCRIPT} | asked
        headers = {"Idempotency-Key": key} if key else {}
        body = {name: value for name, value in wish.items() if value is not None}
        return await self.client.post("/v3/videos", json=body, headers=headers)

    async def video(self, video_id: str) -> dict[str, Any]:
        return data(await self.client.get(f"/v3/videos/{video_id}"))

    async def finished(self, video_id: str, seconds: float = 15) -> dict[str, Any]:
        """A video when it is over."""
        until = time.monotonic() + seconds
        while True:
            video = await self.video(video_id)
            if video["status"] in {"completed", "failed"}:
                return video
            assert time.monotonic() < until, video
            await asyncio.sleep(0.03)

    async def make(self, **asked: Any) -> dict[str, Any]:
        return await self.finished(data(await self.create(**asked))["video_id"])

    async def endpoint(self, **asked: Any) -> dict[str, Any]:
        """An endpoint that leads to `receiver`, with its secret."""
        return data(await self.client.post("/v3/webhooks/endpoints", json={"url": self.receiver.base} | asked))

    async def account(self, **changes: Any) -> None:
        answer = await self.client.patch("/local/account", json=changes)
        assert answer.status_code == 200, answer.text

    def forget_everything(self) -> None:
        for table in TABLES:
            self.made.database.run(f"delete from {table}")  # noqa: S608 - our own names
        self.made.database.change(QUICK.model_dump() | {"balance_micros": 100_000_000})
        self.faults.write({})
        self.clock.ahead = 0
        self.receiver.seen.clear()
        self.receiver.status = 200


def data(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()["data"]
    return content


def refusal(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["message"]
    return answer.status_code, error["code"]


@asynccontextmanager
async def open_heygen(folder: Path, clock: Clock | None = None) -> AsyncIterator[Studio]:
    """Serve the stand-in with its state in `folder`."""
    faults, clock, receiver = FaultBook(folder / "faults.json"), clock or Clock(), Receiver()
    listening = free_socket()
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    made = heygen(folder / "heygen", API_KEY, faults, HummedVoice(), base, QUICK, clock)
    async with AsyncExitStack() as stack:
        stack.callback(made.database.close)
        receiver.base = await stack.enter_async_context(served(receiver, free_socket()))
        await stack.enter_async_context(served(made.app, listening))
        await stack.enter_async_context(made.works.running())
        client = httpx.AsyncClient(base_url=base, timeout=10, headers={"X-Api-Key": API_KEY})
        stranger = httpx.AsyncClient(base_url=base, timeout=10)
        await stack.enter_async_context(client)
        await stack.enter_async_context(stranger)
        yield Studio(base, client, stranger, made, faults, clock, receiver)
