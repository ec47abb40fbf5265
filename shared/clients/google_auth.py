"""Credentials for Google's REST interfaces, by google-auth with requests as its transport."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@functools.cache
def _credentials() -> Any:
    import google.auth

    credentials, _ = google.auth.default(scopes=[_SCOPE])
    return credentials


async def bearer(endpoint: str) -> dict[str, str]:
    """The Authorization header for an endpoint; none for a plain http address, which is never Google's.

    Raises:
        google.auth.exceptions.GoogleAuthError: the platform has no credentials for us.
    """
    if endpoint.startswith("http://"):
        return {}
    from google.auth.transport.requests import Request

    credentials = _credentials()
    if not credentials.valid:
        # google-auth refreshes with blocking I/O.
        await asyncio.to_thread(credentials.refresh, Request())
    return {"Authorization": f"Bearer {credentials.token}"}
