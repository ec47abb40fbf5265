"""The mail server of the local cloud takes mail from an ordinary client and keeps it."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from local.faults import FaultBook
from local.mail import MAX_MESSAGE_BYTES, Mailbox, serve_mail


@dataclass
class Sink:
    port: int
    file: Path
    faults: FaultBook

    @property
    def mailbox(self) -> Mailbox:
        """Opened anew at each use, as another process would."""
        return Mailbox(self.file)

    async def send(self, message: EmailMessage, to: list[str] | None = None) -> None:
        def deliver() -> None:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as server:
                server.send_message(message, to_addrs=to)

        await asyncio.to_thread(deliver)


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    file, faults = tmp_path / "mail.sqlite3", FaultBook(tmp_path / "faults.json")
    server = await serve_mail(0, Mailbox(file), faults)
    yield Sink(server.sockets[0].getsockname()[1], file, faults)
    server.close()
    await server.wait_closed()


def a_mail(subject: str = "Welcome", to: str = "ada@oprina.test") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "no-reply@oprina.test", to, subject
    message.set_content("Grüße, 你好.\n")
    return message


async def test_a_mail_is_kept_with_both_of_its_parts(sink: Sink) -> None:
    message = a_mail("Bestätigung ✓")
    message.add_alternative("<p>Grüße</p>\n", subtype="html")
    await sink.send(message)
    (mail,) = sink.mailbox.read("ada@oprina.test")
    assert (mail.subject, mail.text, mail.html) == ("Bestätigung ✓", "Grüße, 你好.\n", "<p>Grüße</p>\n")
    assert mail.sender == "no-reply@oprina.test"
    assert mail.received_at.endswith("+00:00")


async def test_each_recipient_has_the_mail_and_addresses_ignore_case(sink: Sink) -> None:
    await sink.send(a_mail(), to=["ada@oprina.test", "Bob@oprina.test"])
    assert len(sink.mailbox.read()) == 2
    assert [mail.to for mail in sink.mailbox.read("bob@OPRINA.test")] == ["Bob@oprina.test"]


async def test_the_newest_mail_comes_first_and_a_reopened_box_still_has_all(sink: Sink) -> None:
    for subject in ("one", "two", "three"):
        await sink.send(a_mail(subject))
    assert [mail.subject for mail in sink.mailbox.read("ada@oprina.test")] == ["three", "two", "one"]
    assert [mail.subject for mail in sink.mailbox.read("ada@oprina.test", limit=1)] == ["three"]


async def test_a_mail_without_a_text_part_is_kept_too(sink: Sink) -> None:
    message = EmailMessage()
    message["From"], message["To"] = "a@oprina.test", "ada@oprina.test"
    message.set_content("<b>only html</b>", subtype="html")
    await sink.send(message)
    (mail,) = sink.mailbox.read()
    assert (mail.subject, mail.text, mail.html) == ("", "", "<b>only html</b>\n")


async def test_a_refusal_on_request_reaches_the_client_and_nothing_is_kept(sink: Sink) -> None:
    sink.faults.write({"smtp": {"DATA": {"status": 452}}})
    with pytest.raises(smtplib.SMTPDataError) as refused:
        await sink.send(a_mail())
    assert refused.value.smtp_code == 452
    assert sink.mailbox.read() == []


async def test_a_lost_answer_leaves_the_mail_kept_and_the_client_unsure(sink: Sink) -> None:
    sink.faults.write({"smtp": {"*": {"lose_answer": True}}})
    with pytest.raises(smtplib.SMTPServerDisconnected):
        await sink.send(a_mail())
    assert len(sink.mailbox.read()) == 1


async def test_a_duplicate_on_request_is_kept_twice(sink: Sink) -> None:
    sink.faults.write({"smtp": {"DATA": {"duplicate": True}}})
    await sink.send(a_mail())
    assert len(sink.mailbox.read("ada@oprina.test")) == 2


async def test_a_mail_beyond_the_announced_size_is_refused(sink: Sink) -> None:
    message = a_mail()
    message.add_attachment(b"x" * MAX_MESSAGE_BYTES, "application", "octet-stream")
    with pytest.raises(smtplib.SMTPSenderRefused):
        await sink.send(message)
    assert sink.mailbox.read() == []
