"""What Gmail keeps for each person: mails, labels, drafts and the history of changes, in the stand-in's database.

Every change is one transaction and one history id.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.message import Message
from typing import Any, Final

from local.google.database import transaction
from local.google.gmail import mime
from local.google.gmail.search import Searchable
from local.google.rest import invalid, not_found

SCHEMA: Final = """
create table if not exists gmail_boxes (
    subject text primary key, history integer not null, floor integer not null
);
create table if not exists gmail_messages (
    ordinal integer primary key autoincrement, subject text not null, id text not null, thread text not null,
    received_ms integer not null, history integer not null, labels text not null, snippet text not null,
    words text not null, size integer not null, seeded integer not null, raw blob not null, unique (subject, id)
);
create table if not exists gmail_labels (
    subject text not null, id text not null, name text not null collate nocase, label text not null,
    primary key (subject, id), unique (subject, name)
);
create table if not exists gmail_drafts (
    subject text not null, id text not null, message text not null, primary key (subject, id)
);
create table if not exists gmail_history (
    ordinal integer primary key autoincrement, subject text not null, history integer not null, kind text not null,
    message text not null, thread text not null, labels text not null, at real not null
);
create index if not exists gmail_history_by_id on gmail_history (subject, history);
"""
SYSTEM_LABELS: Final = (
    "INBOX", "SENT", "DRAFT", "UNREAD", "STARRED", "IMPORTANT", "TRASH", "SPAM", "CHAT", "CATEGORY_PERSONAL",
    "CATEGORY_SOCIAL", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES", "CATEGORY_FORUMS",
)  # fmt: skip
# What only sending and drafting set.
_FIXED: Final = frozenset({"SENT", "DRAFT", "CHAT"})
HISTORY_SECONDS: Final = 7 * 24 * 3600
FIRST_HISTORY: Final = 100_000


@dataclass(frozen=True)
class Mail:
    """A mail in one person's mailbox. `seeded` ones may hold parts that are made on demand."""

    id: str
    thread: str
    received_ms: int
    history: int
    labels: frozenset[str]
    snippet: str
    words: mime.Words
    size: int
    seeded: bool

    @property
    def known(self) -> dict[str, Any]:
        """What every format shows."""
        return {
            "id": self.id,
            "threadId": self.thread,
            "labelIds": sorted(self.labels),
            "snippet": self.snippet,
            "historyId": str(self.history),
            "internalDate": str(self.received_ms),
            "sizeEstimate": self.size,
        }


