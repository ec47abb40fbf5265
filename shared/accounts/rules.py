"""Pure decisions of the accounts room: passwords, lifetimes, time zones."""

from __future__ import annotations

import functools
import unicodedata
import zoneinfo
from datetime import datetime, timedelta
from typing import Final

ACCESS_TOKEN_LIFE: Final = timedelta(minutes=15)
REFRESH_TOKEN_LIFE: Final = timedelta(days=30)
VERIFICATION_LIFE: Final = timedelta(hours=24)
RESET_LIFE: Final = timedelta(hours=1)

PASSWORD_MIN_CHARACTERS: Final = 8
# bcrypt reads no further; what it does not read must not seem to protect anything.
PASSWORD_MAX_BYTES: Final = 72
PREFERENCES_MAX_BYTES: Final = 8 * 1024


def password_bytes(password: str) -> bytes:
    """A password as it is hashed: in Unicode's composed form (RFC 8265), so that every keyboard types the same one."""
    return unicodedata.normalize("NFC", password).encode()


def password_refusal(password: str) -> str | None:
    """Why this password cannot be chosen, as a sentence; None when it can."""
    if len(password) < PASSWORD_MIN_CHARACTERS:
        return f"A password has at least {PASSWORD_MIN_CHARACTERS} characters."
    if len(password_bytes(password)) > PASSWORD_MAX_BYTES:
        return f"A password has at most {PASSWORD_MAX_BYTES} bytes; letters beyond ASCII take two to four each."
    return None


def folded(password: str) -> str:
    """A password as guessers try it: without regard to case, and to how its letters are composed."""
    return unicodedata.normalize("NFKC", password).casefold()


def is_own_address(password: str, email: str) -> bool:
    """Whether a password is the person's own address, or what stands before its @."""
    return folded(password) in {folded(email), folded(email.rpartition("@")[0])}


def refresh_token_expiry(now: datetime) -> datetime:
    return now + REFRESH_TOKEN_LIFE


def verification_expiry(now: datetime) -> datetime:
    return now + VERIFICATION_LIFE


def reset_expiry(now: datetime) -> datetime:
    return now + RESET_LIFE


@functools.cache
def timezones() -> frozenset[str]:
    """The names of the IANA time zone database."""
    return frozenset(zoneinfo.available_timezones()) - {"Factory", "localtime"}
