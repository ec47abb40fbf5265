"""Gmail's methods: users.messages, threads, drafts, labels, history and the profile."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from typing import Any, Final

from local.google.gmail import mime
from local.google.gmail.labels import LabelMethods
from local.google.gmail.mailbox import Mail, Mailbox
from local.google.gmail.post import Post
from local.google.gmail.search import parse
from local.google.people import People
from local.google.rest import ApiError, Call, Method, invalid, not_found

_SCOPE: Final = "https://www.googleapis.com/auth/gmail."
_ALL: Final = "https://mail.google.com/"
MODIFY: Final = frozenset({_ALL, f"{_SCOPE}modify"})
READ: Final = MODIFY | {f"{_SCOPE}readonly"}
LOOK: Final = READ | {f"{_SCOPE}metadata"}
COMPOSE: Final = MODIFY | {f"{_SCOPE}compose"}
SEND: Final = COMPOSE | {f"{_SCOPE}send"}
LABELS: Final = MODIFY | {f"{_SCOPE}labels"}
PROFILE: Final = LOOK | {f"{_SCOPE}compose"}
DELETE: Final = frozenset({_ALL})

_FORMATS: Final = ("full", "metadata", "minimal", "raw")
_KINDS: Final = {"messageAdded": "messagesAdded", "messageDeleted": "messagesDeleted", "labelAdded": "labelsAdded",
                 "labelRemoved": "labelsRemoved"}  # fmt: skip
_ITEM: Final = {"messagesAdded", "messagesDeleted"}


def methods(database: sqlite3.Connection, people: People, now: Callable[[], float]) -> list[Method]:
    gmail = Gmail(Post(database, people, now), now)
    labels = LabelMethods(gmail.mailbox)
    base, upload = "/gmail/v1/users/{userId}", "/upload/gmail/v1/users/{userId}"
    table: list[tuple[str, str, str, Any, frozenset[str], int]] = [
        ("getProfile", "GET", "/profile", gmail.profile, PROFILE, 1),
        ("messages.list", "GET", "/messages", gmail.messages, LOOK, 5),
        ("messages.send", "POST", "/messages/send", gmail.send, SEND, 100),
        ("messages.batchModify", "POST", "/messages/batchModify", gmail.batch_modify, MODIFY, 50),
        ("messages.batchDelete", "POST", "/messages/batchDelete", gmail.batch_delete, DELETE, 50),
        ("messages.get", "GET", "/messages/{id}", gmail.get, LOOK, 5),
        ("messages.delete", "DELETE", "/messages/{id}", gmail.delete, DELETE, 10),
        ("messages.modify", "POST", "/messages/{id}/modify", gmail.modify, MODIFY, 5),
        ("messages.trash", "POST", "/messages/{id}/trash", gmail.trash, MODIFY, 5),
        ("messages.untrash", "POST", "/messages/{id}/untrash", gmail.untrash, MODIFY, 5),
        ("messages.attachments.get", "GET", "/messages/{messageId}/attachments/{id}", gmail.attachment, READ, 5),
        ("threads.list", "GET", "/threads", gmail.threads, LOOK, 10),
        ("threads.get", "GET", "/threads/{id}", gmail.thread, LOOK, 10),
        ("threads.modify", "POST", "/threads/{id}/modify", gmail.modify_thread, MODIFY, 10),
        ("threads.trash", "POST", "/threads/{id}/trash", gmail.trash_thread, MODIFY, 10),
        ("threads.untrash", "POST", "/threads/{id}/untrash", gmail.untrash_thread, MODIFY, 10),
        ("threads.delete", "DELETE", "/threads/{id}", gmail.delete_thread, DELETE, 20),
        ("drafts.list", "GET", "/drafts", gmail.drafts, COMPOSE | READ, 5),
        ("drafts.create", "POST", "/drafts", gmail.create_draft, COMPOSE, 10),
        ("drafts.send", "POST", "/drafts/send", gmail.send_draft, COMPOSE, 100),
        ("drafts.get", "GET", "/drafts/{id}", gmail.draft, COMPOSE | READ, 5),
        ("drafts.update", "PUT", "/drafts/{id}", gmail.update_draft, COMPOSE, 15),
        ("drafts.delete", "DELETE", "/drafts/{id}", gmail.delete_draft, COMPOSE, 10),
        ("labels.list", "GET", "/labels", labels.list, LABELS | LOOK, 1),
        ("labels.create", "POST", "/labels", labels.create, LABELS, 5),
        ("labels.get", "GET", "/labels/{id}", labels.get, LABELS | LOOK, 1),
        ("labels.update", "PUT", "/labels/{id}", labels.update, LABELS, 5),
        ("labels.patch", "PATCH", "/labels/{id}", labels.patch, LABELS, 5),
        ("labels.delete", "DELETE", "/labels/{id}", labels.delete, LABELS, 5),
        ("history.list", "GET", "/history", gmail.history, LOOK, 2),
    ]
    named = [Method(f"gmail.users.{name}", verb, base + path, *rest) for name, verb, path, *rest in table]
    uploads = [row for row in table if row[0] in ("messages.send", "drafts.create", "drafts.update", "drafts.send")]
    return named + [Method(f"gmail.users.{name}", verb, upload + path, *rest) for name, verb, path, *rest in uploads]


class Gmail:
    def __init__(self, post: Post, now: Callable[[], float]) -> None:
        self._post = post
        self._now = now

    def mailbox(self, call: Call) -> Mailbox:
        """The caller's; `me` or their own address names it. Raises ApiError, as all of these do."""
        if call.path["userId"].lower() not in ("me", call.person.email.lower()):
            raise ApiError(403, f"Delegation denied for {call.person.email}", "forbidden")
        return self._post.mailbox(call.person)

    def profile(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        mails = box.mails()
        return {
            "emailAddress": call.person.email,
            "messagesTotal": len(mails),
            "threadsTotal": len({mail.thread for mail in mails}),
            "historyId": str(box.history),
        }

    def messages(self, call: Call) -> dict[str, Any]:
        found = self._found(call, self.mailbox(call))
        page, more = _page(call, found)
        items = [{"id": mail.id, "threadId": mail.thread} for mail in page]
        return {**({"messages": items} if items else {}), **more, "resultSizeEstimate": len(found)}

    def get(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        return _shown(call, box, box.mail(call.path["id"]))

    def attachment(self, call: Call) -> dict[str, Any]:
        box, identity = self.mailbox(call), call.path["messageId"]
        mail = box.mail(identity)
        part = mime.part_of(call.path["id"], identity)
        content = None if part is None else mime.attachment(mime.read(box.raw(identity)), part, seeded=mail.seeded)
        if content is None:
            raise invalid("Invalid attachment token")
        return {"attachmentId": call.path["id"], "size": len(content), "data": mime.encode(content)}

    def send(self, call: Call) -> dict[str, Any]:
        self.mailbox(call)
        raw, thread = _given(call)
        return _brief(self._post.send(call.person, raw, thread))

    def modify(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        mail = box.mail(call.path["id"])
        return _brief(box.relabel(mail, *_changes(call, box)))

    def batch_modify(self, call: Call) -> None:
        box = self.mailbox(call)
        add, remove = _changes(call, box)
        with box.change():
            for mail in _each(call, box):
                box.relabel(mail, add, remove)

    def batch_delete(self, call: Call) -> None:
        box = self.mailbox(call)
        with box.change():
            for mail in _each(call, box):
                box.remove(mail)

    def trash(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        return _brief(box.relabel(box.mail(call.path["id"]), ["TRASH"], ["INBOX", "SPAM"]))

    def untrash(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        return _brief(box.relabel(box.mail(call.path["id"]), remove=["TRASH"]))

    def delete(self, call: Call) -> None:
        box = self.mailbox(call)
        box.remove(box.mail(call.path["id"]))

    def threads(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        newest: dict[str, Mail] = {}
        for mail in self._found(call, box):
            newest.setdefault(mail.thread, mail)
        page, more = _page(call, [*newest.values()])
        items = [{"id": mail.thread, "snippet": mail.snippet, "historyId": str(mail.history)} for mail in page]
        return {**({"threads": items} if items else {}), **more, "resultSizeEstimate": len(newest)}

    def thread(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        if call.query.get("format", "full").lower() == "raw":
            raise invalid("Invalid value for format: raw", location="format")
        mails = box.thread(call.path["id"])
        newest = str(max(mail.history for mail in mails))
        return {"id": mails[0].thread, "historyId": newest, "messages": [_shown(call, box, mail) for mail in mails]}

    def modify_thread(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        return self._whole_thread(call, box, *_changes(call, box))

    def trash_thread(self, call: Call) -> dict[str, Any]:
        return self._whole_thread(call, self.mailbox(call), ["TRASH"], ["INBOX", "SPAM"])

    def untrash_thread(self, call: Call) -> dict[str, Any]:
        return self._whole_thread(call, self.mailbox(call), [], ["TRASH"])

    def delete_thread(self, call: Call) -> None:
        box = self.mailbox(call)
        with box.change():
            for mail in box.thread(call.path["id"]):
                box.remove(mail)

    def drafts(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        found = {mail.id for mail in self._found(call, box)}
        held = [(identity, message) for identity, message in box.drafts() if message in found]
        page, more = _page(call, held)
        items = [{"id": name, "message": {"id": key, "threadId": box.mail(key).thread}} for name, key in page]
        return {**({"drafts": items} if items else {}), **more, "resultSizeEstimate": len(held)}

    def draft(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        return {"id": call.path["id"], "message": _shown(call, box, box.mail(_draft(box, call.path["id"])))}

    def create_draft(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        return self._kept_draft(call, box, f"r-{secrets.randbelow(9 * 10**18) + 10**18}", *_given(call, "message"))

    def update_draft(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        before = box.mail(_draft(box, call.path["id"]))
        raw, thread = _given(call, "message")
        with box.change():
            kept = self._kept_draft(call, box, call.path["id"], raw, thread or before.thread)
            box.remove(before)
        return kept

    def delete_draft(self, call: Call) -> None:
        box = self.mailbox(call)
        box.remove(box.mail(_draft(box, call.path["id"])))

    def send_draft(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        identity = str(call.body.get("id", ""))
        draft = box.mail(_draft(box, identity))
        given = call.body.get("message") or {}
        raw = _raw(given) if "raw" in given else box.raw(draft.id)
        thread = draft.thread if draft.thread != draft.id else ""
        with box.change():
            sent = self._post.send(call.person, raw, thread)
            box.remove(draft)
        return _brief(sent)

    def history(self, call: Call) -> dict[str, Any]:
        box = self.mailbox(call)
        start = call.query.get("startHistoryId", "")
        if not start.isdecimal():
            raise invalid("Missing or invalid startHistoryId", location="startHistoryId")
        wanted = {_KINDS[kind] for kind in call.query.getlist("historyTypes") if kind in _KINDS} or set(_KINDS.values())
        label = call.query.get("labelId")
        records: dict[int, dict[str, Any]] = {}
        for history, kind, message, thread, labels in box.since(int(start)):
            if kind not in wanted or (label and label not in labels):
                continue
            record = records.setdefault(history, {"id": str(history), "messages": []})
            short = {"id": message, "threadId": thread}
            record["messages"].append(short)
            added = {"message": {**short, "labelIds": labels}, **({} if kind in _ITEM else {"labelIds": labels})}
            record.setdefault(kind, []).append(added)
        page, more = _page(call, [*records.values()])
        return {**({"history": page} if page else {}), **more, "historyId": str(box.history)}

    def _found(self, call: Call, box: Mailbox) -> list[Mail]:
        query = call.query.get("q", "")
        if query and not call.scopes & READ and not call.scopes & COMPOSE:
            raise ApiError(403, "Metadata scope does not support 'q' parameter", "forbidden")
        wanted = set(call.query.getlist("labelIds"))
        asked = parse(query, self._now())
        hidden = call.flag("includeSpamTrash") or wanted & {"SPAM", "TRASH"}
        names = {label["id"]: label["name"] for label in box.labels() if label["type"] == "user"}
        return [
            mail
            for mail in box.mails()
            if wanted <= mail.labels and (asked.test if hidden else asked.matches)(box.searchable(mail, names))
        ]

    def _whole_thread(self, call: Call, box: Mailbox, add: list[str], remove: list[str]) -> dict[str, Any]:
        with box.change():
            mails = [box.relabel(mail, add, remove) for mail in box.thread(call.path["id"])]
        return {"id": call.path["id"], "messages": [_brief(mail) for mail in mails]}

    def _kept_draft(self, call: Call, box: Mailbox, identity: str, raw: bytes, thread: str) -> dict[str, Any]:
        message = self._post.composed(call.person, raw)
        with box.change():
            asked = self._post.thread(box, message, thread)
            mail = box.add(message.as_bytes(), {"DRAFT"}, thread=asked)
            box.keep_draft(identity, mail.id)
        return {"id": identity, "message": _brief(mail)}


def _brief(mail: Mail) -> dict[str, Any]:
    return {"id": mail.id, "threadId": mail.thread, "labelIds": sorted(mail.labels)}


def _shown(call: Call, box: Mailbox, mail: Mail) -> dict[str, Any]:
    form = call.query.get("format", "full").lower()
    if form not in _FORMATS:
        raise invalid(f"Invalid value at 'format' (TYPE_ENUM), \"{form}\"", location="format")
    if form in ("full", "raw") and not call.scopes & (READ | COMPOSE):
        raise ApiError(403, f"Metadata scope doesn't allow format {form.upper()}", "forbidden")
    if form == "minimal":
        return mail.known
    if form == "raw":
        raw = box.raw(mail.id)
        return {**mail.known, "raw": mime.encode(mime.filled(mime.read(raw)).as_bytes() if mail.seeded else raw)}
    headers = None
    if form == "metadata":
        headers = frozenset(name.lower() for name in call.query.getlist("metadataHeaders"))
    return {
        **mail.known,
        "payload": mime.payload(mime.read(box.raw(mail.id)), mail.id, seeded=mail.seeded, headers=headers),
    }


def _page(call: Call, found: list[Any]) -> tuple[list[Any], dict[str, str]]:
    """A part of what was found and where the next one begins. The token is a place in the list, as it was then."""
    size, token = call.number("maxResults", 100, 500), call.query.get("pageToken", "")
    if token and not re.fullmatch(r"\d{1,9}", token):
        raise invalid("Invalid pageToken", location="pageToken")
    start = int(token or 0)
    return found[start : start + size], {"nextPageToken": str(start + size)} if start + size < len(found) else {}


def _changes(call: Call, box: Mailbox) -> tuple[list[str], list[str]]:
    add, remove = (box.checked_labels(call.body.get(name, [])) for name in ("addLabelIds", "removeLabelIds"))
    if not add and not remove:
        raise invalid("No label add or removes specified")
    if set(add) & set(remove):
        raise invalid("Cannot both add and remove the same label")
    return add, remove


def _each(call: Call, box: Mailbox) -> list[Mail]:
    """The mails of a batch; Gmail passes over ids that are not there."""
    wanted = call.body.get("ids")
    if not isinstance(wanted, list) or not 0 < len(wanted) <= 1000:
        raise invalid("ids must hold 1 to 1000 message ids")
    return [mail for mail in box.mails() if mail.id in wanted]


def _draft(box: Mailbox, identity: str) -> str:
    """The mail of a draft."""
    message = dict(box.drafts()).get(identity)
    if message is None:
        raise not_found()
    return message


def _given(call: Call, inside: str = "") -> tuple[bytes, str]:
    """The mail in a request, as `raw` in JSON or uploaded as message/rfc822, and the thread that it should join."""
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "message/rfc822":
        return call.raw, ""
    if kind == "multipart/related":
        return _related(call, inside)
    body: Any = call.body.get(inside) if inside else call.body
    if not isinstance(body, dict):
        raise invalid("Missing draft message")
    return _raw(body), str(body.get("threadId") or "")


def _related(call: Call, inside: str) -> tuple[bytes, str]:
    """A multipart upload: a JSON part, then the mail."""
    head = f"Content-Type: {call.headers['content-type']}\r\n\r\n".encode()
    whole = BytesParser(policy=compat32).parsebytes(head + call.raw)
    parts = [part for part in whole.get_payload() if isinstance(part, Message)] if whole.is_multipart() else []
    if len(parts) != 2:
        raise invalid("A multipart upload has two parts")
    described = Call(call.person, call.scopes, call.path, call.query, call.headers, _bytes(parts[0]))
    content: Mapping[str, Any] = described.body.get(inside) or {} if inside else described.body
    return _bytes(parts[1]), str(content.get("threadId") or "")


def _bytes(part: Message) -> bytes:
    """What a part of an upload carries, a whole mail included."""
    inner = part.get_payload()
    if isinstance(inner, list):
        return b"".join(mail.as_bytes() for mail in inner if isinstance(mail, Message))
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _raw(body: Mapping[str, Any]) -> bytes:
    try:
        raw = mime.decode(str(body.get("raw") or ""))
    except ValueError:
        raise invalid("Invalid value at 'raw' (TYPE_BYTES), Base64 decoding failed") from None
    if not raw:
        raise invalid("'raw' RFC822 payload message string or uploading message via /upload/* URL required")
    return raw