class Mailbox:
    """One person's."""

    def __init__(self, database: sqlite3.Connection, subject: str, now: Callable[[], float]) -> None:
        self._db = database
        self._subject = subject
        self._now = now

    @property
    def history(self) -> int:
        row = self._db.execute("select history from gmail_boxes where subject = ?", (self._subject,)).fetchone()
        return int(row[0]) if row else 0

    @property
    def exists(self) -> bool:
        return self.history > 0

    def open(self) -> None:
        self._db.execute("insert into gmail_boxes values (?, ?, ?)", (self._subject, FIRST_HISTORY, FIRST_HISTORY))

    @contextmanager
    def change(self) -> Iterator[int]:
        """One transaction, under the next history id; part of one that is open already."""
        with transaction(self._db):
            yield self._next_history()

    def mails(self) -> list[Mail]:
        """All of them, newest first."""
        rows = self._db.execute(
            f"{_SELECT} where subject = ? order by received_ms desc, ordinal desc", (self._subject,)
        )
        return [_mail(row) for row in rows]

    def mail(self, identity: str) -> Mail:
        """Raises ApiError when there is none, as all of these do."""
        row = self._db.execute(f"{_SELECT} where subject = ? and id = ?", (self._subject, identity)).fetchone()
        if row is None:
            if not re.fullmatch(r"[0-9a-fA-F]{1,16}", identity):
                raise invalid("Invalid id value")
            raise not_found()
        return _mail(row)

    def raw(self, identity: str) -> bytes:
        row = self._db.execute(
            "select raw from gmail_messages where subject = ? and id = ?", (self._subject, identity)
        ).fetchone()
        if row is None:
            raise not_found()
        return bytes(row[0])

    def thread(self, identity: str) -> list[Mail]:
        """The mails of a thread, oldest first."""
        rows = self._db.execute(
            f"{_SELECT} where subject = ? and thread = ? order by received_ms, ordinal", (self._subject, identity)
        ).fetchall()
        if not rows:
            raise not_found()
        return [_mail(row) for row in rows]

    def add(
        self, raw: bytes, labels: Iterable[str], *, identity: str = "", thread: str = "", received_ms: int = 0,
        seeded: bool = False,
    ) -> Mail:  # fmt: skip
        """Keep a mail. Without a thread it joins the one that it answers, or begins one."""
        message = mime.read(raw)
        said = mime.words(message)
        identity = identity or secrets.token_hex(8)
        made = sum(int(part[mime.MADE]) for part in message.walk() if seeded and mime.MADE in part)
        with self.change() as history:
            mail = Mail(
                id=identity,
                thread=thread or self._thread_of(said) or identity,
                received_ms=received_ms or int(self._now() * 1000),
                history=history,
                labels=frozenset(labels),
                snippet=mime.snippet(message),
                words=said,
                size=len(raw) + made * 4 // 3,
                seeded=seeded,
            )
            self._db.execute(
                "insert into gmail_messages (subject, id, thread, received_ms, history, labels, snippet, words, size,"
                " seeded, raw) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._subject, mail.id, mail.thread, mail.received_ms, history, _listed(mail.labels), mail.snippet,
                    json.dumps(asdict(said)), mail.size, seeded, raw,
                ),
            )  # fmt: skip
            self._note(history, "messagesAdded", mail, mail.labels)
        return mail

    def relabel(self, mail: Mail, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Mail:
        """Add and take labels. What changes nothing leaves no history."""
        before = mail.labels
        after = (before - set(remove)) | set(add)
        if before == after:
            return mail
        with self.change() as history:
            self._db.execute(
                "update gmail_messages set labels = ?, history = ? where subject = ? and id = ?",
                (_listed(after), history, self._subject, mail.id),
            )
            for kind, labels in (("labelsAdded", after - before), ("labelsRemoved", before - after)):
                if labels:
                    self._note(history, kind, mail, labels)
        return self.mail(mail.id)

    def remove(self, mail: Mail) -> None:
        with self.change() as history:
            self._db.execute("delete from gmail_messages where subject = ? and id = ?", (self._subject, mail.id))
            self._db.execute("delete from gmail_drafts where subject = ? and message = ?", (self._subject, mail.id))
            self._note(history, "messagesDeleted", mail, mail.labels)

    def checked_labels(self, wanted: Any) -> list[str]:
        """The ids of labels that may be put on a mail or taken from it."""
        if not isinstance(wanted, list) or not all(isinstance(label, str) for label in wanted):
            raise invalid("Invalid value at 'label_ids' (TYPE_STRING)")
        own = {label["id"] for label in self.labels()}
        for label in wanted:
            if label in _FIXED or label not in own:
                raise invalid(f"Invalid label: {label}")
        return wanted

    def labels(self) -> list[dict[str, Any]]:
        """System labels first, then the person's."""
        system = [{"id": name, "name": name, "type": "system"} for name in SYSTEM_LABELS]
        rows = self._db.execute("select label from gmail_labels where subject = ? order by id", (self._subject,))
        return [*system, *(json.loads(row[0]) for row in rows)]

    def keep_label(self, label: dict[str, Any]) -> None:
        """Raises sqlite3.IntegrityError when another has the name."""
        self._db.execute(
            "insert into gmail_labels values (?, ?, ?, ?) on conflict (subject, id) do update set name = excluded.name,"
            " label = excluded.label",
            (self._subject, label["id"], label["name"], json.dumps(label)),
        )

    def remove_label(self, identity: str) -> None:
        with self.change():
            for mail in self.mails():
                self.relabel(mail, remove=[identity])
            self._db.execute("delete from gmail_labels where subject = ? and id = ?", (self._subject, identity))

    def drafts(self) -> list[tuple[str, str]]:
        """The ids of drafts and of their mails, newest first."""
        rows = self._db.execute(
            "select id, message from gmail_drafts where subject = ? order by rowid desc", (self._subject,)
        )
        return [(row[0], row[1]) for row in rows]

    def keep_draft(self, identity: str, message: str) -> None:
        self._db.execute(
            "insert into gmail_drafts values (?, ?, ?) on conflict (subject, id) do update set message ="
            " excluded.message",
            (self._subject, identity, message),
        )

    def since(self, start: int) -> list[tuple[int, str, str, str, list[str]]]:
        """Changes after a history id: id, kind, mail, thread, labels.

        Raises:
            ApiError: 404, the history does not reach that far back.
        """
        old = self._now() - HISTORY_SECONDS
        gone = self._db.execute(
            "select max(history) from gmail_history where subject = ? and at < ?", (self._subject, old)
        ).fetchone()[0]
        if gone:
            self.forget(gone)
        floor = self._db.execute("select floor from gmail_boxes where subject = ?", (self._subject,)).fetchone()[0]
        if start < floor or start > self.history:
            raise not_found()
        rows = self._db.execute(
            "select history, kind, message, thread, labels from gmail_history where subject = ? and history > ?"
            " order by ordinal",
            (self._subject, start),
        )
        return [(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in rows]

    def forget(self, history: int) -> None:
        """Drop the history up to and with this id."""
        self._db.execute("delete from gmail_history where subject = ? and history <= ?", (self._subject, history))
        self._db.execute("update gmail_boxes set floor = ? where subject = ?", (history, self._subject))

    def searchable(self, mail: Mail, names: dict[str, str]) -> Searchable:
        """`names`: the person's own labels, their names by id."""
        said = mail.words
        return Searchable(
            sender=said.sender, to=said.to, cc=said.cc, bcc=said.bcc, subject=said.subject, body=said.body,
            filenames=said.filenames, message_id=said.message_id, list_id=said.list_id, labels=mail.labels,
            label_names=frozenset(names[label].lower() for label in mail.labels if label in names),
            received_at=mail.received_ms / 1000, size=mail.size,
        )  # fmt: skip

    def _thread_of(self, said: mime.Words) -> str | None:
        """The thread of a mail that this one answers, under the same subject."""
        if not said.references:
            return None
        for mail in self.mails():
            if mail.words.message_id in said.references and same_subject(mail.words.subject, said.subject):
                return mail.thread
        return None

    def _next_history(self) -> int:
        row = self._db.execute(
            "update gmail_boxes set history = history + 1 where subject = ? returning history", (self._subject,)
        ).fetchone()
        return int(row[0])

    def _note(self, history: int, kind: str, mail: Mail, labels: Iterable[str]) -> None:
        self._db.execute(
            "insert into gmail_history (subject, history, kind, message, thread, labels, at)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            (self._subject, history, kind, mail.id, mail.thread, _listed(labels), self._now()),
        )


def same_subject(one: str, other: str) -> bool:
    """Whether two subjects belong to one thread: the same without what answers and forwards put in front."""
    return _bare(one) == _bare(other)


def _bare(subject: str) -> str:
    return re.sub(r"(?i)^\s*((re|aw|fwd?|wg)\s*:\s*)+", "", subject).strip().lower()


def sent_copy(message: Message) -> bytes:
    """A mail as its readers get it: nobody learns of blind copies."""
    del message["Bcc"]
    return message.as_bytes()


_SELECT: Final = "select id, thread, received_ms, history, labels, snippet, words, size, seeded from gmail_messages"


def _mail(row: tuple[Any, ...]) -> Mail:
    identity, thread, received_ms, history, labels, snippet, words, size, seeded = row
    said = json.loads(words)
    for name in ("filenames", "references"):
        said[name] = tuple(said[name])
    held = frozenset(json.loads(labels))
    return Mail(identity, thread, received_ms, history, held, snippet, mime.Words(**said), size, bool(seeded))


def _listed(labels: Iterable[str]) -> str:
    return json.dumps(sorted(labels))
