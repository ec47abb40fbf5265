"""Mail over SMTP (RFC 5321). STARTTLS is used whenever the address does not say plain `smtp:` to a local host."""

from __future__ import annotations

import asyncio
import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from shared.runtime import clock
from shared.runtime.errors import Unavailable
from shared.runtime.settings import SecretStr, Settings, load

_TIMEOUT_SECONDS = 10
_CHECK_TIMEOUT_SECONDS = 3
_DOMAIN = re.compile(r"[\w.-]+")
_LOCAL = {"127.0.0.1", "localhost", "::1"}


class MailSettings(Settings):
    """`smtp_url` is `smtp://[user:password@]host[:port]` or `smtps://…`; it is a secret when it holds a password."""

    smtp_url: SecretStr
    mail_from: str


@dataclass(frozen=True)
class Mail:
    """`message_id` without brackets; the same mail sent twice carries the same one, so that receivers can tell.

    `to` and `reply_to` are one bare address each.
    """

    message_id: str
    to: str
    subject: str
    text: str
    html: str | None = None
    reply_to: str | None = None


class MailFailed(Exception):
    """The mail server did not take the mail."""


async def send(mail: Mail) -> None:
    """Hand one mail to the server.

    Raises:
        MailFailed: it was not taken, or nobody can tell; sending again is safe as far as the message id goes. Or it
            cannot be a mail at all: a header that is more than one line, an address that is none or more than one.
    """
    try:
        await asyncio.to_thread(_send, mail, load(MailSettings))
    except (OSError, smtplib.SMTPException, MessageError, ValueError) as error:
        raise MailFailed(type(error).__name__) from error


async def check() -> None:
    """Go as far with the mail server as one can without a mail: connect, EHLO, encryption and credentials as for one.

    Raises:
        Unavailable: it does not answer, or not as it would have to (`mail_unavailable`).
    """
    try:
        await asyncio.to_thread(_greet, load(MailSettings))
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable("The mail server does not answer.", code="mail_unavailable") from error


def _greet(settings: MailSettings) -> None:
    with _server(settings, _CHECK_TIMEOUT_SECONDS) as server:
        server.ehlo_or_helo_if_needed()
        server.noop()


def _send(mail: Mail, settings: MailSettings) -> None:
    message = _message(mail, settings.mail_from)
    with _server(settings, _TIMEOUT_SECONDS) as server:
        server.send_message(message)


def _message(mail: Mail, sender: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = sender, _one_address(mail.to)
    message["Subject"], message["Date"] = mail.subject, clock.now()
    message["Message-ID"] = f"<{mail.message_id}>"
    # So that no machine answers it (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    if mail.reply_to is not None:
        message["Reply-To"] = _one_address(mail.reply_to)
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
    return message


def _one_address(bare: str) -> Address:
    """One address, whatever is in it; as text it could be a list of them.

    Raises:
        ValueError: it is none.
    """
    name, _, domain = bare.rpartition("@")
    if not name or not _DOMAIN.fullmatch(domain):
        raise ValueError("this is no address")
    return Address(username=name, domain=domain)


@contextmanager
def _server(settings: MailSettings, timeout_seconds: float) -> Iterator[smtplib.SMTP]:
    """A connection that is as far as mails may be sent over it."""
    address = urlsplit(settings.smtp_url.get_secret_value())
    host = address.hostname or "localhost"
    context = ssl.create_default_context()
    with _connect(address.scheme, host, address.port, context, timeout_seconds) as server:
        if address.scheme == "smtp" and host not in _LOCAL:
            server.starttls(context=context)
        if address.username:
            server.login(unquote(address.username), unquote(address.password or ""))
        yield server


def _connect(scheme: str, host: str, port: int | None, context: ssl.SSLContext, timeout_seconds: float) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=timeout_seconds, context=context)
    return smtplib.SMTP(host, port or 587, timeout=timeout_seconds)
