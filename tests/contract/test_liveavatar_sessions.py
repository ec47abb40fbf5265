"""The stand-in for LiveAvatar over REST, driven as the vendors' own clients drive the provider.

Forms and rules: https://docs.liveavatar.com/openapi.json, the credits FAQ and the rate limits there, and what
@heygen/liveavatar-web-sdk, livekit-plugins-liveavatar and pipecat-ai send and expect.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local.faults import FaultBook
from local.liveavatar.account import read_sessions
from local.liveavatar.catalogue import AVATARS, WAYNE
from local.liveavatar.settings import Settings
from local.places import REPOSITORY
from tests.support.liveavatar import ANN, API_KEY, QUICK, Provider, bearer, open_liveavatar, refusal, succeeded


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Provider]:
    async with open_liveavatar(tmp_path_factory.mktemp("liveavatar")) as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.forget_everything()
    return running


# Tokens and starting


async def test_a_token_tells_the_sdk_its_mode(provider: Provider) -> None:
    minted = await provider.mint()
    header, payload, _ = minted["session_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["start_session_data"]["mode"] == "LITE"
    assert claims["session_id"] == minted["session_id"]
    assert header


async def test_a_start_names_a_websocket_and_no_room(provider: Provider) -> None:
    minted = await provider.mint(max_session_duration=90)
    started = succeeded(await provider.start(minted["session_token"]), 201)
    assert started["session_id"] == minted["session_id"]
    assert started["ws_url"].startswith(provider.base.replace("http", "ws"))
    assert not started["livekit_url"]
    assert not started["livekit_client_token"]
    assert started["max_session_duration"] == 90


async def test_the_longest_duration_is_the_plans(provider: Provider) -> None:
    started = await provider.live(max_session_duration=10**6)
    assert started["max_session_duration"] == QUICK.plan_seconds


async def test_a_token_starts_one_session_once(provider: Provider) -> None:
    minted = await provider.mint()
    answers = await asyncio.gather(*(provider.start(minted["session_token"]) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 5
    assert (await provider.listed("active"))["count"] == 1
    assert await provider.credits() == "999"
    await provider.stop(minted["session_id"])
    assert refusal(await provider.start(minted["session_token"])) == (400, 4000)


async def test_an_old_token_starts_nothing(provider: Provider) -> None:
    minted = await provider.mint()
    provider.clock.ahead = 3601
    assert refusal(await provider.start(minted["session_token"])) == (401, 4001)


@pytest.mark.parametrize("path", ["/v1/sessions/token", "/v1/sessions/stop", "/v1/sessions/keep-alive"])
@pytest.mark.parametrize("headers", [{}, {"X-API-KEY": "guessed"}, {"Authorization": "Bearer a.b.c"}])
async def test_nothing_opens_without_a_key_or_a_token(provider: Provider, path: str, headers: dict[str, str]) -> None:
    live = await provider.live()
    body = {"mode": "LITE", "avatar_id": ANN, "session_id": live["session_id"]}
    answer = await provider.stranger.post(path, json=body, headers=headers)
    assert refusal(answer) == (401, 4001)
    assert (await provider.listed("active"))["count"] == 1


async def test_the_key_does_not_start_a_session(provider: Provider) -> None:
    await provider.mint()
    assert refusal(await provider.client.post("/v1/sessions/start", json={})) == (401, 4001)


async def test_a_forged_token_is_refused(provider: Provider) -> None:
    header, payload, _ = (await provider.mint())["session_token"].split(".")
    assert refusal(await provider.start(f"{header}.{payload}.forged")) == (401, 4001)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"avatar_id": "nobody"}, ["body", "LITE", "avatar_id"]),
        ({"mode": "HEAVY"}, ["body"]),
        ({"max_session_duration": 0}, ["body", "LITE", "max_session_duration"]),
        ({"livekit_config": {"url": "wss://x", "token": "y"}}, ["body", "LITE", "livekit_config", "livekit_url"]),
        ({"video_settings": {"quality": "best"}}, ["body", "LITE", "video_settings", "quality"]),
    ],
)
async def test_a_wrong_wish_is_refused_field_by_field(
    provider: Provider, changes: dict[str, Any], where: list[str]
) -> None:
    answer = await provider.client.post("/v1/sessions/token", json={"mode": "LITE", "avatar_id": ANN} | changes)
    assert answer.status_code == 422
    problem = answer.json()["detail"][0]
    assert problem["loc"] == where
    assert {"loc", "msg", "type"} <= problem.keys()


@pytest.mark.parametrize("avatar_id", ["6072c6fd-ee21-43d9-bb04-a0a6f468aaaf", AVATARS[-1].id])
async def test_an_avatar_that_cannot_be_used_is_refused(provider: Provider, avatar_id: str) -> None:
    answer = await provider.client.post("/v1/sessions/token", json={"mode": "LITE", "avatar_id": avatar_id})
    assert refusal(answer) == (400, 4000)
    assert avatar_id in answer.json()["message"]


async def test_what_clients_send_beside_the_schema_passes(provider: Provider) -> None:
    room = {"livekit_url": "wss://x", "livekit_room": "r", "livekit_client_token": "t"}
    assert await provider.live(video_quality="high", livekit_config=room)


async def test_the_old_way_to_stop_is_gone(provider: Provider) -> None:
    assert (await provider.client.post("/v1/sessions")).status_code == 405
    assert refusal(await provider.client.get("/v1/nothing")) == (404, 4004)


# Slots


async def test_a_slot_is_freed_late(provider: Provider) -> None:
    await provider.account(concurrency=1)
    first, waiting = await provider.live(), await provider.mint()
    assert refusal(await provider.start(waiting["session_token"])) == (403, 4003)
    succeeded(await provider.stop(first["session_id"]))
    assert refusal(await provider.start(waiting["session_token"])) == (403, 4003)
    provider.clock.ahead += 2.1
    succeeded(await provider.start(waiting["session_token"]), 201)


async def test_of_simultaneous_starts_only_so_many_get_a_slot(provider: Provider) -> None:
    await provider.account(concurrency=3)
    minted = [await provider.mint() for _ in range(8)]
    answers = await asyncio.gather(*(provider.start(one["session_token"]) for one in minted))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [403] * 5
    assert await provider.credits() == "997"


# Keeping alive and stopping


async def test_a_session_that_nobody_keeps_alive_ends_after_five_minutes(provider: Provider) -> None:
    live = await provider.live()
    provider.clock.ahead = 299
    # The SDK sends the token and no body; a server the key and the id.
    kept = await provider.stranger.post("/v1/sessions/keep-alive", headers=bearer(live["session_token"]))
    succeeded(kept)
    provider.clock.ahead = 590
    assert "end_at" not in await provider.detail(live["session_id"])
    provider.clock.ahead = 700
    ended = await provider.detail(live["session_id"])
    assert (ended["end_reason"], ended["duration"]) == ("IDLE_TIMEOUT", 599)
    answer = await provider.client.post("/v1/sessions/keep-alive", json={"session_id": live["session_id"]})
    assert refusal(answer) == (404, 4004)


async def test_a_server_has_to_name_the_session(provider: Provider) -> None:
    await provider.live()
    for path in ("/v1/sessions/keep-alive", "/v1/sessions/stop"):
        assert refusal(await provider.client.post(path)) == (400, 4000)
        assert refusal(await provider.client.post(path, json={})) == (400, 4000)
    assert (await provider.client.post("/v1/sessions/stop", json={"session_id": "x"})).status_code == 422


async def test_a_session_is_stopped_once(provider: Provider) -> None:
    live = await provider.live()
    provider.clock.ahead = 61.5
    succeeded(await provider.stop(live["session_id"], reason="USER_DISCONNECTED"))
    assert refusal(await provider.stop(live["session_id"])) == (404, 4004)
    record = await provider.detail(live["session_id"])
    assert (record["end_reason"], record["duration"], record["credits_consumed"]) == ("USER_DISCONNECTED", 61, 2)
    wrong = await provider.stop((await provider.live())["session_id"], reason="BORED")
    assert wrong.status_code == 422


async def test_a_session_that_never_started_cannot_be_stopped(provider: Provider) -> None:
    minted = await provider.mint()
    assert refusal(await provider.stop(minted["session_id"])) == (404, 4004)
    assert (await provider.listed("active"))["count"] == 0
    assert (await provider.detail(minted["session_id"]))["duration"] == 0


# Credits


async def test_each_minute_is_paid_when_it_begins(provider: Provider) -> None:
    live = await provider.live()
    for seconds, left in ((0, "999"), (59, "999"), (61, "998"), (150, "997")):
        provider.clock.ahead = seconds
        assert await provider.credits() == left
    provider.clock.ahead = 179
    await provider.stop(live["session_id"])
    provider.clock.ahead = 600
    assert await provider.credits() == "997"


async def test_a_full_session_costs_twice_as_much(provider: Provider) -> None:
    live = await provider.live(mode="FULL", avatar_persona={"context_id": str(uuid4())})
    assert await provider.credits() == "998"
    assert live["ws_url"] is None


async def test_the_longest_duration_is_a_hard_cap_on_cost(provider: Provider) -> None:
    live = await provider.live(max_session_duration=120)
    provider.clock.ahead = 3000
    record = await provider.detail(live["session_id"])
    assert (record["end_reason"], record["duration"], record["credits_consumed"]) == ("MAX_DURATION_REACHED", 120, 2)
    assert await provider.credits() == "998"


async def test_without_credits_nothing_starts_and_what_runs_ends(provider: Provider) -> None:
    await provider.account(credits_left=1)
    live, waiting = await provider.live(), await provider.mint()
    assert refusal(await provider.start(waiting["session_token"])) == (402, 4002)
    provider.clock.ahead = 90
    record = await provider.detail(live["session_id"])
    assert (record["end_reason"], record["duration"], record["credits_consumed"]) == ("NO_CREDITS", 60, 1)
    await provider.account(credits_left=5)
    succeeded(await provider.start(waiting["session_token"]), 201)


async def test_the_sandbox_is_free_and_short_and_has_one_avatar(provider: Provider) -> None:
    live = await provider.live(avatar_id=WAYNE, is_sandbox=True, max_session_duration=600)
    assert live["max_session_duration"] == 60
    provider.clock.ahead = 100
    assert (await provider.detail(live["session_id"]))["end_reason"] == "MAX_DURATION_REACHED"
    assert await provider.credits() == "1000"
    body = {"mode": "LITE", "avatar_id": ANN, "is_sandbox": True}
    assert refusal(await provider.client.post("/v1/sessions/token", json=body)) == (400, 4000)


# Lists and records


async def test_the_historic_list_is_paged_newest_first(provider: Provider) -> None:
    ended = []
    for _ in range(5):
        live = await provider.live()
        await provider.stop(live["session_id"])
        ended.append(live["session_id"])
    await provider.live()
    seen: list[str] = []
    url: str | None = "/v1/sessions?type=historic&page_size=2"
    while url is not None:
        page = succeeded(await provider.client.get(url))
        assert page["count"] == 5
        seen += [entry["id"] for entry in page["results"]]
        url = page["next"]
    assert seen == ended[::-1]
    assert (await provider.listed("historic", page=2, page_size=2))["previous"].count("page=1")
    entry = (await provider.listed("historic", page_size=1))["results"][0]
    assert {"id", "created_at", "updated_at", "duration", "source", "mode", "is_sandbox", "credits_consumed"} <= (
        entry.keys()
    )
    assert (entry["end_reason"], entry["source"], entry["mode"]) == ("USER_CLOSED", "API", "LITE")


async def test_the_active_list_has_what_runs_and_filters_by_avatar(provider: Provider) -> None:
    live, other = await provider.live(), await provider.live(avatar_id=WAYNE)
    assert {entry["id"] for entry in (await provider.listed("active"))["results"]} == {
        live["session_id"],
        other["session_id"],
    }
    only = await provider.listed("active", avatar_id=WAYNE)
    assert [entry["id"] for entry in only["results"]] == [other["session_id"]]


@pytest.mark.parametrize("query", [{}, {"type": "all"}, {"type": "active", "page_size": 101}])
async def test_a_list_that_is_asked_for_wrongly_is_refused(provider: Provider, query: dict[str, Any]) -> None:
    assert (await provider.client.get("/v1/sessions", params=query)).status_code == 422


async def test_there_is_a_transcript_without_words(provider: Provider) -> None:
    live = await provider.live()
    answer = succeeded(await provider.client.get(f"/v1/sessions/{live['session_id']}/transcript"))
    assert (answer["session_active"], answer["transcript_data"]) == (True, [])
    assert refusal(await provider.client.get(f"/v1/sessions/{uuid4()}")) == (404, 4004)


async def test_avatars_and_voices_are_listed(provider: Provider) -> None:
    public = succeeded(await provider.stranger.get("/v1/avatars/public"))["results"]
    own = succeeded(await provider.client.get("/v1/avatars"))["results"]
    assert WAYNE in {entry["id"] for entry in public}
    assert not {entry["id"] for entry in public} & {entry["id"] for entry in own}
    picture = await provider.client.get(public[0]["preview_url"])
    assert picture.headers["content-type"] == "image/svg+xml"
    voices = succeeded(await provider.client.get("/v1/voices", params={"voice_type": "private"}))["results"]
    assert own[0]["default_voice"]["id"] in {entry["id"] for entry in voices}
    assert succeeded(await provider.client.get(f"/v1/avatars/{ANN}"))["name"] == "Ann"


# Limits and faults


async def test_a_second_has_so_many_requests_for_each_caller_and_endpoint(provider: Provider) -> None:
    await provider.account(rate_per_second=3)
    minted = await provider.mint()
    answers = await asyncio.gather(*(provider.client.get("/v1/users/credits") for _ in range(40)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 28 <= len(refused) <= 37
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"3"}
    assert refused[0].headers["x-ratelimit-remaining"] == "0"
    succeeded(await provider.start(minted["session_token"]), 201)
    await provider.account(rate_per_second=0)


@pytest.mark.parametrize(("status", "code"), [(403, 4003), (429, 4029), (500, 5000), (404, 4004), (402, 4002)])
async def test_a_start_fails_as_it_was_asked_to_and_leaves_the_token(
    provider: Provider, status: int, code: int
) -> None:
    minted = await provider.mint()
    provider.faults.write({"liveavatar": {"start": {"status": status}}})
    answer = await provider.start(minted["session_token"])
    assert refusal(answer) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 429)
    provider.faults.write({})
    succeeded(await provider.start(minted["session_token"]), 201)


async def test_a_start_whose_answer_is_lost_has_started(provider: Provider) -> None:
    minted = await provider.mint()
    provider.faults.write({"liveavatar": {"start": {"lose_answer": True}}})
    with pytest.raises(httpx.RemoteProtocolError):
        await provider.start(minted["session_token"])
    provider.faults.write({})
    assert [entry["id"] for entry in (await provider.listed("active"))["results"]] == [minted["session_id"]]
    assert refusal(await provider.start(minted["session_token"])) == (400, 4000)
    succeeded(await provider.stop(minted["session_id"]))


async def test_a_start_that_is_delivered_twice_tells_of_the_second(provider: Provider) -> None:
    minted = await provider.mint()
    provider.faults.write({"liveavatar": {"start": {"duplicate": True}}})
    assert refusal(await provider.start(minted["session_token"])) == (400, 4000)
    provider.faults.write({})
    assert (await provider.listed("active"))["count"] == 1
    assert await provider.credits() == "999"


async def test_it_can_answer_nonsense_or_not_at_all(provider: Provider) -> None:
    provider.faults.write({"liveavatar": {"token": {"nonsense": True}, "credits": {"silent": True}}})
    answer = await provider.client.post("/v1/sessions/token", json={"mode": "LITE", "avatar_id": ANN})
    assert answer.status_code == 200
    assert "json" not in answer.headers["content-type"]
    with pytest.raises(httpx.ReadTimeout):
        await provider.client.get("/v1/users/credits", timeout=0.3)


async def test_credits_can_run_out_on_request(provider: Provider) -> None:
    live = await provider.live()
    provider.faults.write({"liveavatar": {"charge": {"status": 402}}})
    provider.clock.ahead = 70
    assert (await provider.detail(live["session_id"]))["end_reason"] == "NO_CREDITS"
    waiting = await provider.mint()
    assert refusal(await provider.start(waiting["session_token"])) == (402, 4002)


def test_only_the_providers_can_forget_what_they_are(tmp_path: Path) -> None:
    book = FaultBook(tmp_path / "faults.json")
    book.write({"heygen": {"create": {"nonsense": True}}})
    for wrong in ("nonsense", "silent", "reorder"):
        with pytest.raises(ValueError, match=r"nonsense|out of order"):
            book.write({"google": {"token": {wrong: True}}})


# What lasts


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    async with open_liveavatar(tmp_path) as first:
        live, minted = await first.live(), await first.mint()
        await first.account(credits_left=7)
    async with open_liveavatar(tmp_path) as second:
        assert await second.credits() == "7"
        assert (await second.listed("active"))["results"][0]["id"] == live["session_id"]
        succeeded(await second.start(minted["session_token"]), 201)
        second.clock.ahead = 65
        succeeded(await second.stop(live["session_id"]))
        assert (await second.detail(live["session_id"]))["duration"] >= 65


async def test_what_ran_out_while_it_was_down_has_ended_in_time(tmp_path: Path) -> None:
    async with open_liveavatar(tmp_path) as first:
        live = await first.live(max_session_duration=100)
    async with open_liveavatar(tmp_path) as second:
        second.clock.ahead = 5000
        record = await second.detail(live["session_id"])
        assert (record["end_reason"], record["duration"]) == ("MAX_DURATION_REACHED", 100)


def test_a_kill_loses_no_session_that_was_answered_and_no_credit(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from local.faults import FaultBook
from local.liveavatar.account import Account
from local.liveavatar.settings import Settings
account = Account(Path(sys.argv[1]), Settings(concurrency=10_000), FaultBook(Path(sys.argv[1] + ".faults")), time.time)
while True:
    wish = {"avatar_id": "a", "context_id": None, "is_sandbox": False, "max_session_duration": None}
    session, _ = account.mint("LITE", wish)
    account.start(session)
    print(session.id, flush=True)
"""
    file = tmp_path / "liveavatar.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        answered = {process.stdout.readline().strip() for _ in range(25)}
        process.send_signal(signal.SIGKILL)
        answered |= {line.strip() for line in process.stdout if line.endswith("\n")}
    with contextlib.closing(sqlite3.connect(file)) as database:
        kept = {session.id: session for session in read_sessions(database, "where started_at is not null")}
        left = json.loads(database.execute("select value from account where name = 'credits_left'").fetchone()[0])
    assert answered <= kept.keys()
    assert left == 1000 - sum(session.credits_consumed for session in kept.values())
    assert file.stat().st_mode & 0o077 == 0


def test_the_account_is_read_from_the_environment() -> None:
    settings = Settings.from_environment({"LIVEAVATAR_CONCURRENCY": "2", "LIVEAVATAR_FIRST_CREDITS": "3"})
    assert (settings.concurrency, settings.first_credits) == (2, 3)
    with pytest.raises(ValueError, match="concurrency"):
        Settings.from_environment({"LIVEAVATAR_CONCURRENCY": "many"})


async def test_a_page_of_any_origin_may_call_with_credentials(provider: Provider) -> None:
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,content-type"
    preflight = await provider.client.options("/v1/sessions/start", headers=asked)
    assert preflight.headers["access-control-allow-origin"] == "https://page.example"
    assert preflight.headers["access-control-allow-credentials"] == "true"
    assert API_KEY not in preflight.text
