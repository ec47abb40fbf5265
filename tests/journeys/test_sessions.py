"""A person's conversations over the real functions and a real database."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.backend import Backend, Person
from tests.support.database import Database

SESSION_MEMBERS = {
    "id", "title", "title_source", "status", "message_count", "turn_count", "created_at", "updated_at",
    "last_activity_at", "ended_at",
}  # fmt: skip


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["code"] == code
    return document


class Sessions:
    """One person's view of the endpoints."""

    def __init__(self, backend: Backend, person: Person) -> None:
        self.client, self.headers = backend.client, person.headers

    async def create(self, title: str | None = None, **headers: str) -> dict[str, Any]:
        answer = await self.client.post("/v1/sessions", json={"title": title}, headers=self.headers | headers)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        return await self.client.get(f"/v1/sessions{path}", params=parameters, headers=self.headers)

    async def everything(self, path: str = "", **parameters: Any) -> list[dict[str, Any]]:
        """All pages of a list."""
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            answer = await self.get(path, **parameters, **({"cursor": cursor} if cursor else {}))
            assert answer.status_code == 200, answer.text
            items += answer.json()["items"]
            cursor = answer.json()["next_cursor"]
            if cursor is None:
                return items


@pytest.fixture
async def ada(backend: Backend) -> Sessions:
    return Sessions(backend, await backend.register_person())


@pytest.fixture
async def mallory(backend: Backend) -> Sessions:
    return Sessions(backend, await backend.register_person())


async def say(
    database: Database, session_id: str, position: int, text: str, role: str = "user", kind: str = "text"
) -> None:
    """Put a message into a session, as a turn would."""
    changed = await database.execute(
        "insert into public.messages (id, session_id, user_id, role, kind, text, state, position)"
        " select %s, id, user_id, %s, %s, %s, 'complete', %s from public.sessions where id = %s",
        str(uuid4()), role, kind, text, position, session_id,
    )  # fmt: skip
    assert changed == 1


# Creating


async def test_a_session_is_created_and_found(ada: Sessions) -> None:
    created = await ada.create("Whales")
    assert set(created) == SESSION_MEMBERS
    assert (created["title"], created["title_source"], created["status"]) == ("Whales", "person", "active")
    assert (created["message_count"], created["turn_count"], created["ended_at"]) == (0, 0, None)
    assert (await ada.get(f"/{created['id']}")).json() == created


async def test_a_session_may_begin_without_saying_anything_about_it(ada: Sessions) -> None:
    answer = await ada.client.post("/v1/sessions", headers=ada.headers)
    assert answer.status_code == 201
    assert answer.json()["title_source"] == "default"
    assert answer.json()["title"]


