"""HeyGen's webhooks: signed over the raw body, repeated until they are taken, and in disorder on request.

https://developers.heygen.com/docs/webhooks; heygen-com/heygen-cli `gen/webhook.go`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.heygen import Studio, data, open_heygen, refusal


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    async with open_heygen(tmp_path_factory.mktemp("webhooks")) as studio:
        yield studio


@pytest.fixture
def studio(running: Studio) -> Studio:
    running.forget_everything()
    return running


async def test_a_finished_video_is_told_signed_over_the_raw_body(studio: Studio) -> None:
    endpoint = await studio.endpoint()
    assert endpoint["secret"].startswith("whsec_")
    video = await studio.make(callback_id="job-1", folder_id="f")
    [told] = await studio.receiver.get(1)
    assert told.is_signed_with(endpoint["secret"])
    assert not told.is_signed_with(endpoint["secret"].removeprefix("whsec_"))
    assert abs(int(told.headers["heygen-timestamp"]) - time.time()) < 60
    assert told.content["event_type"] == "avatar_video.success"
    event = told.content["event_data"]
    assert (event["video_id"], event["callback_id"], event["folder_id"]) == (video["id"], "job-1", "f")
    assert (await studio.stranger.get(event["url"])).status_code == 200
    assert {"gif_download_url", "video_page_url", "video_share_page_url"} <= event.keys()
    assert "<video" in (await studio.stranger.get(event["video_page_url"])).text


async def test_a_failed_video_is_told_with_its_reason(studio: Studio) -> None:
    await studio.endpoint()
    studio.faults.write({"heygen": {"render": {"status": 500, "says": "No light."}}})
    await studio.make(callback_id="job-1")
    [told] = await studio.receiver.get(1)
    assert told.content["event_type"] == "avatar_video.fail"
    event = told.content["event_data"]
    assert (event["callback_id"], event["failure_message"], event["msg"]) == ("job-1", "No light.", "No light.")


async def test_what_is_not_taken_is_sent_again_under_the_same_id(studio: Studio) -> None:
    await studio.endpoint()
    studio.receiver.status = 500
    await studio.make()
    await studio.receiver.get(2)
    studio.receiver.status = 204
    seen = len(studio.receiver.seen)
    await studio.receiver.get(seen + 1)
    await asyncio.sleep(0.5)
    assert len({told.event_id for told in studio.receiver.seen}) == 1
    assert len({told.body for told in studio.receiver.seen}) == 1
    settled = len(studio.receiver.seen)
    await asyncio.sleep(0.3)
    assert len(studio.receiver.seen) == settled


async def test_a_day_later_it_is_given_up(studio: Studio) -> None:
    await studio.endpoint()
    studio.receiver.status = 500
    await studio.make()
    await studio.receiver.get(1)
    studio.clock.ahead = 24 * 3600
    await asyncio.sleep(0.4)
    settled = len(studio.receiver.seen)
    studio.clock.ahead = 30 * 24 * 3600
    await asyncio.sleep(0.3)
    assert len(studio.receiver.seen) == settled


async def test_it_is_delivered_twice_on_request(studio: Studio) -> None:
    await studio.endpoint()
    studio.faults.write({"heygen": {"webhook": {"duplicate": True}}})
    await studio.make()
    first, second = await studio.receiver.get(2)
    assert (first.event_id, first.body) == (second.event_id, second.body)


async def test_a_delivery_whose_answer_is_lost_is_repeated(studio: Studio) -> None:
    await studio.endpoint()
    studio.faults.write({"heygen": {"webhook": {"lose_answer": True}}})
    await studio.make()
    await studio.receiver.get(2)
    studio.faults.write({})
    assert len({told.event_id for told in studio.receiver.seen}) == 1


async def test_they_come_newest_first_on_request(studio: Studio) -> None:
    await studio.endpoint()
    await studio.account(reorder_seconds=1.5)
    studio.faults.write({"heygen": {"webhook": {"reorder": True}}})
    made = [data(await studio.create())["video_id"] for _ in range(2)]
    told = await studio.receiver.get(2)
    assert [one.content["event_data"]["video_id"] for one in told] == made[::-1]


async def test_they_come_late_with_the_timestamp_of_when_they_were_sent(studio: Studio) -> None:
    await studio.endpoint()
    studio.faults.write({"heygen": {"webhook": {"delay_ms": 1200}}})
    await studio.make()
    [told] = await studio.receiver.get(1)
    assert time.time() - int(told.headers["heygen-timestamp"]) >= 1


async def test_an_old_one_can_be_sent_again_as_somebody_who_recorded_it_would(studio: Studio) -> None:
    endpoint = await studio.endpoint()
    await studio.make()
    [told] = await studio.receiver.get(1)
    wish = {"event_id": told.event_id, "age_seconds": 301}
    answer = await studio.client.post("/local/webhooks/redeliver", json=wish)
    assert answer.json() == {"answers": ["answered 200"]}
    old = (await studio.receiver.get(2))[1]
    assert (old.event_id, old.body) == (told.event_id, told.body)
    assert old.is_signed_with(endpoint["secret"])
    assert time.time() - int(old.headers["heygen-timestamp"]) >= 300
    assert refusal(await studio.client.post("/local/webhooks/redeliver", json=wish | {"event_id": "x"})) == (
        404, "event_not_found",
    )  # fmt: skip


async def test_a_rotated_secret_signs_at_once(studio: Studio) -> None:
    endpoint = await studio.endpoint()
    rotated = data(await studio.client.post(f"/v3/webhooks/endpoints/{endpoint['endpoint_id']}/rotate-secret"))
    await studio.make()
    [told] = await studio.receiver.get(1)
    assert told.is_signed_with(rotated["secret"])
    assert not told.is_signed_with(endpoint["secret"])


async def test_a_secret_is_told_once(studio: Studio) -> None:
    endpoint = await studio.endpoint()
    listed = (await studio.client.get("/v3/webhooks/endpoints")).json()
    assert [one["endpoint_id"] for one in listed["data"]] == [endpoint["endpoint_id"]]
    assert endpoint["secret"] not in str(listed)
    assert (listed["has_more"], listed["next_token"]) == (False, None)


async def test_an_endpoint_hears_what_it_asked_for_and_while_it_is_enabled(studio: Studio) -> None:
    endpoint = await studio.endpoint(events=["avatar_video.fail"])
    path = f"/v3/webhooks/endpoints/{endpoint['endpoint_id']}"
    await studio.make()
    changed = data(await studio.client.patch(path, json={"events": None}))
    assert changed["events"] is None
    heard = await studio.make()
    await studio.receiver.get(1)
    data(await studio.client.patch(path, json={"status": "disabled"}))
    await studio.make()
    data(await studio.client.delete(path))
    assert refusal(await studio.client.delete(path)) == (404, "webhook_endpoint_not_found")
    await asyncio.sleep(0.2)
    assert [told.content["event_data"]["video_id"] for told in studio.receiver.seen] == [heard["id"]]


@pytest.mark.parametrize(
    "wish", [{"url": "http://example.com/hook"}, {"url": "nonsense"}, {"url": "https://x.test", "events": ["a.b"]}]
)
async def test_an_endpoint_has_to_be_secure_and_its_events_known(studio: Studio, wish: dict[str, Any]) -> None:
    assert refusal(await studio.client.post("/v3/webhooks/endpoints", json=wish)) == (400, "invalid_parameter")
    assert (await studio.client.post("/v3/webhooks/endpoints", json={"url": "https://x.test/hook"})).status_code == 200


async def test_what_was_missed_is_read_from_the_events(studio: Studio) -> None:
    made = [(await studio.make())["id"] for _ in range(3)]
    page = (await studio.client.get("/v3/webhooks/events", params={"limit": 2})).json()
    assert [event["event_data"]["video_id"] for event in page["data"]] == [made[2], made[1]]
    rest = (await studio.client.get("/v3/webhooks/events", params={"token": page["next_token"]})).json()
    assert [event["event_data"]["video_id"] for event in rest["data"]] == [made[0]]
    one = (await studio.client.get("/v3/webhooks/events", params={"entity_id": made[1]})).json()["data"]
    assert [event["event_type"] for event in one] == ["avatar_video.success"]
    types = (await studio.client.get("/v3/webhooks/event-types")).json()["data"]
    assert {"event_type": "avatar_video.success"} in types


async def test_a_restart_sends_what_was_not_taken(tmp_path: Path) -> None:
    async with open_heygen(tmp_path) as first:
        first.receiver.status = 503
        endpoint = await first.endpoint()
        await first.account(webhook_retry_seconds=60)
        await first.make()
        [before] = await first.receiver.get(1)
    async with open_heygen(tmp_path) as second:
        path = f"/v3/webhooks/endpoints/{endpoint['endpoint_id']}"
        data(await second.client.patch(path, json={"url": second.receiver.base}))
        second.clock.ahead = 61
        [after] = await second.receiver.get(1)
    assert (after.event_id, after.body) == (before.event_id, before.body)
    assert after.is_signed_with(endpoint["secret"])


async def test_a_callback_is_called_without_a_signature(studio: Studio) -> None:
    video = await studio.make(callback_url=f"{studio.receiver.base}/callback")
    [told] = await studio.receiver.get(1)
    assert told.content["event_data"]["video_id"] == video["id"]
    assert "heygen-signature" not in told.headers
