"""Small cryptographic helpers used by more than one room."""

from __future__ import annotations

import hashlib


def digest(value: str | bytes) -> str:
    """SHA-256 in lower-case hex (64 characters): how opaque secrets are stored and payloads fingerprinted.

    Only for values with at least 128 bits of entropy of their own, or that are no secret. Never for passwords.
    """
    data = value.encode() if isinstance(value, str) else value
    return hashlib.sha256(data).hexdigest()
