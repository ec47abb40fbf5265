"""The stand-in for HeyGen's videos of version 3, driven as its own command line drives the provider.

Forms and rules: heygen-com/heygen-cli `gen/video.go` and `gen/asset.go`; usage limits, idempotency and error codes on
developers.heygen.com.
"""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import httpx
import pytest

from local.heygen.settings import Settings
from local.heygen.voice import RATE, SpokenVoice
from local.speech.hearing import ScriptedEar
from local.speech.server import Engines
from local.speech.speaking import ScriptedMouth
from tests.support.gateway import free_socket, served
from tests.support.heygen import QUICK, SCRIPT, Studio, data, open_heygen, refusal
from tests.support.speech import running_speech


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    async with open_heygen(tmp_path_factory.mktemp("heygen")) as studio:
        yield studio


@pytest.fixture
def studio(running: Studio) -> Studio:
    running.forget_everything()
    return running


def silence(seconds: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(round(seconds * 16_000) * 2))
    return file.getvalue()


# Making a video


async def test_a_video_is_submitted_watched_and_played(studio: Studio) -> None:
    await studio.account(render_seconds=0.4)
    created = data(await studio.create(title="Hello", callback_id="job-1"))
    assert (created["status"], created["output_format"]) == ("waiting", "mp4")
    states = {(await studio.video(created["video_id"]))["status"]}
    video = await studio.finished(created["video_id"])
    assert states <= {"pending", "processing"}
    assert (video["status"], video["title"], video["callback_id"]) == ("completed", "Hello", "job-1")
    file = await studio.stranger.get(video["video_url"])
    assert file.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(file.content), "r") as container:
        assert {stream.type: stream.codec_context.name for stream in container.streams} == {
            "video": "h264", "audio": "aac",
        }  # fmt: skip
        pictures = list(container.decode(video=0))
        assert len(pictures) / 12 == pytest.approx(video["duration"], abs=0.1)
    assert video["duration"] == pytest.approx(len(SCRIPT) * 0.06, abs=0.15)


@pytest.mark.parametrize(
    ("asked", "kind", "size"),
    [
        ({"aspect_ratio": "9:16"}, "video/mp4", (270, 480)),
        ({"output_format": "webm", "remove_background": True, "aspect_ratio": "1:1"}, "video/webm", (320, 320)),
    ],
)
async def test_it_has_the_shape_and_the_form_that_were_asked_for(
    studio: Studio, asked: dict[str, Any], kind: str, size: tuple[int, int]
) -> None:
    video = await studio.make(**asked)
    file = await studio.stranger.get(video["video_url"])
    assert file.headers["content-type"] == kind
    with av.open(io.BytesIO(file.content), "r") as container:
        picture = next(container.decode(video=0))
        assert (picture.width, picture.height) == size


async def test_the_background_is_the_one_that_was_asked_for(studio: Studio) -> None:
    video = await studio.make(background={"type": "color", "value": "#00FF00"})
    with av.open(io.BytesIO((await studio.stranger.get(video["video_url"])).content), "r") as container:
        red, green, blue = next(container.decode(video=0)).to_ndarray(format="rgb24")[2, 2]
    assert green > 200
    assert max(red, blue) < 80


async def test_pictures_and_captions_come_with_it(studio: Studio) -> None:
    video = await studio.make(script="One sentence. Another one!", caption={"file_format": "srt"})
    thumbnail = await studio.stranger.get(video["thumbnail_url"])
    assert thumbnail.content.startswith(b"\xff\xd8")
    assert (await studio.stranger.get(video["gif_url"])).content.startswith(b"GIF8")
    words = (await studio.stranger.get(video["subtitle_url"])).text
    assert "00:00:00,000 --> " in words
    assert [line for line in words.splitlines() if "n" in line] == ["One sentence", "Another one"]
    assert (await studio.make())["subtitle_url"] is None


async def test_links_expire_and_asking_again_gives_fresh_ones(studio: Studio) -> None:
    video = await studio.make()
    assert (await studio.stranger.get(video["video_url"])).status_code == 200
    studio.clock.ahead = QUICK.link_seconds + 1
    assert (await studio.stranger.get(video["video_url"])).status_code == 403
    fresh = (await studio.video(video["id"]))["video_url"]
    assert fresh != video["video_url"]
    assert (await studio.stranger.get(fresh)).status_code == 200


async def test_a_link_opens_its_own_file_only(studio: Studio) -> None:
    video, other = await studio.make(), await studio.make()
    parts = urlsplit(video["video_url"])
    for path in (parts.path.replace(video["id"], other["id"]), parts.path.replace("video.mp4", "thumbnail.jpg")):
        assert (await studio.stranger.get(f"{path}?{parts.query}")).status_code == 403
    assert (await studio.stranger.get(parts.path)).status_code == 403
    part = await studio.stranger.get(video["video_url"], headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)


