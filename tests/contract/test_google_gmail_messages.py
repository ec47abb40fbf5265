"""Gmail as the stand-in serves it, called over HTTP as a client of its REST interface calls it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from local.gateway.console import Console
from local.google.gmail.search import Searchable, parse
from local.places import Places
from tests.support.google import BASIC, Google, open_google

ME = "/gmail/v1/users/me"
ALL = "https://mail.google.com/"
READ = "https://www.googleapis.com/auth/gmail.readonly"
METADATA = "https://www.googleapis.com/auth/gmail.metadata"
ADA, GRACE = "ada.lovelace@gmail.com", "grace@oprina.test"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Google]:
    async with open_google(tmp_path_factory.mktemp("google")) as served:
        yield served


@pytest.fixture
def google(running: Google) -> Google:
    running.forget_everything()
    return running


async def bearer(google: Google, account: str = ADA, scope: str = ALL) -> dict[str, str]:
    tokens = await google.tokens(account, scope=f"{BASIC} {scope}", access_type="offline")
    return {"authorization": f"Bearer {tokens['access_token']}"}


async def call(google: Google, key: dict[str, str], verb: str, path: str, **more: Any) -> Any:
    answer = await google.client.request(verb, ME + path, headers=key, **more)
    assert answer.status_code in (200, 204), answer.text
    return answer.json() if answer.content else None


async def found(google: Google, key: dict[str, str], query: str) -> list[str]:
    ids = (await call(google, key, "GET", "/messages", params={"q": query, "maxResults": 500})).get("messages", [])
    mails = [await call(google, key, "GET", f"/messages/{item['id']}", params={"format": "metadata"}) for item in ids]
    return [header["value"] for mail in mails for header in mail["payload"]["headers"] if header["name"] == "Subject"]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    assert error["errors"][0]["message"] == error["message"]
    return error["code"], error["errors"][0]["reason"]


def mail(to: str, subject: str = "Hello", **headers: str) -> str:
    message = EmailMessage()
    message["To"], message["Subject"] = to, subject
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("How are you?\n")
    return base64.urlsafe_b64encode(message.as_bytes()).decode()


async def test_everybody_finds_a_mailbox_in_pages_without_spam_and_trash(google: Google) -> None:
    key = await bearer(google)
    profile = await call(google, key, "GET", "/profile")
    assert profile["emailAddress"] == ADA
    assert profile["messagesTotal"] >= 40
    seen, token = [], None
    while True:
        page = await call(
            google, key, "GET", "/messages", params={"maxResults": 15, **({"pageToken": token} if token else {})}
        )
        seen += [item["id"] for item in page["messages"]]
        token = page.get("nextPageToken")
        if token is None:
            break
    assert len(seen) == len(set(seen)) == profile["messagesTotal"] - 2


async def test_every_seeded_mail_can_be_read_in_every_format(google: Google) -> None:
    key = await bearer(google)
    for item in (await call(google, key, "GET", "/messages", params={"includeSpamTrash": "true"}))["messages"]:
        for form in ("full", "metadata", "minimal"):
            shown = await call(google, key, "GET", f"/messages/{item['id']}", params={"format": form})
            assert shown["threadId"] == item["threadId"]
            assert ("parts" in shown.get("payload", {}) or "body" in shown.get("payload", {})) == (form == "full")


@pytest.mark.parametrize(
    ("query", "subjects"),
    [
        ("from:margaret subject:urgent", ["Urgent: contract needs an answer today"]),
        ('subject:"security code"', ["Your security code"]),
        ("label:travel has:attachment", ["Flight confirmation LIS 7 October"]),
        ("filename:csv", ["Quarterly report for your review"]),
        ("from:firstharbour -is:unread -subject:code", ["Your October statement"]),
        ("subject:(laptop OR lunch)", ["Lunch tomorrow?", "Your new laptop is ready"]),
        ("{subject:laptop subject:lunch}", ["Lunch tomorrow?", "Your new laptop is ready"]),
        ("larger:10M", ["The film of our holiday"]),
        ("in:trash", ["Old parking rota"]),
        ("parking rota", []),
        ("in:anywhere parking rota", ["Old parking rota"]),
        ("label:receipts-2026", ["Your receipt"]),
        ("Köln", ["Grüße"]),
        ("is:starred", ["Quarterly report for your review"]),
        ("newer_than:3h is:unread -from:evil.test", ["Urgent: contract needs an answer today"]),
        ("rfc822msgid:lunch@seeded.test", ["Lunch tomorrow?"]),
        ("after:2099/01/01", []),
    ],
)
async def test_the_search_finds_what_its_operators_say(google: Google, query: str, subjects: list[str]) -> None:
    assert sorted(await found(google, await bearer(google), query)) == sorted(subjects)


async def test_a_large_attachment_is_made_when_it_is_fetched(google: Google) -> None:
    key = await bearer(google)
    [item] = (await call(google, key, "GET", "/messages", params={"q": "larger:10M"}))["messages"]
    shown = await call(google, key, "GET", f"/messages/{item['id']}")
    part = shown["payload"]["parts"][1]
    assert (part["filename"], part["body"]["size"]) == ("holiday-film.pdf", 25 * 1024 * 1024)
    path = f"/messages/{item['id']}/attachments/{part['body']['attachmentId']}"
    content = base64.urlsafe_b64decode((await call(google, key, "GET", path))["data"])
    assert len(content) == 25 * 1024 * 1024
    assert content.startswith(b"%PDF")
    refused = await google.client.get(f"{ME}/messages/{item['id']}/attachments/none", headers=key)
    assert refusal(refused) == (400, "invalidArgument")


async def test_a_sent_mail_arrives_keeps_its_id_and_its_answer_joins_the_thread(google: Google) -> None:
    ada, grace = await bearer(google), await bearer(google, GRACE)
    raw = mail(GRACE, Message_ID="<ours-1@oprina.test>", Bcc="x@elsewhere.test")
    sent = await call(google, ada, "POST", "/messages/send", json={"raw": raw})
    assert sent["labelIds"] == ["SENT"]
    [arrived] = (await call(google, grace, "GET", "/messages", params={"q": "rfc822msgid:ours-1@oprina.test"}))[
        "messages"
    ]
    shown = await call(google, grace, "GET", f"/messages/{arrived['id']}")
    headers = {header["name"]: header["value"] for header in shown["payload"]["headers"]}
    assert headers["From"] == f"Ada Lovelace <{ADA}>"
    assert "Bcc" not in headers
    assert {"INBOX", "UNREAD"} <= set(shown["labelIds"])
    answer = mail(ADA, "Re: Hello", In_Reply_To="<ours-1@oprina.test>", References="<ours-1@oprina.test>")
    body = {"raw": answer, "threadId": arrived["threadId"]}
    assert (await call(google, grace, "POST", "/messages/send", json=body))["threadId"] == arrived["threadId"]
    thread = await call(google, ada, "GET", f"/threads/{sent['threadId']}")
    assert thread["messages"][0]["id"] == sent["id"]
    assert len(thread["messages"]) == 2


async def test_labels_trash_and_history_tell_one_story(google: Google) -> None:
    key = await bearer(google)
    start = (await call(google, key, "GET", "/profile"))["historyId"]
    label = await call(google, key, "POST", "/labels", json={"name": "Later"})
    [item] = (await call(google, key, "GET", "/messages", params={"q": "subject:lunch"}))["messages"]
    await call(
        google,
        key,
        "POST",
        f"/messages/{item['id']}/modify",
        json={"addLabelIds": [label["id"]], "removeLabelIds": ["UNREAD"]},
    )
    await call(google, key, "POST", f"/messages/{item['id']}/trash")
    trashed = await call(google, key, "GET", f"/messages/{item['id']}", params={"format": "minimal"})
    assert {"TRASH", label["id"]} <= set(trashed["labelIds"])
    assert "INBOX" not in trashed["labelIds"]
    history = await call(google, key, "GET", "/history", params={"startHistoryId": start})
    kinds = [kind for record in history["history"] for kind in record if kind.startswith("labels")]
    assert kinds == ["labelsAdded", "labelsRemoved", "labelsAdded", "labelsRemoved"]
    await call(google, key, "DELETE", f"/messages/{item['id']}")
    assert refusal(await google.client.get(f"{ME}/messages/{item['id']}", headers=key)) == (404, "notFound")
    google.clock.ahead = 8 * 24 * 3600
    key = await bearer(google)
    late = await google.client.get(f"{ME}/history", headers=key, params={"startHistoryId": start})
    assert refusal(late) == (404, "notFound")


async def test_a_draft_is_made_changed_and_sent_once(google: Google) -> None:
    key = await bearer(google)
    draft = await call(google, key, "POST", "/drafts", json={"message": {"raw": mail(GRACE, "First")}})
    await call(google, key, "PUT", f"/drafts/{draft['id']}", json={"message": {"raw": mail(GRACE, "Second")}})
    assert [one["id"] for one in (await call(google, key, "GET", "/drafts"))["drafts"]] == [draft["id"]]
    sent = await call(google, key, "POST", "/drafts/send", json={"id": draft["id"]})
    assert sent["labelIds"] == ["SENT"]
    again = await google.client.post(f"{ME}/drafts/send", headers=key, json={"id": draft["id"]})
    assert refusal(again) == (404, "notFound")
    assert await found(google, await bearer(google, GRACE), "subject:second") == ["Second"]


async def test_a_token_opens_only_what_was_granted_and_only_while_it_lives(google: Google) -> None:
    reader = await bearer(google, scope=READ)
    sending = await google.client.post(f"{ME}/messages/send", headers=reader, json={"raw": mail(GRACE)})
    assert refusal(sending) == (403, "insufficientPermissions")
    looking = await bearer(google, scope=METADATA)
    assert refusal(await google.client.get(f"{ME}/messages", headers=looking, params={"q": "x"})) == (403, "forbidden")
    google.clock.ahead = 3700
    assert refusal(await google.client.get(f"{ME}/messages", headers=reader)) == (401, "authError")
    other = await google.client.get(f"/gmail/v1/users/{GRACE}/messages", headers=await bearer(google))
    assert refusal(other) == (403, "forbidden")


async def test_the_clock_quotas_and_dead_refresh_tokens_are_set_from_outside(google: Google) -> None:
    tokens = await google.tokens("counted@oprina.test", scope=f"{BASIC} {READ}", access_type="offline")
    key = {"authorization": f"Bearer {tokens['access_token']}"}
    await google.client.put("/local/settings", json={"gmail_units_per_minute": 6, "quota_status": 403})
    await call(google, key, "GET", "/messages")
    assert refusal(await google.client.get(f"{ME}/messages", headers=key)) == (403, "userRateLimitExceeded")
    await google.client.put("/local/settings", json={"clock_ahead_seconds": 120})
    await call(google, key, "GET", "/messages")
    subject = (await google.person("counted@oprina.test"))["subject"]
    await google.client.post(f"/local/people/{subject}/expire", json={"refresh": True})
    dead = await google.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert (dead.status_code, dead.json()["error"]) == (400, "invalid_grant")
    assert (await google.client.put("/local/settings", json={"quota_status": 200})).status_code == 400


async def test_faults_go_by_method_and_a_lost_answer_has_sent_the_mail(google: Google) -> None:
    key = await bearer(google)
    google.faults.write({"google": {"gmail.users.messages.list": {"status": 429}}})
    assert refusal(await google.client.get(f"{ME}/messages", headers=key)) == (429, "rateLimitExceeded")
    google.faults.write({"google": {"gmail.users.messages.send": {"lose_answer": True}}})
    raw = mail(GRACE, Message_ID="<lost@oprina.test>")
    with pytest.raises(httpx.TransportError):
        await google.client.post(f"{ME}/messages/send", headers=key, json={"raw": raw})
    assert await found(google, key, "rfc822msgid:<lost@oprina.test>") == ["Hello"]


async def test_what_cannot_be_sent_is_refused_and_leaves_nothing(google: Google) -> None:
    key = await bearer(google)
    before = (await call(google, key, "GET", "/profile"))["historyId"]
    for body in ({}, {"raw": "***"}, {"raw": base64.urlsafe_b64encode(b"Subject: x\r\n\r\n").decode()}):
        answer = await google.client.post(f"{ME}/messages/send", headers=key, json=body)
        assert refusal(answer) == (400, "invalidArgument")
    broken = await google.client.post(f"{ME}/messages/send", headers=key, content=b"{")
    assert refusal(broken) == (400, "parseError")
    assert (await call(google, key, "GET", "/profile"))["historyId"] == before


async def test_concurrent_changes_all_count_and_a_restart_keeps_them(tmp_path: Path) -> None:
    async with open_google(tmp_path) as google:
        key = await bearer(google)
        await asyncio.gather(
            *(
                call(google, key, "POST", "/messages/send", json={"raw": mail(GRACE, f"n{number}")})
                for number in range(10)
            )
        )
        before = await call(google, key, "GET", "/profile")
    async with open_google(tmp_path) as google:
        key = await bearer(google)
        assert await call(google, key, "GET", "/profile") == before
        assert len(await found(google, key, "in:sent to:grace newer_than:1h")) == 10


async def test_the_console_shows_mailboxes_calendars_and_grants_escaped_and_no_token(tmp_path: Path) -> None:
    shown = Console(Places(data=tmp_path, port=8080), {}).google
    assert "Nobody yet" in bytes((await shown(NO_REQUEST)).body).decode()
    async with open_google(tmp_path) as google:
        key = await bearer(google, scope=f"{ALL} https://www.googleapis.com/auth/calendar")
        await call(google, key, "GET", "/profile")
        await google.client.get("/calendar/v3/calendars/primary/events", headers=key)
        page = bytes((await shown(NO_REQUEST)).body).decode()
    assert "Lunch tomorrow?" in page
    assert "Stand-up" in page
    assert ALL in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert key["authorization"].removeprefix("Bearer ") not in page


NO_REQUEST = Request({"type": "http", "method": "GET", "path": "/google", "headers": []})
WORDS = st.sampled_from(["tea", "cup", "bank", "boss"])


@given(
    subject=st.lists(WORDS, max_size=3),
    sender=WORDS,
    labels=st.frozensets(st.sampled_from(["UNREAD", "STARRED", "SPAM"])),
    terms=st.lists(st.tuples(st.booleans(), st.sampled_from(["", "subject:", "from:", "is:"]), WORDS), max_size=4),
)
def test_the_search_agrees_with_a_simple_model(
    subject: list[str], sender: str, labels: frozenset[str], terms: list[tuple[bool, str, str]]
) -> None:
    seen = Searchable(sender, "", "", "", " ".join(subject), "", (), "", "", labels, frozenset(), 0.0, 1)

    def holds(operator: str, word: str) -> bool:
        if operator == "is:":
            return "UNREAD" in labels
        fields = {"": [*subject, sender], "subject:": subject, "from:": [sender]}
        return word in fields[operator]

    text = " ".join(f"{'-' * no}{operator}{'unread' if operator == 'is:' else word}" for no, operator, word in terms)
    expected = all(holds(operator, word) != no for no, operator, word in terms) and "SPAM" not in labels
    assert parse(text, 0.0).matches(seen) == expected


@given(st.text(alphabet='ab():{}"-OR :/', max_size=60))
def test_no_query_is_wrong(text: str) -> None:
    nothing = Searchable("", "", "", "", "", "", (), "", "", frozenset(), frozenset(), 0.0, 0)
    assert parse(text, 0.0).matches(nothing) in (True, False)
