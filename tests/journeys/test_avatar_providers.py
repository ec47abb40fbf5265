"""The providers of avatars in the whole local cloud: found by their endpoints and keys, and seen in the console."""

from __future__ import annotations

import asyncio
import io

import av
import httpx
import pytest

from tests.support.liveavatar import ANN, Lite, bearer, succeeded
from tests.support.stack import Stack


async def test_a_session_speaks_and_a_video_is_made(stack: Stack) -> None:
    with stack.client() as client:
        endpoints = client.get("/local/endpoints").json()
    live, studio = endpoints["liveavatar"], endpoints["heygen"]
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        key = {"X-API-KEY": live["api_key"]}
        body = {"mode": "LITE", "avatar_id": ANN, "max_session_duration": 60}
        minted = succeeded(await client.post(f"{live['url']}/v1/sessions/token", json=body, headers=key))
        answer = await client.post(f"{live['url']}/v1/sessions/start", headers=bearer(minted["session_token"]))
        async with Lite.connected(succeeded(answer, 201)["ws_url"]) as lite:
            await lite.speak("hello", 0.2)
            await lite.until("agent.speak_ended")
        wish = {"session_id": minted["session_id"]}
        succeeded(await client.post(f"{live['url']}/v1/sessions/stop", json=wish, headers=key))

        wish = {"type": "avatar", "avatar_id": "anna-studio", "script": "Hello from the whole cloud.", "title": "Whole"}
        key = {"X-Api-Key": studio["api_key"]}
        created = (await client.post(f"{studio['url']}/v3/videos", json=wish, headers=key)).json()["data"]
        video: dict[str, str] = {}
        async with asyncio.timeout(60):
            while video.get("status") not in {"completed", "failed"}:
                await asyncio.sleep(0.2)
                asked = await client.get(f"{studio['url']}/v3/videos/{created['video_id']}", headers=key)
                video = asked.json()["data"]
        assert video["status"] == "completed", video
        with av.open(io.BytesIO((await client.get(video["video_url"])).content), "r") as container:
            sound = next(container.decode(audio=0))
            assert sound.sample_rate == 24_000
    with stack.client() as console:
        page = console.get("/local/avatars").text
    assert minted["session_id"] in page
    assert created["video_id"] in page


@pytest.mark.parametrize("name", ["liveavatar", "heygen"])
def test_the_faults_of_a_provider_are_set_where_all_are(stack: Stack, name: str) -> None:
    with stack.client() as client:
        endpoint = client.get("/local/endpoints").json()[name]
    path = {"liveavatar": "/v1/users/credits", "heygen": "/v3/users/me"}[name]
    headers = {"X-Api-Key": endpoint["api_key"]}
    with stack.faults({name: {"*": {"status": 503}}}):
        assert httpx.get(endpoint["url"] + path, headers=headers, trust_env=False).status_code == 503
    assert httpx.get(endpoint["url"] + path, headers=headers, trust_env=False).status_code == 200