async def test_sound_that_is_there_already_is_used(studio: Studio) -> None:
    files = {"file": ("talk.wav", silence(1.5), "audio/wav")}
    asset = data(await studio.client.post("/v3/assets", files=files))
    assert (asset["mime_type"], asset["size_bytes"]) == ("audio/wav", len(silence(1.5)))
    video = await studio.make(script=None, audio_asset_id=asset["asset_id"])
    assert video["duration"] == pytest.approx(1.5, abs=0.1)
    assert data(await studio.client.delete(f"/v3/assets/{asset['asset_id']}"))["deleted"]
    assert refusal(await studio.create(script=None, audio_asset_id=asset["asset_id"])) == (404, "asset_not_found")


async def test_sound_is_fetched_from_its_address(studio: Studio) -> None:
    async def sound(scope: Any, receive: Any, send: Any) -> None:
        status = 200 if scope["path"] == "/talk.wav" else 404
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": silence(1)})

    async with served(sound, free_socket()) as base:
        video = await studio.make(script=None, audio_url=f"{base}/talk.wav?signature=x")
        assert video["duration"] == pytest.approx(1, abs=0.1)
        missing = await studio.create(script=None, audio_url=f"{base}/missing.wav")
        assert refusal(missing) == (400, "download_failed")
    assert refusal(await studio.create(script=None, audio_url=f"{base}/talk.wav")) == (400, "download_failed")
    assert refusal(await studio.create(script=None, audio_url=f"{base}/talk")) == (400, "invalid_parameter")


async def test_a_script_is_spoken_by_the_houses_own_voice(tmp_path: Path) -> None:
    async with running_speech(Engines(ScriptedEar(0, "", {}), ScriptedMouth(0)), tmp_path) as speech:
        voice = SpokenVoice(f"http://127.0.0.1:{speech.port}")
        sound = await voice.speak(SCRIPT, 1)
        await voice.close()
    assert len(sound) / RATE == pytest.approx(len(SCRIPT) * 0.06, abs=0.1)
    assert abs(sound).max() > 1000


async def test_a_voice_that_is_away_fails_the_video(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = SpokenVoice("http://127.0.0.1:1")
    monkeypatch.setattr(studio.made.works, "_voice", voice)
    video = await studio.make()
    await voice.close()
    assert (video["status"], video["failure_code"]) == ("failed", "voice_provider_error")


async def test_what_is_no_sound_fails_the_video(studio: Studio) -> None:
    files = {"file": ("talk.wav", b"RIFFnothing", "audio/wav")}
    asset = data(await studio.client.post("/v3/assets", files=files))
    video = await studio.make(script=None, audio_asset_id=asset["asset_id"])
    assert (video["status"], video["failure_code"]) == ("failed", "download_failed")
    assert refusal(await studio.client.post("/v3/assets", files={"file": ("a.exe", b"x")})) == (
        400, "invalid_parameter",
    )  # fmt: skip


# Refusals


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"script": "x" * 5001}, (400, "invalid_parameter", "script")),
        ({"script": None}, (400, "invalid_parameter", None)),
        ({"audio_asset_id": "a"}, (400, "invalid_parameter", None)),
        ({"type": "hologram"}, (400, "invalid_parameter", "type")),
        ({"avatar_id": "nobody"}, (404, "avatar_not_found", None)),
        ({"voice_id": "nobody"}, (400, "voice_unavailable", "voice_id")),
        ({"avatar_id": "lucia-photo"}, (400, "voice_unavailable", "voice_id")),
        ({"avatar_id": "marcus-stock"}, (400, "avatar_not_usable", "engine")),
        ({"voice_settings": {"speed": 2}}, (400, "invalid_parameter", "voice_settings.speed")),
        ({"output_format": "webm"}, (400, "invalid_parameter", None)),
    ],
)
async def test_a_wrong_wish_is_refused_in_the_providers_words(
    studio: Studio, asked: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    answer = await studio.create(**asked)
    assert refusal(answer) == expected[:2]
    assert answer.json()["error"].get("param") == expected[2]
    assert answer.headers["x-request-id"]
    assert (await studio.client.get("/v3/videos")).json()["data"] == []


async def test_an_engine_has_to_be_named_where_the_default_does_not_fit(studio: Studio) -> None:
    assert (await studio.make(avatar_id="marcus-stock", engine={"type": "avatar_iii"}))["status"] == "completed"


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "guessed"}])
async def test_nothing_opens_without_the_key(studio: Studio, headers: dict[str, str]) -> None:
    for path in ("/v3/videos", "/v3/users/me", "/v3/webhooks/endpoints", "/local/account"):
        assert refusal(await studio.stranger.get(path, headers=headers)) == (401, "unauthorized")
    assert refusal(await studio.stranger.post("/v3/videos", json={}, headers=headers)) == (401, "unauthorized")


