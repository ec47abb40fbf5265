"""Mails as bytes, and as Gmail's `MessagePart` shows them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import re
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import getaddresses
from typing import Any, Final

# A seeded part whose content is made when somebody asks for it. Only honoured in mails that the stand-in seeded.
MADE: Final = "X-Stand-In-Bytes"
_TAG: Final = re.compile(r"(?is)<(style|script|head)\b.*?</\1\s*>|<[^>]*>")
SNIPPET_CHARACTERS: Final = 200


@dataclass(frozen=True)
class Words:
    """What of a mail can be searched. Addresses are `name <address>` lists as they stand, decoded."""

    sender: str
    to: str
    cc: str
    bcc: str
    subject: str
    body: str
    filenames: tuple[str, ...]
    message_id: str
    list_id: str
    references: tuple[str, ...]


def read(raw: bytes) -> Message:
    return BytesParser(policy=compat32).parsebytes(raw)


def header(message: Message, name: str) -> str:
    """A header's text, decoded (RFC 2047); as it stands where its encoding is broken."""
    found = message.get(name)
    if found is None:
        return ""
    return decoded(str(found))


def decoded(value: str) -> str:
    unfolded = re.sub(r"\r?\n[ \t]", " ", value)
    try:
        return str(make_header(decode_header(unfolded)))
    except (LookupError, UnicodeError, ValueError, binascii.Error):
        return unfolded


def addresses(message: Message, *names: str) -> list[str]:
    """The bare addresses in these headers, in lower case, each once."""
    values = [str(value) for name in names for value in message.get_all(name, [])]
    found = [address.lower() for _, address in getaddresses(values) if "@" in address]
    return list(dict.fromkeys(found))


def words(message: Message) -> Words:
    references = f"{message.get('References', '')} {message.get('In-Reply-To', '')}"
    return Words(
        sender=header(message, "From"),
        to=header(message, "To"),
        cc=header(message, "Cc"),
        bcc=header(message, "Bcc"),
        subject=header(message, "Subject"),
        body=plain(message),
        filenames=tuple(name for part in message.walk() if (name := _filename(part))),
        message_id=str(message.get("Message-ID", "")).strip(),
        list_id=header(message, "List-Id"),
        references=tuple(dict.fromkeys(re.findall(r"<[^<>\s]+>", references))),
    )


def plain(message: Message) -> str:
    """The words of a mail: its plain text, else what its HTML shows."""
    texts = [part for part in message.walk() if part.get_content_maintype() == "text" and not _filename(part)]
    chosen = [part for part in texts if part.get_content_subtype() == "plain"] or texts
    return "\n".join(_shown(part) for part in chosen)


def snippet(message: Message) -> str:
    """The beginning of a mail, in one line, with Gmail's HTML escapes."""
    return html.escape(" ".join(plain(message).split())[:SNIPPET_CHARACTERS])


def filled(message: Message) -> Message:
    """The mail with the content of its parts that are made on demand."""
    for part in message.walk():
        if MADE in part:
            data = base64.encodebytes(made(int(part[MADE]))).decode().replace("\n", "\r\n")
            del part[MADE]
            part.set_payload(data)
    return message


def made(size: int) -> bytes:
    """`size` bytes that look like a document and are the same each time."""
    block = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256))
    start = b"%PDF-1.4\n"
    return (start + block * (size // len(block) + 1))[:size]


def payload(
    message: Message, message_id: str, *, seeded: bool, headers: frozenset[str] | None = None
) -> dict[str, Any]:
    """The tree of parts. With `headers`, format metadata: no parts, and of the headers these, or all when empty."""
    if headers is not None:
        kept = [item for item in _headers(message) if not headers or item["name"].lower() in headers]
        return {"mimeType": message.get_content_type(), "headers": kept}
    return _part(message, message_id, "", seeded=seeded)


def attachment(message: Message, part_id: str, *, seeded: bool) -> bytes | None:
    """The content of the part with this id; None when there is none."""
    part = _find(message, part_id)
    return None if part is None else _content(part, seeded=seeded)


def attachment_id(message_id: str, part_id: str) -> str:
    return "ANGjdJ" + encode(f"{message_id}/{part_id}".encode()).rstrip("=")


def part_of(attachment: str, message_id: str) -> str | None:
    """The part that an attachment id stands for in this mail; None when it is no such id."""
    try:
        owner, _, part = decode(attachment.removeprefix("ANGjdJ")).decode().partition("/")
    except ValueError:
        return None
    return part if owner == message_id else None


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def decode(text: str) -> bytes:
    """base64url with or without padding. Raises ValueError when it is none."""
    if not re.fullmatch(r"[A-Za-z0-9_+/\s-]*={0,2}\s*", text):
        raise ValueError("not base64url")
    bare = "".join(text.split()).rstrip("=").replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))


def _part(part: Message, message_id: str, part_id: str, *, seeded: bool) -> dict[str, Any]:
    filename = _filename(part)
    shown: dict[str, Any] = {
        "partId": part_id,
        "mimeType": part.get_content_type(),
        "filename": filename,
        "headers": _headers(part),
    }
    if part.is_multipart() and part.get_content_maintype() == "multipart":
        prefix = f"{part_id}." if part_id else ""
        shown["body"] = {"size": 0}
        shown["parts"] = [
            _part(child, message_id, f"{prefix}{number}", seeded=seeded) for number, child in enumerate(_children(part))
        ]
        return shown
    if filename:
        size = int(part[MADE]) if seeded and MADE in part else len(_content(part, seeded=seeded))
        shown["body"] = {"attachmentId": attachment_id(message_id, part_id), "size": size}
        return shown
    content = _content(part, seeded=seeded)
    shown["body"] = {"size": len(content), "data": encode(content)} if content else {"size": 0}
    return shown


def _children(part: Message) -> list[Message]:
    inside = part.get_payload()
    return [child for child in inside if isinstance(child, Message)] if isinstance(inside, list) else []


def _find(message: Message, part_id: str) -> Message | None:
    found = message
    for number in part_id.split(".") if part_id else []:
        children = _children(found)
        if not number.isdecimal() or int(number) >= len(children):
            return None
        found = children[int(number)]
    return found


def _headers(part: Message) -> list[dict[str, str]]:
    return [{"name": name, "value": decoded(str(value))} for name, value in part.items() if name != MADE]


def _filename(part: Message) -> str:
    name = part.get_filename()
    return decoded(name) if name else ""


def _content(part: Message, *, seeded: bool) -> bytes:
    """What a part holds; text in UTF-8, as Gmail gives it, where its charset is known."""
    if seeded and MADE in part:
        return made(int(part[MADE]))
    if part.get_content_type() == "message/rfc822":
        return b"".join(child.as_bytes() for child in _children(part))
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return b""
    charset = part.get_content_charset()
    if part.get_content_maintype() == "text" and charset and not _filename(part):
        try:
            return content.decode(charset).encode()
        except (LookupError, UnicodeError):
            return content
    return content


def _shown(part: Message) -> str:
    text = _content(part, seeded=False).decode(errors="replace")
    return html.unescape(_TAG.sub(" ", text)) if part.get_content_subtype() == "html" else text
