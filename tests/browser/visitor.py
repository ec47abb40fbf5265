"""Somebody at the page: what they do there, and what they find."""

from __future__ import annotations

import asyncio
import uuid
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import BrowserContext, Page

from tests.support.stack import Stack, StackPerson

VOICES = Path(__file__).parents[1] / "data" / "voices"
SAID = VOICES / "go-forward.wav"


def seconds_of(path: Path) -> float:
    """How long a recording is."""
    with wave.open(str(path)) as file:
        return float(file.getnframes() / file.getframerate())


@dataclass
class Visitor:
    """A page that somebody looks at, and all that it complained of."""

    page: Page
    context: BrowserContext
    stack: Stack
    person: StackPerson
    complaints: list[str] = field(default_factory=list)
    refusals_expected: bool = False

    async def open(self, path: str = "/") -> None:
        await self.page.goto(self.stack.base_url + path)

    async def sign_in(self) -> None:
        """Through the form, as a person does."""
        await self.page.get_by_label("E-mail").fill(self.person.email)
        await self.page.get_by_label("Password").fill(self.person.password)
        await self.page.get_by_role("button", name="Sign in", exact=True).click()
        await self.page.locator("#workspace").wait_for()

    async def enter(self) -> None:
        """Open the page with a sign-in that was made before, as after a reload."""
        stored = f"sessionStorage.setItem('oprina.refresh', '{self.person.refresh_token}')"
        await self.context.add_init_script(
            f"if (!sessionStorage.getItem('visited')) {{ sessionStorage.setItem('visited', '1'); {stored}; }}"
        )
        await self.open()
        await self.page.locator("#workspace").wait_for()

    async def type(self, text: str) -> None:
        await self.page.get_by_label("Your message").fill(text)
        await self.page.get_by_role("button", name="Send").click()

    async def hold_to_talk(self, seconds: float) -> None:
        """Press the button, and let it go that long after the microphone has opened."""
        await self.page.get_by_role("button", name="Hold to talk").hover()
        await self.page.mouse.down()
        await self.page.locator("#talk.listening").wait_for()
        await self.page.wait_for_timeout(seconds * 1000)
        await self.page.mouse.up()

    async def until(self, expression: str, seconds: float = 20) -> None:
        """Wait for a JavaScript expression to hold. Playwright's own way breaks the page's policy."""
        async with asyncio.timeout(seconds):
            while not await self.page.evaluate(f"Boolean({expression})"):
                await self.page.wait_for_timeout(20)

    async def played_ms(self) -> int:
        """Milliseconds of speech that the sound card really took."""
        played: int = await self.page.evaluate("oprina.player.playedMs")
        return played

    async def at_rest(self) -> None:
        """Wait until the last answer was written and heard to its end."""
        await self.page.locator("#interrupt").wait_for(state="hidden")
        await self.page.locator(".exchange:last-child .timings").wait_for()

    async def messages_at_server(self) -> list[dict[str, Any]]:
        """The messages of the open conversation as the server keeps them, oldest first."""
        session_id = self.page.url.partition("#c=")[2]
        assert session_id, "no conversation is open"
        # The page rotated the person's tokens, but the access token made at first is still good.
        async with httpx.AsyncClient(base_url=self.stack.base_url, headers=self.person.headers) as client:
            answer = await client.get(f"/v1/sessions/{session_id}/messages", params={"limit": 100})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items[::-1]

    async def seeded_conversation(self, turns: int) -> str:
        """A conversation of that many short turns, made past the page. Returns its id."""
        async with httpx.AsyncClient(base_url=self.stack.base_url, headers=self.person.headers, timeout=30) as client:
            made = await client.post("/v1/sessions", json={})
            while made.status_code == 429:
                await asyncio.sleep(float(made.headers["Retry-After"]))
                made = await client.post("/v1/sessions", json={})
            assert made.status_code == 201, made.text
            session_id: str = made.json()["id"]
            for number in range(turns):
                answer = await client.post(
                    f"/v1/sessions/{session_id}/turns",
                    params={"speak": "false"},
                    json={"text": f"Question {number}. [[say Answer {number}.]]"},
                    headers={"Idempotency-Key": str(uuid.uuid4())},
                )
                assert answer.status_code == 201, answer.text
        return session_id


Visit = Callable[..., Awaitable[Visitor]]
