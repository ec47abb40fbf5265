"""Addresses of files that are good for a while: signed, with their end in them."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlencode


def link(base: str, key: str, path: str, expires_at: int) -> str:
    """`path` begins with a slash; `expires_at` in seconds since the epoch."""
    return f"{base}{path}?{urlencode({'Expires': expires_at, 'Signature': _signature(key, path, expires_at)})}"


def opens(key: str, path: str, expires_at: str, signature: str, now: float) -> bool:
    """Whether these parameters of a link open the file at `path`."""
    if not expires_at.isdecimal():
        return False
    genuine = hmac.compare_digest(_signature(key, path, int(expires_at)), signature)
    return genuine and now < int(expires_at)


def _signature(key: str, path: str, expires_at: int) -> str:
    return hmac.new(key.encode(), f"{path}\n{expires_at}".encode(), hashlib.sha256).hexdigest()
