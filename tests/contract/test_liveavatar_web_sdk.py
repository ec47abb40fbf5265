"""The vendor's own web SDK (@heygen/liveavatar-web-sdk), unmodified, in Chromium against the stand-in.

It is bundled with esbuild as a page of ours would be. Both are development dependencies of local/package.json;
`NODE_MODULES` names another folder that has them.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.launcher.browser import find_browser
from local.launcher.node import npm_environment
from local.places import REPOSITORY
from tests.support.gateway import eventually, free_socket, served
from tests.support.liveavatar import Provider, open_liveavatar

MODULES = Path(os.environ.get("NODE_MODULES") or REPOSITORY / "local" / "node_modules")
SDK, BUNDLER = MODULES / "@heygen" / "liveavatar-web-sdk", MODULES / "esbuild" / "bin" / "esbuild"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_browser() is None, reason="Chromium is not installed (apt-get install chromium)."),
    pytest.mark.skipif(
        not (SDK.exists() and BUNDLER.exists()),
        reason="@heygen/liveavatar-web-sdk and esbuild are not installed (npm install in local/).",
    ),
]

# What a page does with the SDK; `told` collects what it hears.
_PAGE = """<!doctype html><title>Avatar</title><script src="/sdk.js"></script><script>
const told = [];
function open(token, apiUrl) {
  window.session = new Sdk.LiveAvatarSession(token, { apiUrl });
  const { AVATAR_SPEAK_STARTED, AVATAR_SPEAK_ENDED } = Sdk.AgentEventsEnum;
  for (const name of [AVATAR_SPEAK_STARTED, AVATAR_SPEAK_ENDED])
    session.on(name, (event) => told.push(event.event_type));
  session.on(Sdk.SessionEvent.SESSION_STATE_CHANGED, (state) => told.push(state));
  session.on(Sdk.SessionEvent.SESSION_DISCONNECTED, (reason) => told.push(reason));
}
async function heard(what) {
  for (let i = 0; i < 500 && !told.includes(what); i++) await new Promise((done) => setTimeout(done, 10));
  if (!told.includes(what)) throw new Error(`${what} was not told; told were ${told}`);
}
</script>"""


def bundle() -> str:
    """The SDK as one script that defines `Sdk`."""
    command = [str(BUNDLER), "--bundle", "--format=iife", "--global-name=Sdk", "--log-level=error"]
    wish = "export * from '@heygen/liveavatar-web-sdk'"
    made = subprocess.run(
        command,
        input=wish,
        cwd=MODULES.parent,
        env=npm_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.fixture(scope="module")
async def provider(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Provider]:
    async with open_liveavatar(tmp_path_factory.mktemp("sdk")) as provider:
        yield provider


@pytest.fixture(scope="module")
async def page(provider: Provider) -> AsyncIterator[Page]:
    script = bundle()

    async def html(_: Request) -> Response:
        return HTMLResponse(_PAGE)

    async def sdk(_: Request) -> Response:
        return PlainTextResponse(script, media_type="text/javascript")

    site = Starlette(routes=[Route("/", html), Route("/sdk.js", sdk)])
    async with served(site, free_socket()) as base, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = await browser.new_page()
        await page.goto(base)
        yield page
        await browser.close()


@pytest.fixture
async def visit(page: Page, provider: Provider) -> Page:
    provider.forget_everything()
    await page.reload()
    return page


async def opened(visit: Page, provider: Provider) -> dict[str, Any]:
    minted = await provider.mint()
    await visit.evaluate("([token, url]) => open(token, url)", [minted["session_token"], provider.base])
    return minted


async def connected(provider: Provider, session_id: str) -> None:
    """The SDK does not wait for it, and the stand-in drops what comes before."""
    connections = provider.made.stage._connections
    assert await eventually(lambda: session_id in connections and connections[session_id]._connected)


async def test_the_sdk_starts_speaks_keeps_alive_and_stops(visit: Page, provider: Provider) -> None:
    minted = await opened(visit, provider)
    assert await visit.evaluate("session.mode") == "LITE"
    await visit.evaluate("session.start()")
    assert await visit.evaluate("[session.state, session.sessionId, session.maxSessionDuration]") == [
        "CONNECTED", minted["session_id"], 1800,
    ]  # fmt: skip
    assert (await provider.listed("active"))["count"] == 1
    await connected(provider, minted["session_id"])
    sound = base64.b64encode(bytes(24_000)).decode()
    await visit.evaluate("(sound) => session.repeatAudio(sound)", sound)
    await visit.evaluate("heard('avatar.speak_ended')")
    provider.clock.ahead = 290
    async with visit.expect_response("**/keep-alive") as kept:
        await visit.evaluate("session.keepAlive()")
    assert (await kept.value).status == 200
    provider.clock.ahead = 400
    async with visit.expect_response("**/stop") as stopped:
        await visit.evaluate("session.stop()")
    assert (await stopped.value).status == 200
    record = await provider.detail(minted["session_id"])
    assert (record["end_reason"], record["duration"] // 10) == ("USER_CLOSED", 40)
    assert await visit.evaluate("told") == [
        "CONNECTING", "CONNECTED", "avatar.speak_started", "avatar.speak_ended", "DISCONNECTING", "DISCONNECTED",
        "CLIENT_INITIATED",
    ]  # fmt: skip


async def test_the_sdk_interrupts(visit: Page, provider: Provider) -> None:
    minted = await opened(visit, provider)
    await visit.evaluate("session.start()")
    await connected(provider, minted["session_id"])
    await visit.evaluate("(sound) => session.repeatAudio(sound)", base64.b64encode(bytes(480_000)).decode())
    await visit.evaluate("heard('avatar.speak_started')")
    await visit.evaluate("session.interrupt()")
    await visit.wait_for_timeout(100)
    await visit.evaluate("(sound) => session.repeatAudio(sound)", base64.b64encode(bytes(4800)).decode())
    await visit.evaluate("heard('avatar.speak_ended')")
    assert (await visit.evaluate("told")).count("avatar.speak_started") == 2


async def test_the_sdk_tells_why_a_session_does_not_start(visit: Page, provider: Provider) -> None:
    await provider.account(concurrency=0)
    await opened(visit, provider)
    failed = await visit.evaluate("session.start().catch((error) => [error.message, error.errorCode, error.status])")
    assert failed == ["Session concurrency limit reached", 4003, 403]
    await visit.evaluate("heard('SESSION_START_FAILED')")


async def test_the_sdk_learns_that_the_server_ended_the_session(visit: Page, provider: Provider) -> None:
    minted = await opened(visit, provider)
    await visit.evaluate("session.start()")
    await connected(provider, minted["session_id"])
    await provider.stop(minted["session_id"])
    await visit.evaluate("heard('DISCONNECTED')")
    await visit.evaluate("heard('UNKNOWN_REASON')")
