"""Identifiers and secrets. Ids are UUIDs of version 7 (RFC 9562), so that they sort by the time they were made."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from uuid import UUID

import uuid6

_make: Callable[[], UUID] = lambda: UUID(int=uuid6.uuid7().int)  # noqa: E731


def new_id() -> UUID:
    return _make()


def new_secret() -> str:
    """An opaque 256-bit secret in URL-safe base64, 43 characters."""
    return secrets.token_urlsafe(32)


@contextlib.contextmanager
def held(make: Callable[[], UUID]) -> Iterator[None]:
    """Let `make` produce the ids. For tests."""
    global _make
    before, _make = _make, make
    try:
        yield
    finally:
        _make = before
