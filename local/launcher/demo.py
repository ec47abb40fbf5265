"""The demo person, made by the product itself: registered, verified by the mail that arrives, and signed in once."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from local.launcher.supervision import PartFailed
from local.places import Places

EMAIL = "demo@oprina.test"
PASSWORD = "speak-with-oprina"  # noqa: S105 - a published one, of a person who exists on this machine only
PROFILE = {"full_name": "Demo Person", "preferred_name": "Demo", "timezone": "Europe/Berlin", "language": "en"}

MAIL_WITHIN_SECONDS = 20.0
VERIFICATION_LINK = re.compile(r"#verify=([A-Za-z0-9_-]{20,})")


def is_made(places: Places) -> bool:
    return _marker(places).exists()


async def make(places: Places) -> None:
    """Make the demo person; does nothing when it exists already.

    Raises:
        PartFailed: the product refused, with what it said.
    """
    try:
        await _make(places)
    except (OSError, ValueError) as error:
        raise PartFailed(f"The demo person could not be made: {error}") from None


async def _make(places: Places) -> None:
    base = places.gateway_url
    credentials = {"email": EMAIL, "password": PASSWORD}
    if (await asyncio.to_thread(_call, base, "/v1/auth/login", credentials))[0] != 200:
        await asyncio.to_thread(_expect, 202, base, "/v1/auth/register", credentials | PROFILE)
        token = {"token": await _mailed_token(base)}
        await asyncio.to_thread(_expect, 200, base, "/v1/auth/email/verify", token)
        await asyncio.to_thread(_expect, 200, base, "/v1/auth/login", credentials)
    _marker(places).touch()


def _marker(places: Places) -> Path:
    return places.data / "demo-person-made"


async def _mailed_token(base: str) -> str:
    until = time.monotonic() + MAIL_WITHIN_SECONDS
    while time.monotonic() < until:
        for text in await asyncio.to_thread(_mails, base):
            if found := VERIFICATION_LINK.search(text):
                return found.group(1)
        await asyncio.sleep(0.05)
    raise ValueError(f"no mail with a verification link arrived within {MAIL_WITHIN_SECONDS:.0f} s")


def _mails(base: str) -> list[str]:
    address = f"{base}/local/mail?{urllib.parse.urlencode({'to': EMAIL})}"
    with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own address
        return [mail["text"] for mail in json.load(answer)]


def _expect(status: int, base: str, path: str, body: dict[str, str]) -> None:
    got, text = _call(base, path, body)
    if got != status:
        raise ValueError(f"POST {path} answered {got}: {text}")


def _call(base: str, path: str, body: dict[str, str]) -> tuple[int, str]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own address
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