async def test_only_so_many_are_made_at_once(studio: Studio) -> None:
    await studio.account(concurrency=2, render_seconds=0.6)
    answers = await asyncio.gather(*(studio.create() for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refusal(refused) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    for answer in answers:
        if answer.status_code == 200:
            await studio.finished(data(answer)["video_id"])
    assert (await studio.create()).status_code == 200


async def test_what_is_made_is_paid_for_and_what_fails_is_not(studio: Studio) -> None:
    before = data(await studio.client.get("/v3/users/me"))["wallet"]["remaining_balance"]
    video = await studio.make()
    after = data(await studio.client.get("/v3/users/me"))["wallet"]["remaining_balance"]
    assert before - after == pytest.approx(video["duration"] * 0.0667, abs=0.001)
    studio.faults.write({"heygen": {"render": {"status": 500, "says": "The studio burned down."}}})
    failed = await studio.make()
    assert (failed["status"], failed["failure_message"]) == ("failed", "The studio burned down.")
    assert failed["video_url"] is None
    assert data(await studio.client.get("/v3/users/me"))["wallet"]["remaining_balance"] == after
    await studio.account(balance_micros=0)
    assert refusal(await studio.create()) == (402, "insufficient_credit")


# The same key


async def test_the_same_key_gives_the_same_answer_for_a_day(studio: Studio) -> None:
    first = await studio.create("job-1")
    again = await studio.create("job-1", script="Something else entirely.")
    assert first.json() == again.json()
    assert (await studio.create("job-2")).json() != first.json()
    assert len((await studio.client.get("/v3/videos")).json()["data"]) == 2
    studio.clock.ahead = 24 * 3600 + 1
    assert (await studio.create("job-1")).json() != first.json()


async def test_a_key_that_is_being_answered_is_refused(studio: Studio) -> None:
    studio.faults.write({"heygen": {"create": {"delay_ms": 1000}}})
    first = asyncio.create_task(studio.create("job-1"))
    await asyncio.sleep(0.4)
    assert refusal(await studio.create("job-1")) == (409, "request_in_progress")
    answered = await first
    studio.faults.write({})
    assert (await studio.create("job-1")).json() == answered.json()


async def test_after_a_lost_answer_the_key_finds_what_was_done(studio: Studio) -> None:
    studio.faults.write({"heygen": {"create": {"lose_answer": True}}})
    with pytest.raises(httpx.RemoteProtocolError):
        await studio.create("job-1")
    studio.faults.write({"heygen": {"create": {"duplicate": True}}})
    found = data(await studio.create("job-1"))
    listed = (await studio.client.get("/v3/videos")).json()["data"]
    assert [video["id"] for video in listed] == [found["video_id"]]


async def test_after_a_refusal_the_key_may_be_tried_again(studio: Studio) -> None:
    await studio.account(balance_micros=0)
    assert (await studio.create("job-1")).status_code == 402
    await studio.account(balance_micros=1_000_000)
    assert (await studio.create("job-1")).status_code == 200
    for key in ("a b", "x" * 256):
        assert refusal(await studio.create(key)) == (400, "invalid_parameter")


# Lists, batches, the end


async def test_the_list_is_paged_and_filtered(studio: Studio) -> None:
    made = [data(await studio.create(title=f"Part {number}"))["video_id"] for number in range(5)]
    seen: list[str] = []
    token: str | None = None
    while True:
        page = (await studio.client.get("/v3/videos", params={"limit": 2} | ({"token": token} if token else {}))).json()
        seen += [video["id"] for video in page["data"]]
        token = page["next_token"]
        if not page["has_more"]:
            break
    assert seen == made[::-1]
    found = (await studio.client.get("/v3/videos", params={"title": "part 3"})).json()["data"]
    assert [video["id"] for video in found] == [made[3]]
    for wrong in ({"limit": 101}, {"token": "nonsense"}):
        assert refusal(await studio.client.get("/v3/videos", params=wrong)) == (400, "invalid_parameter")


async def test_many_are_asked_after_at_once(studio: Studio) -> None:
    made = [data(await studio.create())["video_id"] for _ in range(3)]
    for given in (",".join([*made, "nobody"]), [*made, "nobody"]):
        answer = (await studio.client.get("/v3/videos/statuses", params={"video_ids": given})).json()
        assert [video["id"] for video in answer["data"]] == made
        assert answer["not_found"] == ["nobody"]
    assert refusal(await studio.client.get("/v3/videos/statuses")) == (400, "invalid_parameter")
    too_many = ",".join(str(number) for number in range(101))
    answer = await studio.client.get("/v3/videos/statuses", params={"video_ids": too_many})
    assert refusal(answer) == (400, "invalid_parameter")


async def test_a_batch_is_made_as_there_is_room_and_ends_once(studio: Studio) -> None:
    await studio.account(concurrency=2)
    await studio.endpoint(events=["batch.finished"])
    wish = {"type": "avatar", "avatar_id": "anna-studio", "script": SCRIPT}
    videos = [wish, wish | {"avatar_id": "nobody"}, wish, wish | {"script": ""}, wish]
    batch_id = data(await studio.client.post("/v3/videos/batches", json={"videos": videos}))["batch_id"]
    [told] = await studio.receiver.get(1)
    batch = data(await studio.client.get(f"/v3/videos/batches/{batch_id}"))
    assert (batch["status"], batch["total_items"]) == ("completed", 5)
    assert batch["counts_by_status"] == {"queued": 0, "processing": 0, "completed": 3, "failed": 2}
    assert [item["error"]["code"] for item in batch["items"] if "error" in item] == [
        "avatar_not_found", "invalid_parameter",
    ]  # fmt: skip
    assert told.content["event_data"]["batch_id"] == batch_id
    answer = (await studio.client.get("/v3/videos/statuses", params={"batch_ids": batch_id})).json()
    assert len(answer["data"]) == 3
    assert refusal(await studio.client.get("/v3/videos/batches/nobody")) == (404, "batch_not_found")
    assert refusal(await studio.client.post("/v3/videos/batches", json={"videos": []})) == (400, "invalid_parameter")


async def test_a_deleted_video_is_gone_with_its_files(studio: Studio) -> None:
    video = await studio.make()
    assert data(await studio.client.delete(f"/v3/videos/{video['id']}")) == {"id": video["id"], "deleted": True}
    assert refusal(await studio.client.get(f"/v3/videos/{video['id']}")) == (404, "video_not_found")
    assert refusal(await studio.client.delete(f"/v3/videos/{video['id']}")) == (404, "video_not_found")
    assert (await studio.stranger.get(video["video_url"])).status_code == 404


async def test_a_video_deleted_while_it_is_made_is_not_told_of(studio: Studio) -> None:
    await studio.endpoint()
    studio.faults.write({"heygen": {"render": {"delay_ms": 200}}})
    video_id = data(await studio.create())["video_id"]
    await asyncio.sleep(0.1)
    await studio.client.delete(f"/v3/videos/{video_id}")
    studio.faults.write({})
    await studio.make()
    [told] = await studio.receiver.get(1)
    assert told.content["event_data"]["video_id"] != video_id


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "invalid_parameter"), (402, "insufficient_credit"), (429, "rate_limit_exceeded"), (500, "internal_error"),
     (503, "service_unavailable")],
)  # fmt: skip
async def test_a_call_fails_as_it_was_asked_to(studio: Studio, status: int, code: str) -> None:
    studio.faults.write({"heygen": {"create": {"status": status}}})
    answer = await studio.create("job-1")
    assert refusal(answer) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 429)
    studio.faults.write({})
    assert (await studio.create("job-1")).status_code == 200


