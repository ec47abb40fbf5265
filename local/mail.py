"""The mail server of the local cloud: it takes every message and keeps it, so that a person or a test can read it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from local.faults import FaultBook
from local.places import HOST

MAX_MESSAGE_BYTES = 25 * 1024 * 1024

_SCHEMA = """
create table if not exists mail (
    id integer primary key autoincrement,
    recipient text not null collate nocase,
    sender text not null,
    subject text not null,
    body_text text not null,
    body_html text,
    received_at text not null,
    message_id text not null default ''
);
create index if not exists mail_recipient on mail (recipient, id);
"""


@dataclass(frozen=True)
class Mail:
    """One message as one of its recipients got it. `received_at` is RFC 3339, UTC; `html` is None without that part.

    A message that came twice is kept twice, with the same `message_id`.
    """

    id: int
    to: str
    sender: str
    subject: str
    text: str
    html: str | None
    received_at: str
    message_id: str

    def public(self) -> dict[str, Any]:
        """The form in which `GET /local/mail` answers."""
        shown = asdict(self)
        return {
            name: shown[name] for name in ("to", "subject", "text", "html", "received_at", "sender", "id", "message_id")
        }


class Mailbox:
    """The messages, in one SQLite file that several processes may open."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as database, database:
            database.execute("pragma journal_mode = wal")
            database.executescript(_SCHEMA)
            if "message_id" not in {row[1] for row in database.execute("pragma table_info(mail)")}:
                # A mailbox of an earlier start keeps its messages. Another process may be at the same.
                with suppress(sqlite3.OperationalError):
                    database.execute("alter table mail add column message_id text not null default ''")

    def keep(self, recipients: list[str], sender: str, message: EmailMessage) -> None:
        text, html = _part(message, "plain"), _part(message, "html")
        subject, message_id = str(message.get("subject", "")), str(message.get("message-id", ""))
        row = (sender, subject, text or "", html, datetime.now(UTC).isoformat(), message_id)
        with closing(self._open()) as database, database:
            database.executemany(
                "insert into mail (recipient, sender, subject, body_text, body_html, received_at, message_id)"
                " values (?, ?, ?, ?, ?, ?, ?)",
                [(recipient, *row) for recipient in recipients],
            )

    def read(self, to: str | None = None, limit: int = 100) -> list[Mail]:
        """The newest messages first, of one recipient or of all."""
        with closing(self._open()) as database:
            rows = database.execute(
                "select id, recipient, sender, subject, body_text, body_html, received_at, message_id from mail"
                " where ?1 is null or recipient = ?1 order by id desc limit ?2",
                (to, limit),
            ).fetchall()
        return [Mail(*row) for row in rows]

    def message(self, mail_id: int) -> Mail | None:
        with closing(self._open()) as database:
            row = database.execute(
                "select id, recipient, sender, subject, body_text, body_html, received_at, message_id from mail"
                " where id = ?",
                (mail_id,),
            ).fetchone()
        return Mail(*row) if row else None

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=10)


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    if part is None:
        return None
    content: str = part.get_content()
    # On the wire every line ends in CRLF (RFC 5322); readers of the mailbox are spared that.
    return content.replace("\r\n", "\n")


def _octets(content: bytes | str | None) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""


class Sink:
    """The handler behind the SMTP server. Faults of the stand-in `smtp` (method DATA) apply to each message."""

    def __init__(self, mailbox: Mailbox, faults: FaultBook) -> None:
        self._mailbox = mailbox
        self._faults = faults

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - named by aiosmtpd
        fault = self._faults.for_call("smtp", "DATA")
        await asyncio.sleep(fault.delay_ms / 1000)
        if fault.should_fail():
            return f"{fault.status or 451} 4.3.0 {fault.says or 'Refused because a fault was asked for'}"
        message = message_from_bytes(_octets(envelope.content), policy=default_policy)
        for _ in range(2 if fault.duplicate else 1):
            await asyncio.to_thread(self._mailbox.keep, envelope.rcpt_tos, envelope.mail_from or "", message)
        if fault.lose_answer and isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        return "250 2.0.0 Kept"


async def serve_mail(port: int, mailbox: Mailbox, faults: FaultBook) -> asyncio.Server:
    """Listen for SMTP on the loopback interface; the caller closes the server."""
    sink = Sink(mailbox, faults)

    def protocol() -> SMTP:
        return SMTP(sink, hostname="oprina.test", data_size_limit=MAX_MESSAGE_BYTES, enable_SMTPUTF8=True)

    return await asyncio.get_running_loop().create_server(protocol, HOST, port)
