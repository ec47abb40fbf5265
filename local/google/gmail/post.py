"""Sending: what leaves one mailbox arrives in those of the people who are known here."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime, formataddr, make_msgid, parseaddr
from typing import Final

from local.google.gmail import mime
from local.google.gmail.mailbox import Mail, Mailbox, same_subject, sent_copy
from local.google.gmail.seeding import seed
from local.google.people import GooglePerson, People
from local.google.rest import invalid

MAX_RECIPIENTS: Final = 500
MAX_MAIL_BYTES: Final = 35 * 1024 * 1024


class Post:
    def __init__(self, database: sqlite3.Connection, people: People, now: Callable[[], float]) -> None:
        self._db = database
        self._people = people
        self._now = now

    def mailbox(self, person: GooglePerson) -> Mailbox:
        """A person's mailbox, seeded when it is first opened."""
        box = Mailbox(self._db, person.subject, self._now)
        if not box.exists:
            seed(self._db, box, person, self._now())
        return box

    def send(self, person: GooglePerson, raw: bytes, thread: str = "") -> Mail:
        """Send a mail, in one transaction with its arrival. Raises ApiError when nobody is addressed."""
        message = self.composed(person, raw)
        recipients = mime.addresses(message, "To", "Cc", "Bcc")
        if not recipients:
            raise invalid("Recipient address required")
        if len(recipients) > MAX_RECIPIENTS:
            raise invalid("Too many recipients")
        readers = [found for address in recipients if (found := self._people.of_email(address))]
        # Seeding is a transaction of its own.
        boxes = [(reader, self.mailbox(reader)) for reader in readers]
        box = self.mailbox(person)
        with box.change():
            to_self = any(reader.subject == person.subject for reader in readers)
            labels = {"SENT", "INBOX", "UNREAD"} if to_self else {"SENT"}
            sent = box.add(message.as_bytes(), labels, thread=self.thread(box, message, thread))
            arriving = sent_copy(message)
            for reader, theirs in boxes:
                if reader.subject != person.subject:
                    theirs.add(arriving, {"INBOX", "UNREAD", "CATEGORY_PERSONAL"})
        return sent

    def composed(self, person: GooglePerson, raw: bytes) -> Message:
        """A mail as Gmail completes it: from this account, dated, and with an id, its own one where it has one."""
        if len(raw) > MAX_MAIL_BYTES:
            raise invalid("Message is too large", "uploadTooLarge")
        message = mime.read(raw)
        name, address = parseaddr(str(message.get("From", "")))
        if address.lower() != person.email.lower():
            del message["From"]
            message["From"] = formataddr((person.name, person.email))
        elif not name:
            message.replace_header("From", formataddr((person.name, person.email)))
        if "Date" not in message:
            message["Date"] = format_datetime(datetime.fromtimestamp(self._now(), UTC))
        if not str(message.get("Message-ID", "")).strip():
            del message["Message-ID"]
            message["Message-ID"] = make_msgid(domain="mail.gmail.com")
        return message

    def thread(self, box: Mailbox, message: Message, wanted: str) -> str:
        """The thread that a mail was asked into; empty when it does not belong there (another subject, no reference).

        https://developers.google.com/workspace/gmail/api/guides/threads
        """
        if not wanted:
            return ""
        mails = box.thread(wanted)
        said = mime.words(message)
        answers = any(mail.words.message_id in said.references for mail in mails)
        return wanted if answers and same_subject(mails[0].words.subject, said.subject) else ""