async def test_it_can_answer_nonsense_or_not_at_all(studio: Studio) -> None:
    studio.faults.write({"heygen": {"create": {"nonsense": True}, "statuses": {"silent": True}}})
    answer = await studio.create()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    with pytest.raises(httpx.ReadTimeout):
        await studio.client.get("/v3/videos/statuses", params={"video_ids": "x"}, timeout=0.3)


# What lasts


async def test_a_restart_goes_on_with_what_was_begun(tmp_path: Path) -> None:
    async with open_heygen(tmp_path) as first:
        await first.account(render_seconds=30)
        kept = await first.create("job-1")
        done = await first.client.get("/v3/users/me")
    async with open_heygen(tmp_path) as second:
        assert (await second.create("job-1")).json() == kept.json()
        assert (await second.video(data(kept)["video_id"]))["status"] in {"pending", "processing"}
        second.clock.ahead = 31
        assert (await second.finished(data(kept)["video_id"]))["status"] == "completed"
        assert done.status_code == 200


def test_the_account_is_read_from_the_environment() -> None:
    assert Settings.from_environment({"HEYGEN_CONCURRENCY": "3"}).concurrency == 3
    with pytest.raises(ValueError, match="render_seconds"):
        Settings.from_environment({"HEYGEN_RENDER_SECONDS": "long"})
