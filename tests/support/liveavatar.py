"""LiveAvatar on a port, and what the vendors' own clients do with it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect

from local.faults import FaultBook
from local.liveavatar.catalogue import AVATARS
from local.liveavatar.lite import PongsWithheld
from local.liveavatar.service import LiveAvatar, liveavatar
from local.liveavatar.settings import Settings
from local.serving import http_server
from tests.support.gateway import eventually, free_socket

API_KEY = "2b1c7f0e-0000-4000-8000-00000000test"
ANN = AVATARS[1].id
BYTES_PER_SECOND = 48_000
QUICK = Settings(connect_ms=20, first_frame_ms=20, rate_per_second=0, slot_release_seconds=2.0)


@dataclass
class Clock:
    """Seconds since the epoch, moved by tests."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Provider:
    """A running stand-in. `client` speaks with the key of the account, `stranger` without."""

    base: str
    client: httpx.AsyncClient
    stranger: httpx.AsyncClient
    made: LiveAvatar
    faults: FaultBook
    clock: Clock

    async def account(self, **changes: Any) -> dict[str, Any]:
        answer = await self.client.patch("/local/account", json=changes)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    async def mint(self, **asked: Any) -> dict[str, Any]:
        """POST /v1/sessions/token. Returns its data."""
        answer = await self.client.post("/v1/sessions/token", json={"mode": "LITE", "avatar_id": ANN, **asked})
        return succeeded(answer)

    async def start(self, token: str) -> httpx.Response:
        """As the vendor's SDK does: the token as bearer, and no body."""
        return await self.stranger.post("/v1/sessions/start", headers=bearer(token))

    async def live(self, **asked: Any) -> dict[str, Any]:
        """A session that runs: what /token and /start say of it."""
        minted = await self.mint(**asked)
        return minted | succeeded(await self.start(minted["session_token"]), 201)

    async def stop(self, session_id: str, **more: Any) -> httpx.Response:
        return await self.client.post("/v1/sessions/stop", json={"session_id": session_id, **more})

    async def detail(self, session_id: str) -> dict[str, Any]:
        return succeeded(await self.client.get(f"/v1/sessions/{session_id}"))

    async def listed(self, kind: str, **more: Any) -> dict[str, Any]:
        return succeeded(await self.client.get("/v1/sessions", params={"type": kind, **more}))

    async def credits(self) -> str:
        content = succeeded(await self.client.get("/v1/users/credits"))
        return str(content["credits_left"])

    def forget_everything(self) -> None:
        self.made.account._db.execute("delete from sessions")
        self.made.account.change(QUICK.model_dump() | {"credits_left": 1000})
        self.faults.write({})
        self.clock.ahead = 0


@dataclass
class Lite:
    """A LITE client, as https://docs.liveavatar.com/docs/custom-mode-events has it."""

    socket: ClientConnection
    seen: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def connected(cls, address: str, **options: Any) -> AsyncIterator[Self]:
        """Connect with pings off and wait for `connected`."""
        async with connect(address, proxy=None, **({"ping_interval": None} | options)) as socket:
            lite = cls(socket)
            await lite.until("session.state_updated", state="connected")
            yield lite

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def speak(self, event_id: str, seconds: float, chunks: int = 1, *, end: bool = True) -> None:
        sound = base64.b64encode(bytes(2 * round(seconds * BYTES_PER_SECOND / chunks / 2))).decode()
        for _ in range(chunks):
            await self.send("agent.speak", event_id=event_id, audio=sound)
        if end:
            await self.send("agent.speak_end", event_id=event_id)

    async def until(self, kind: str, seconds: float = 5, **fields: Any) -> dict[str, Any]:
        """The next event of a kind with these fields; everything on the way is kept in `seen`."""
        async with asyncio.timeout(seconds):
            while True:
                event: dict[str, Any] = json.loads(await self.socket.recv())
                self.seen.append(event)
                if event["type"] == kind and fields.items() <= event.items():
                    return event

    async def quiet(self, seconds: float) -> None:
        """Nothing is said for so long."""
        try:
            async with asyncio.timeout(seconds):
                raise AssertionError(f"something was said: {await self.socket.recv()!r}")
        except TimeoutError:
            return

    @property
    def kinds(self) -> Sequence[str]:
        return [event["type"] for event in self.seen]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def succeeded(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The data of an answer in the provider's envelope."""
    assert answer.status_code == status, answer.text
    content = answer.json()
    assert content["code"] == 1000
    data: dict[str, Any] = content["data"]
    return data


def refusal(answer: httpx.Response) -> tuple[int, int]:
    """Status and code of a refusal, which has no data."""
    content = answer.json()
    assert content["data"] is None
    assert content["message"]
    return answer.status_code, content["code"]


@asynccontextmanager
async def open_liveavatar(
    folder: Path, settings: Settings = QUICK, clock: Clock | None = None
) -> AsyncIterator[Provider]:
    """Serve the stand-in with its state in `folder`."""
    faults, clock = FaultBook(folder / "faults.json"), clock or Clock()
    made = liveavatar(folder / "liveavatar.sqlite3", API_KEY, faults, settings, clock)
    listening = free_socket()
    server = http_server(made.app, listening.getsockname()[1], PongsWithheld)
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with AsyncExitStack() as stack:
        stack.callback(made.account.close)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        assert await eventually(lambda: server.started)

        async def end() -> None:
            server.should_exit = True
            await running

        stack.push_async_callback(end)
        await stack.enter_async_context(made.stage.running())
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=base, timeout=10, headers={"X-API-KEY": API_KEY})
        )
        stranger = await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=10))
        yield Provider(base, client, stranger, made, faults, clock)
