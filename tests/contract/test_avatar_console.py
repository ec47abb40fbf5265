"""The console's page of the providers of avatars shows what they did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gateway import running_gateway
from tests.support.heygen import open_heygen
from tests.support.liveavatar import open_liveavatar

SCRIPT = "<script>alert(1)</script>"


async def test_the_page_is_there_before_anything_happened(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, [], {}) as gateway:
        page = await gateway.client.get("/local/avatars")
        assert page.status_code == 200
        assert "No sessions yet." in page.text
        assert "No videos yet." in page.text


async def test_the_page_shows_sessions_credits_videos_and_webhooks(tmp_path: Path) -> None:
    async with open_liveavatar(tmp_path) as provider, open_heygen(tmp_path) as studio:
        live = await provider.live()
        ended = await provider.live()
        await provider.stop(ended["session_id"], reason="AGENT_HANG_UP")
        await studio.endpoint()
        video = await studio.make(title=SCRIPT)
        await studio.receiver.get(1)
        async with running_gateway(tmp_path, [], {}) as gateway:
            page = (await gateway.client.get("/local/avatars")).text
    assert live["session_id"] in page
    assert "AGENT_HANG_UP" in page
    assert "998 credits left" in page
    assert video["id"] in page
    assert "avatar_video.success" in page
    assert SCRIPT not in page


@pytest.mark.parametrize("host", ["evil.example:80"])
async def test_the_page_is_for_this_machine_only(tmp_path: Path, host: str) -> None:
    async with running_gateway(tmp_path, [], {}) as gateway:
        assert (await gateway.client.get("/local/avatars", headers={"Host": host})).status_code == 403


async def test_the_fault_editor_offers_what_only_providers_do(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, [], {}) as gateway:
        form = {"standin": "heygen", "method": "webhook", "reorder": "on", "duplicate": "on"}
        assert (await gateway.client.post("/local/faults/edit", data=form)).status_code == 303
        asked = {"heygen": {"webhook": {"reorder": True, "duplicate": True}}}
        assert (await gateway.client.get("/local/faults")).json() == asked
        refused = await gateway.client.post("/local/faults/edit", data=form | {"standin": "google"})
        assert 'role="alert"' in refused.text
        assert (await gateway.client.get("/local/faults")).json() == asked
