"""The same key and payload get the first answer again, to the byte, on every route that creates or costs something.

Each POST of the interface is decided about here. One that takes a key has a recipe below, or a test of its own.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.http.discovery import ROOT, discover
from tests.support.recordings import recording, silence
from tests.support.stack import Stack
from tests.support.talk import SAYING, Talker, assert_problem

# Why a POST takes no key.
CREDENTIALS = "It answers with credentials, which are not kept; what it takes works once, or is a password."
ALWAYS_THE_SAME = "It answers the same in any case, and what it leaves replaces what it left before."
ENDS_ITSELF = "Doing it again changes nothing, and its token is dead after the first time."
IDEMPOTENT = "It sets a state; setting it again changes nothing."
OF_SOMEBODY_ELSE = "Whoever delivers has an id of its own for each delivery, which the inbox or the turn knows."
WITHOUT_KEY = {
    "/v1/auth/register": ALWAYS_THE_SAME,
    "/v1/auth/email/resend": ALWAYS_THE_SAME,
    "/v1/auth/password/forgot": ALWAYS_THE_SAME,
    "/v1/auth/email/verify": CREDENTIALS,
    "/v1/auth/login": CREDENTIALS,
    "/v1/auth/refresh": CREDENTIALS,
    "/v1/auth/password/reset": CREDENTIALS,
    "/v1/auth/password/change": CREDENTIALS,
    "/v1/auth/google/complete": CREDENTIALS,
    "/v1/connections/google/complete": CREDENTIALS,
    "/v1/connections/google/{service}": CREDENTIALS,
    "/v1/auth/logout": ENDS_ITSELF,
    "/v1/auth/logout-all": ENDS_ITSELF,
    "/v1/admin/schedules/{name}/run": OF_SOMEBODY_ELSE,
    "/v1/admin/schedules/{name}/pause": IDEMPOTENT,
    "/v1/admin/schedules/{name}/resume": IDEMPOTENT,
    "/v1/admin/users/{id}/suspend": IDEMPOTENT,
    "/v1/admin/users/{id}/restore": IDEMPOTENT,
    "/v1/avatars/live/v1/sessions/start": OF_SOMEBODY_ELSE,
    "/v1/avatars/live/v1/sessions/keep-alive": OF_SOMEBODY_ELSE,
    "/v1/avatars/live/v1/sessions/stop": OF_SOMEBODY_ELSE,
    "/v1/webhooks/heygen": OF_SOMEBODY_ELSE,
    "/v1/agent/tools/{tool}": OF_SOMEBODY_ELSE,
    "/tasks/{step}": OF_SOMEBODY_ELSE,
    "/schedules/deliver-outbox": OF_SOMEBODY_ELSE,
    "/schedules/purge": OF_SOMEBODY_ELSE,
    "/schedules/reap": OF_SOMEBODY_ELSE,
    "/schedules/seal-audit": OF_SOMEBODY_ELSE,
}
# Routes whose replays are proven where their stand-ins are: the path, and the file that proves it.
PROVEN_ELSEWHERE: Mapping[str, str] = {"/v1/admin/users/{id}/quota": "tests/journeys/test_avatar_quota.py"}

Change = Callable[["Request"], "Request"]


@dataclass
class Request:
    path: str
    options: dict[str, Any] = field(default_factory=dict)

    def with_json(self, **changes: Any) -> Request:
        return Request(self.path, {**self.options, "json": {**(self.options.get("json") or {}), **changes}})


@dataclass
class Recipe:
    """How to make a request of a route, how to make another of the same, and what of the first answer is not kept."""

    prepare: Callable[[Talker], Awaitable[Request]]
    change: Change
    kept: Callable[[httpx.Response], Any] = lambda answer: answer.content


async def said(talker: Talker) -> tuple[str, str]:
    """A session in which something was said, and its turn."""
    session = await talker.new_session()
    answer = await talker.turn_document(session, text=f"Tell me about whales. {SAYING}", speak="true")
    assert answer.status_code == 201, answer.text
    return session, answer.json()["turn_id"]


async def a_session(talker: Talker) -> Request:
    return Request("/v1/sessions", {"json": {"title": "Whales 🐋"}})


async def an_end(talker: Talker) -> Request:
    return Request(f"/v1/sessions/{await talker.new_session()}/end")


async def a_title(talker: Talker) -> Request:
    return Request(f"/v1/sessions/{(await said(talker))[0]}/title")


async def a_turn(talker: Talker) -> Request:
    options = {"json": {"text": f"Hello? {SAYING}"}, "params": {"speak": "true"}}
    return Request(f"/v1/sessions/{await talker.new_session()}/turns", options)


async def an_interruption(talker: Talker) -> Request:
    session, turn = await said(talker)
    return Request(f"/v1/sessions/{session}/turns/{turn}/interrupt", {"json": {"played_seq": 0, "played_ms": 100}})


async def a_transcription(talker: Talker) -> Request:
    data, content_type = recording("wav", 1.0)
    return Request("/v1/voice/transcriptions", {"content": data, "headers": {"Content-Type": content_type}})


async def a_speech(talker: Talker) -> Request:
    return Request("/v1/voice/speech", {"json": {"text": "Good evening.", "audio_format": "pcm"}})


async def a_message(talker: Talker) -> Request:
    email = f"stranger-{secrets.token_hex(6)}@oprina.test"
    return Request("/v1/contact", {"json": {"email": email, "subject": "Hello", "message": "How are you?"}})


def other_recording(request: Request) -> Request:
    data, _ = recording("wav", 1.5)
    return Request(request.path, {**request.options, "content": data})


def without_audio(answer: httpx.Response) -> Any:
    return answer.json() | {"audio": None}


def about_the_speech(answer: httpx.Response) -> Any:
    if answer.headers["content-type"] == "application/json":
        return answer.json()
    return {"audio": None, "mime": answer.headers["content-type"], "characters": len("Good evening.")}


RECIPES = {
    "/v1/sessions": Recipe(a_session, lambda request: request.with_json(title="Ants")),
    "/v1/sessions/{session_id}/end": Recipe(an_end, lambda request: request.with_json(x=1)),
    "/v1/sessions/{session_id}/title": Recipe(a_title, lambda request: request.with_json(x=1)),
    "/v1/sessions/{session_id}/turns": Recipe(
        a_turn, lambda request: request.with_json(text="Something else"), without_audio
    ),
    "/v1/sessions/{session_id}/turns/{turn_id}/interrupt": Recipe(
        an_interruption, lambda request: request.with_json(played_ms=200)
    ),
    "/v1/voice/transcriptions": Recipe(a_transcription, other_recording),
    "/v1/voice/speech": Recipe(a_speech, lambda request: request.with_json(text="Good night."), about_the_speech),
    "/v1/contact": Recipe(a_message, lambda request: request.with_json(message="And you?")),
}


def posts() -> dict[str, str]:
    """Every POST that is served, and what it does with a key."""
    return {
        operation.path: operation.idempotency
        for function in discover()
        for operation in function.operations
        if operation.method == "POST"
    }


async def send(talker: Talker, request: Request, key: str | None) -> httpx.Response:
    headers = {**request.options.get("headers", {}), **({"Idempotency-Key": key} if key else {})}
    return await talker.request("POST", request.path, **{**request.options, "headers": headers})


def test_every_post_is_decided_about() -> None:
    undecided = {path for path, key in posts().items() if key == "none"} - set(WITHOUT_KEY)
    assert undecided == set(), "let it take a key, or say in WITHOUT_KEY why it takes none"
    both = {path for path, key in posts().items() if key != "none"} & set(WITHOUT_KEY)
    assert both == set()


def test_every_post_that_takes_a_key_is_proven() -> None:
    taking = {path for path, key in posts().items() if key != "none"}
    assert taking - set(RECIPES) - set(PROVEN_ELSEWHERE) == set(), "write a recipe, or name the test that proves it"
    for file in PROVEN_ELSEWHERE.values():
        assert "idempotency-replayed" in (ROOT / file).read_text().lower()


@pytest.mark.parametrize("path", RECIPES)
async def test_the_same_key_and_payload_get_the_first_answer_again(talker: Talker, path: str) -> None:
    recipe, key = RECIPES[path], str(uuid4())
    request = await recipe.prepare(talker)
    first = await send(talker, request, key)
    assert first.status_code < 300, first.text
    assert "idempotency-replayed" not in first.headers
    again = [await send(talker, request, key) for _ in range(2)]
    for answer in again:
        assert answer.status_code == first.status_code
        assert answer.headers["idempotency-replayed"] == "true"
        assert recipe.kept(answer) == recipe.kept(first)
    assert again[0].content == again[1].content
    if recipe.kept is RECIPES["/v1/sessions"].kept:
        assert again[0].content == first.content
        assert again[0].headers["content-type"] == first.headers["content-type"]


@pytest.mark.parametrize("path", RECIPES)
async def test_the_same_key_with_another_payload_is_refused(talker: Talker, path: str) -> None:
    recipe, key = RECIPES[path], str(uuid4())
    request = await recipe.prepare(talker)
    await send(talker, request, key)
    assert_problem(await send(talker, recipe.change(request), key), 422, "idempotency_key_reused")


@pytest.mark.parametrize("path", RECIPES)
async def test_of_parallel_requests_with_one_key_one_does_the_work(talker: Talker, path: str) -> None:
    recipe, key = RECIPES[path], str(uuid4())
    request = await recipe.prepare(talker)
    answers = await asyncio.gather(*(send(talker, request, key) for _ in range(4)))
    done = [answer for answer in answers if answer.status_code < 300]
    assert sum("idempotency-replayed" not in answer.headers for answer in done) == 1
    for answer in answers:
        if answer not in done:
            assert_problem(answer, 409, "request_in_progress")
            assert int(answer.headers["retry-after"]) > 0
    assert all(recipe.kept(answer) == recipe.kept(done[0]) for answer in done)


@pytest.mark.parametrize(
    "path", [path for path, key in posts().items() if key == "required" and path not in PROVEN_ELSEWHERE]
)
async def test_a_key_that_is_required_is_asked_for(talker: Talker, path: str) -> None:
    request = await RECIPES[path].prepare(talker)
    assert_problem(await send(talker, request, None), 400, "idempotency_key_missing")


@pytest.mark.parametrize("key", ["", "x" * 256])
@pytest.mark.parametrize("path", RECIPES)
async def test_a_key_that_is_none_is_refused(talker: Talker, path: str, key: str) -> None:
    place = path.replace("{session_id}", str(uuid4())).replace("{turn_id}", str(uuid4()))
    answer = await talker.request("POST", place, headers={"Idempotency-Key": key}, json={})
    assert_problem(answer, 400, "idempotency_key_invalid")


# Voice: calls whose work is not in the database


async def ledger(talker: Talker) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = (await talker.request("GET", "/v1/users/me/usage")).json()["usage"]
    return lines


async def test_a_replay_costs_nothing_more(talker: Talker) -> None:
    speech, clip = await a_speech(talker), await a_transcription(talker)
    for request in (speech, clip):
        key = str(uuid4())
        for _ in range(3):
            await send(talker, request, key)
    assert {(line["kind"], line["events"]) for line in await ledger(talker)} == {("speaking", 1), ("hearing", 1)}


async def test_a_recording_in_which_nobody_speaks_is_heard_once(talker: Talker, stack: Stack) -> None:
    key, request = str(uuid4()), Request("/v1/voice/transcriptions")
    request.options = {"content": silence(1.0), "headers": {"Content-Type": "audio/wav"}}
    first = await send(talker, request, key)
    assert_problem(first, 422, "no_speech")
    stack.set_faults({"speech": {"Recognize": {"status": "UNAVAILABLE"}}})
    again = await send(talker, request, key)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


@pytest.mark.parametrize(
    ("prepare", "fault"),
    [
        (a_transcription, {"speech": {"Recognize": {"status": "UNAVAILABLE"}}}),
        (a_speech, {"texttospeech": {"StreamingSynthesize": {"status": "UNAVAILABLE"}}}),
    ],
    ids=["hearing", "speaking"],
)
async def test_a_call_that_failed_for_no_fault_of_its_own_may_be_made_again_with_its_key(
    talker: Talker, stack: Stack, prepare: Callable[[Talker], Awaitable[Request]], fault: dict[str, Any]
) -> None:
    key, request = str(uuid4()), await prepare(talker)
    with stack.faults(fault):
        assert (await send(talker, request, key)).status_code == 503
    healed = await send(talker, request, key)
    assert healed.status_code == 200
    assert "idempotency-replayed" not in healed.headers


async def test_an_upload_that_cannot_be_read_leaves_its_key_unused(talker: Talker) -> None:
    key, request = str(uuid4()), await a_transcription(talker)
    broken = Request(request.path, {**request.options, "content": b"RIFF nonsense"})
    assert_problem(await send(talker, broken, key), 422, "audio_unreadable")
    assert (await send(talker, request, key)).status_code == 200


async def test_a_listener_who_leaves_is_charged_and_may_ask_again_with_the_same_key(
    talker: Talker, stack: Stack
) -> None:
    key = str(uuid4())
    # More sound than fits between the two, so that it stands still until somebody listens.
    body = {"text": "This sentence has exactly seven spoken words. " * 50, "audio_format": "pcm"}
    headers = {**talker.headers, "Idempotency-Key": key}
    async with (
        httpx.AsyncClient(base_url=stack.base_url, trust_env=False) as client,
        client.stream("POST", "/v1/voice/speech", json=body, headers=headers) as answer,
    ):
        await anext(answer.aiter_bytes())
    for _ in range(100):
        if await ledger(talker):
            break
        await asyncio.sleep(0.1)
    (line,) = await ledger(talker)
    assert line["events"] == 1
    again = await send(talker, Request("/v1/voice/speech", {"json": body}), key)
    assert again.status_code == 200
    assert again.headers["content-type"].startswith("audio/pcm")


@pytest.mark.parametrize("lost", ["begin_call", "end_call"])
@pytest.mark.parametrize("prepare", [a_transcription, a_speech], ids=["hearing", "speaking"])
async def test_an_answer_of_the_database_that_is_lost_charges_once(
    talker: Talker, stack: Stack, prepare: Callable[[Talker], Awaitable[Request]], lost: str
) -> None:
    key, request = str(uuid4()), await prepare(talker)
    with stack.faults({"supabase": {lost: {"lose_answer": True}}}):
        first = await send(talker, request, key)
    again = await send(talker, request, key)
    if lost == "begin_call":
        assert_problem(first, 503, "database_unavailable")
        assert_problem(again, 409, "request_in_progress")
        assert await ledger(talker) == []
    else:
        assert first.status_code == 200
        assert again.headers["idempotency-replayed"] == "true"
        assert [line["events"] for line in await ledger(talker)] == [1]


async def test_a_title_is_given_again_although_the_session_is_gone(talker: Talker) -> None:
    request, key = await a_title(talker), str(uuid4())
    first = await send(talker, request, key)
    await talker.request("DELETE", request.path.removesuffix("/title"))
    again = await send(talker, request, key)
    assert (again.status_code, again.content) == (200, first.content)


async def test_a_spoken_turn_is_given_again_without_its_audio(talker: Talker) -> None:
    request, key = await a_turn(talker), str(uuid4())
    first = (await send(talker, request, key)).json()
    assert base64.b64decode(first["audio"]["data"])
    assert (await send(talker, request, key)).json()["audio"] is None
