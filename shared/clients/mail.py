"""Mail over SMTP (RFC 5321). STARTTLS is used whenever the address does not say plain `smtp:` to a local host."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from shared.runtime.settings import SecretStr, Settings, load

_TIMEOUT_SECONDS = 10
_LOCAL = {"127.0.0.1", "localhost", "::1"}


class MailSettings(Settings):
    """`smtp_url` is `smtp://[user:password@]host[:port]` or `smtps://…`; it is a secret when it holds a password."""

    smtp_url: SecretStr
    mail_from: str


@dataclass(frozen=True)
class Mail:
    """`message_id` without brackets; the same mail sent twice carries the same one, so that receivers can tell."""

    message_id: str
    to: str
    subject: str
    text: str
    html: str | None = None


class MailFailed(Exception):
    """The mail server did not take the mail."""


async def send(mail: Mail) -> None:
    """Hand one mail to the server.

    Raises:
        MailFailed: it was not taken, or nobody can tell; sending again is safe as far as the message id goes.
    """
    try:
        await asyncio.to_thread(_send, mail, load(MailSettings))
    except (OSError, smtplib.SMTPException) as error:
        raise MailFailed(type(error).__name__) from error


def _send(mail: Mail, settings: MailSettings) -> None:
    address = urlsplit(settings.smtp_url.get_secret_value())
    host = address.hostname or "localhost"
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.mail_from, mail.to, mail.subject
    message["Message-ID"] = f"<{mail.message_id}>"
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
    context = ssl.create_default_context()
    with _connect(address.scheme, host, address.port, context) as server:
        if address.scheme == "smtp" and host not in _LOCAL:
            server.starttls(context=context)
        if address.username:
            server.login(unquote(address.username), unquote(address.password or ""))
        server.send_message(message)


def _connect(scheme: str, host: str, port: int | None, context: ssl.SSLContext) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=_TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(host, port or 587, timeout=_TIMEOUT_SECONDS)