async def test_the_same_key_gives_the_first_answer_byte_for_byte(ada: Sessions) -> None:
    headers = ada.headers | {"Idempotency-Key": "a-key"}
    first = await ada.client.post("/v1/sessions", json={"title": "Büchér 🐋"}, headers=headers)
    again = await ada.client.post(
        "/v1/sessions",
        content='{ "title" :  "Büchér 🐋" }'.encode(),
        headers=headers | {"Content-Type": "application/json; charset=utf-8"},
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert [item["id"] for item in await ada.everything()] == [first.json()["id"]]


async def test_the_same_key_for_something_else_is_refused(ada: Sessions) -> None:
    headers = ada.headers | {"Idempotency-Key": "a-key"}
    await ada.client.post("/v1/sessions", json={"title": "One"}, headers=headers)
    answer = await ada.client.post("/v1/sessions", json={"title": "Two"}, headers=headers)
    assert_problem(answer, 422, "idempotency_key_reused")
    assert [item["title"] for item in await ada.everything()] == ["One"]


async def test_simultaneous_requests_with_one_key_create_one_session(ada: Sessions) -> None:
    headers = ada.headers | {"Idempotency-Key": "a-key"}
    answers = await asyncio.gather(
        *(ada.client.post("/v1/sessions", json={"title": "One"}, headers=headers) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert len(await ada.everything()) == 1


async def test_a_key_belongs_to_its_person(ada: Sessions, mallory: Sessions) -> None:
    hers = await ada.create("Hers", **{"Idempotency-Key": "a-key"})
    his = await mallory.create("His", **{"Idempotency-Key": "a-key"})
    assert hers["id"] != his["id"]


async def test_a_request_that_was_refused_leaves_its_key_free(ada: Sessions) -> None:
    headers = ada.headers | {"Idempotency-Key": "a-key"}
    refused = await ada.client.post("/v1/sessions", json={"title": ""}, headers=headers)
    assert_problem(refused, 422, "validation_failed")
    assert (await ada.create("Now", **{"Idempotency-Key": "a-key"}))["title"] == "Now"


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_has_1_to_255_characters(ada: Sessions, key: str) -> None:
    answer = await ada.client.post("/v1/sessions", json={}, headers=ada.headers | {"Idempotency-Key": key})
    assert_problem(answer, 400, "idempotency_key_invalid")


# Changing, ending, removing


async def test_a_session_is_renamed(ada: Sessions) -> None:
    created = await ada.create("Whales")
    answer = await ada.client.patch(f"/v1/sessions/{created['id']}", json={"title": "  Dolphins "}, headers=ada.headers)
    assert answer.status_code == 200
    assert (answer.json()["title"], answer.json()["title_source"]) == ("Dolphins", "person")


@pytest.mark.parametrize("body", [{}, {"title": ""}, {"title": "   "}, {"title": "x" * 201}, {"title": None},
                                  {"title": "two\nlines"}, {"title": "a", "status": "ended"}])  # fmt: skip
async def test_what_is_no_title_is_refused(ada: Sessions, body: dict[str, Any]) -> None:
    created = await ada.create("Whales")
    answer = await ada.client.patch(f"/v1/sessions/{created['id']}", json=body, headers=ada.headers)
    assert_problem(answer, 422, "validation_failed")
    assert (await ada.get(f"/{created['id']}")).json() == created


async def test_a_session_ends_once_and_stays_readable(ada: Sessions) -> None:
    created = await ada.create("Whales")
    first = await ada.client.post(f"/v1/sessions/{created['id']}/end", headers=ada.headers)
    again = await ada.client.post(f"/v1/sessions/{created['id']}/end", headers=ada.headers)
    assert (first.status_code, first.json()["status"]) == (200, "ended")
    assert first.json()["ended_at"] is not None
    assert again.json()["ended_at"] == first.json()["ended_at"]
    assert (await ada.get(f"/{created['id']}")).json()["status"] == "ended"


async def test_a_removed_session_is_gone_with_everything_said_in_it(ada: Sessions, database: Database) -> None:
    created = await ada.create("Whales")
    await say(database, created["id"], 1, "Tell me about whales")
    answer = await ada.client.delete(f"/v1/sessions/{created['id']}", headers=ada.headers)
    assert (answer.status_code, answer.content) == (204, b"")

    assert_problem(await ada.get(f"/{created['id']}"), 404, "not_found")
    assert_problem(await ada.get(f"/{created['id']}/messages"), 404, "not_found")
    assert_problem(await ada.client.delete(f"/v1/sessions/{created['id']}", headers=ada.headers), 404, "not_found")
    assert await ada.everything() == []
    left = await database.fetch("select count(*) from public.messages where session_id = %s", created["id"])
    assert left == [(0,)]


async def test_a_title_is_made_again_from_what_was_said(ada: Sessions, database: Database) -> None:
    created = await ada.create("Whales")
    await say(database, created["id"], 1, "Hi, can you please book a flight to Paris?", kind="voice")
    await say(database, created["id"], 2, "Of course.", role="assistant")
    await say(database, created["id"], 3, "On Monday")
    answer = await ada.client.post(f"/v1/sessions/{created['id']}/title", headers=ada.headers)
    assert answer.status_code == 200
    assert answer.json()["title"] == "Book a flight to Paris?"
    assert answer.json()["title_source"] == "turn"


async def test_where_nothing_was_said_there_is_no_title_to_make(ada: Sessions) -> None:
    created = await ada.create("Whales")
    answer = await ada.client.post(f"/v1/sessions/{created['id']}/title", headers=ada.headers)
    assert_problem(answer, 409, "nothing_said")
    assert (await ada.get(f"/{created['id']}")).json()["title"] == "Whales"


# Lists


async def test_pages_hold_every_session_once_newest_activity_first(ada: Sessions) -> None:
    made = [(await ada.create(f"Session {number}"))["id"] for number in range(7)]
    listed = await ada.everything(limit=3)
    assert [item["id"] for item in listed] == made[::-1]


async def test_paging_neither_repeats_nor_skips_while_sessions_are_created(ada: Sessions) -> None:
    made = [(await ada.create(f"Session {number}"))["id"] for number in range(9)]
    seen: list[str] = []
    cursor, extra = None, 0
    while True:
        answer = (await ada.get("", limit=2, **({"cursor": cursor} if cursor else {}))).json()
        seen += [item["id"] for item in answer["items"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
        await asyncio.gather(*(ada.create(f"Meanwhile {extra + number}") for number in range(2)))
        extra += 2
    assert len(seen) == len(set(seen))
    assert [item for item in seen if item in set(made)] == made[::-1]


async def test_a_page_that_ends_exactly_says_that_nothing_follows(ada: Sessions) -> None:
    for number in range(2):
        await ada.create(f"Session {number}")
    answer = (await ada.get("", limit=2)).json()
    assert (len(answer["items"]), answer["next_cursor"]) == (2, None)


@pytest.mark.parametrize("parameters", [{"limit": 0}, {"limit": 101}, {"limit": "all"}, {"status": "deleted"},
                                        {"q": "x" * 201}])  # fmt: skip
async def test_a_list_refuses_what_it_cannot_do(ada: Sessions, parameters: dict[str, Any]) -> None:
    assert_problem(await ada.get("", **parameters), 422, "validation_failed")


@pytest.mark.parametrize("cursor", ["nonsense", "bnVsbA", "W10", "eyJhIjoxfQ", "eyJwb3NpdGlvbiI6M30"])
async def test_a_cursor_that_is_not_ours_is_refused(ada: Sessions, cursor: str) -> None:
    assert_problem(await ada.get("", cursor=cursor), 400, "cursor_invalid")


async def test_a_cursor_of_another_list_is_refused(ada: Sessions, database: Database) -> None:
    created = await ada.create("Whales")
    await ada.create("Dolphins")
    cursor = (await ada.get("", limit=1)).json()["next_cursor"]
    assert_problem(await ada.get(f"/{created['id']}/messages", cursor=cursor), 400, "cursor_invalid")


async def test_a_position_in_somebody_elses_list_shows_nothing_of_it(ada: Sessions, mallory: Sessions) -> None:
    for number in range(3):
        await ada.create(f"Session {number}")
    cursor = (await ada.get("", limit=1)).json()["next_cursor"]
    assert (await mallory.get("", cursor=cursor)).json() == {"items": [], "next_cursor": None}


async def test_sessions_are_listed_by_status(ada: Sessions) -> None:
    ended, active = await ada.create("Ended"), await ada.create("Active")
    await ada.client.post(f"/v1/sessions/{ended['id']}/end", headers=ada.headers)
    assert [item["id"] for item in await ada.everything(status="ended")] == [ended["id"]]
    assert [item["id"] for item in await ada.everything(status="active")] == [active["id"]]


async def test_a_search_finds_titles_and_what_was_said(ada: Sessions, database: Database) -> None:
    titled, said, other = await ada.create("Whales"), await ada.create("Second"), await ada.create("Third")
    await say(database, said["id"], 1, "How big is a WHALE?")
    await say(database, other["id"], 1, "How big is an ant?")
    found = {item["id"] for item in await ada.everything(q="whale")}
    assert found == {titled["id"], said["id"]}
    assert await ada.everything(q="elephant") == []


@pytest.mark.parametrize("sign", ["%", "_", "\\", "'", "%%", '"'])
async def test_a_search_takes_every_sign_for_itself(ada: Sessions, sign: str) -> None:
    with_sign = await ada.create(f"Up 10{sign}2 today")
    await ada.create("Up 10x2 today")
    assert [item["id"] for item in await ada.everything(q=f"10{sign}2")] == [with_sign["id"]]


async def test_an_empty_search_is_none(ada: Sessions) -> None:
    await ada.create("Whales")
    assert len(await ada.everything(q="  ")) == 1


async def test_a_search_that_the_database_cannot_hold_is_the_callers_fault(ada: Sessions) -> None:
    assert_problem(await ada.get("", q="nul\0"), 422, "text_invalid")


async def test_messages_come_newest_first_and_by_side_and_kind(ada: Sessions, database: Database) -> None:
    created = await ada.create("Whales")
    for position in range(1, 8):
        role, kind = ("user", "voice") if position % 2 else ("assistant", "text")
        await say(database, created["id"], position, f"message {position}", role, kind)
    path = f"/{created['id']}/messages"
    everything = await ada.everything(path, limit=2)
    assert [item["text"] for item in everything] == [f"message {position}" for position in range(7, 0, -1)]
    assert set(everything[0]) == {
        "id", "session_id", "turn_id", "role", "kind", "text", "state", "position", "voice", "created_at",
    }  # fmt: skip
    assert [item["position"] for item in await ada.everything(path, role="user")] == [7, 5, 3, 1]
    assert [item["position"] for item in await ada.everything(path, kind="text", limit=1)] == [6, 4, 2]
    assert_problem(await ada.get(path, role="system"), 422, "validation_failed")


# Other people's


async def test_another_persons_session_is_not_found(ada: Sessions, mallory: Sessions, database: Database) -> None:
    created = await ada.create("Secret plans")
    await say(database, created["id"], 1, "Something private")
    path = f"/v1/sessions/{created['id']}"
    unknown = f"/v1/sessions/{uuid4()}"
    attempts: list[tuple[str, str, dict[str, Any] | None]] = [
        ("GET", "", None),
        ("PATCH", "", {"title": "Mine now"}),
        ("DELETE", "", None),
        ("POST", "/end", None),
        ("POST", "/title", None),
        ("GET", "/messages", None),
    ]
    for method, tail, body in attempts:
        documents = []
        for base in (path, unknown):
            answer = await mallory.client.request(method, base + tail, json=body, headers=mallory.headers)
            document = assert_problem(answer, 404, "not_found")
            documents.append({name: document[name] for name in document if name not in {"instance", "request_id"}})
        assert documents[0] == documents[1]
    assert await mallory.everything() == []
    assert await mallory.everything(q="Secret") == []
    assert (await ada.get(f"/{created['id']}")).json()["title"] == "Secret plans"


# The shape of the interface


async def test_an_address_that_is_no_id_is_refused(ada: Sessions) -> None:
    assert_problem(await ada.get("/not-an-id"), 422, "validation_failed")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/sessions", "GET, POST"),
        ("PUT", "/v1/users/me/../me", "DELETE, GET, PATCH"),
        ("GET", "/v1/auth/login", "POST"),
        ("POST", "/.well-known/jwks.json", "GET"),
        ("TRACE", "/v1/sessions", "GET, POST"),
    ],
)
async def test_methods_that_an_address_does_not_have_are_refused(
    ada: Sessions, method: str, path: str, allowed: str
) -> None:
    answer = await ada.client.request(method, path, headers=ada.headers)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("body", [b"{", b'{"title": }', b"\xff\xfe", b"[" * 5000])
async def test_a_body_that_is_no_json_is_refused(ada: Sessions, body: bytes) -> None:
    for headers in ({}, {"Idempotency-Key": uuid4().hex}):
        answer = await ada.client.post(
            "/v1/sessions", content=body, headers=ada.headers | headers | {"Content-Type": "application/json"}
        )
        assert answer.status_code == 400, answer.text
        assert answer.json()["code"] in {"json_invalid", "body_unreadable"}


async def test_malformed_json_is_named_so(ada: Sessions) -> None:
    headers = ada.headers | {"Content-Type": "application/json"}
    assert_problem(await ada.client.post("/v1/sessions", content=b"{", headers=headers), 400, "json_invalid")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", None])
async def test_a_body_that_does_not_say_it_is_json_is_refused(ada: Sessions, content_type: str | None) -> None:
    headers = ada.headers | ({"Content-Type": content_type} if content_type else {})
    answer = await ada.client.post("/v1/sessions", content=json.dumps({"title": "a"}).encode(), headers=headers)
    assert_problem(answer, 415, "unsupported_media_type")


async def test_json_that_is_no_object_is_refused(ada: Sessions) -> None:
    assert_problem(await ada.client.post("/v1/sessions", json="text", headers=ada.headers), 422, "validation_failed")


async def test_a_body_that_is_too_large_is_refused(ada: Sessions) -> None:
    answer = await ada.client.post("/v1/sessions", json={"title": "x" * 9000}, headers=ada.headers)
    assert_problem(answer, 413, "body_too_large")


async def test_a_body_that_hides_its_size_is_refused_too(ada: Sessions) -> None:
    async def endless() -> Any:
        yield b'{"title": "'
        for _ in range(100):
            yield b"x" * 1000
        yield b'"}'

    headers = ada.headers | {"Content-Type": "application/json"}
    answer = await ada.client.post("/v1/sessions", content=endless(), headers=headers)
    assert_problem(answer, 413, "body_too_large")


async def test_every_answer_carries_the_headers_of_the_house(ada: Sessions) -> None:
    good = await ada.client.get("/v1/sessions", headers=ada.headers | {"X-Request-Id": "my-request-1"})
    bad = await ada.client.get("/v1/sessions", headers={"X-Request-Id": "my-request-1"})
    for answer in (good, bad):
        assert answer.headers["x-request-id"] == "my-request-1"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert bad.json()["request_id"] == "my-request-1"
    assert good.headers["ratelimit-policy"] == '"route";q=120;w=60'
    assert good.headers["ratelimit"].startswith('"route";r=')


@pytest.mark.parametrize("given", ["two words", "a\tb", "x" * 129, "<script>"])
async def test_a_request_id_that_is_not_plain_is_replaced(ada: Sessions, given: str) -> None:
    answer = await ada.client.get("/v1/sessions", headers=ada.headers | {"X-Request-Id": given})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32


async def test_a_persons_limit_is_their_own(ada: Sessions, mallory: Sessions) -> None:
    calls = (ada.client.post("/v1/sessions", json={}, headers=ada.headers) for _ in range(60))
    statuses = [answer.status_code for answer in await asyncio.gather(*calls)]
    assert statuses.count(201) >= 20
    assert statuses.count(429) > 0
    assert (await mallory.client.post("/v1/sessions", json={}, headers=mallory.headers)).status_code == 201


async def test_only_allowed_pages_may_read_answers(ada: Sessions, backend: Backend) -> None:
    own = await ada.client.get("/v1/sessions", headers=ada.headers | {"Origin": backend.environment["ALLOWED_ORIGINS"]})
    strange = await ada.client.get("/v1/sessions", headers=ada.headers | {"Origin": "https://strange.test"})
    assert own.headers["access-control-allow-origin"] == backend.environment["ALLOWED_ORIGINS"]
    assert "access-control-allow-origin" not in strange.headers
