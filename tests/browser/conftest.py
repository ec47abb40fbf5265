"""The page in a real browser, against a whole local cloud: real ears and a real voice, a scripted agent.

Chromium's microphone is a file that it plays over and over from the moment the page asks for it.
"""

from __future__ import annotations

import shutil
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.visitor import VOICES, Visit, Visitor
from tests.support.stack import SCRIPTED, Stack, StackPerson

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
PATIENCE_MS = 20_000
# What the browser itself writes whenever an answer is refused or the line is dead; the page shows those as problems.
BROWSERS_OWN = "Failed to load resource"

_WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`content security policy: ${event.violatedDirective} refused ${event.blockedURI}`));
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(folder):
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="Chromium is not installed (apt-get install chromium)."))


@pytest.fixture(scope="session")
def browser_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("browser"), {**SCRIPTED, "SPEECH_ENGINE": "local"}) as stack:
        yield stack


@pytest.fixture(autouse=True)
def no_faults_left(browser_stack: Stack) -> Iterator[None]:
    yield
    browser_stack.set_faults({})


@pytest.fixture
def browser_person(browser_stack: Stack) -> StackPerson:
    return browser_stack.person(preferred_name="Ada", language="en-US", timezone="Europe/Madrid")


@asynccontextmanager
async def _browser(microphone: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
        )
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def browser_with_voice() -> AsyncIterator[Browser]:
    """Somebody says "go forward ten meters" into its microphone."""
    async with _browser(VOICES / "go-forward.wav") as browser:
        yield browser


@pytest.fixture
async def browser_with_silence(tmp_path: Path) -> AsyncIterator[Browser]:
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000 * 3))
    async with _browser(path) as browser:
        yield browser


@pytest.fixture
async def visit(browser_stack: Stack, browser_with_voice: Browser, browser_person: StackPerson) -> AsyncIterator[Visit]:
    """Makes visitors: `await visit(width=…, height=…, color_scheme=…, browser=…)`. Nothing may be complained of."""
    visitors: list[Visitor] = []
    async with AsyncExitStack() as stack:

        async def make(
            *, browser: Browser = browser_with_voice, width: int = 1280, height: int = 800, **options: Any
        ) -> Visitor:
            context = await browser.new_context(
                viewport={"width": width, "height": height},
                permissions=["microphone"],
                extra_http_headers={"X-Forwarded-For": browser_person.address},
                **options,
            )
            stack.push_async_callback(context.close)
            await context.add_init_script(_WATCH)
            page = await context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            visitor = Visitor(page, context, browser_stack, browser_person)
            page.on("console", lambda message: _note(visitor, message.type, message.text))
            page.on("pageerror", lambda error: visitor.complaints.append(f"uncaught: {error}"))
            visitors.append(visitor)
            return visitor

        yield make
    for visitor in visitors:
        assert visitor.complaints == []


def _note(visitor: Visitor, kind: str, text: str) -> None:
    if kind in {"error", "warning"} and not (visitor.refusals_expected and text.startswith(BROWSERS_OWN)):
        visitor.complaints.append(f"{kind}: {text}")


@pytest.fixture
async def guest(visit: Visit) -> Visitor:
    """Somebody at the sign-in form."""
    visitor = await visit()
    await visitor.open()
    return visitor


@pytest.fixture
async def visitor(visit: Visit) -> Visitor:
    """Somebody signed in, at an empty conversation."""
    visitor = await visit()
    await visitor.enter()
    return visitor
