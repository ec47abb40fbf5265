"""The issuer's public keys (RFC 7517), fetched from their public address and cached for five minutes."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import jwt

_LIFESPAN_SECONDS = 300
_TIMEOUT_SECONDS = 5


class KeysUnavailable(Exception):
    """The keys' address does not answer."""


class UnknownKey(Exception):
    """The token names a key that the issuer does not have."""


@functools.cache
def _keys(url: str) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(url, cache_keys=True, lifespan=_LIFESPAN_SECONDS, timeout=_TIMEOUT_SECONDS)


async def signing_key(url: str, token: str) -> Any:
    """The public key that `token` says it is signed with.

    Raises:
        jwt.DecodeError: the token is not a JWT.
        UnknownKey: no such key; an unknown `kid` makes the keys be fetched again first.
        KeysUnavailable: the keys cannot be fetched.
    """
    kid = jwt.get_unverified_header(token).get("kid")
    if not isinstance(kid, str):
        raise UnknownKey("the token names no key")
    keys = _keys(url)
    try:
        # The client fetches with blocking I/O when its cache is empty or old.
        return (await asyncio.to_thread(keys.get_signing_key, kid)).key
    except jwt.PyJWKClientConnectionError as error:
        raise KeysUnavailable(str(error)) from error
    except jwt.PyJWKClientError as error:
        raise UnknownKey(str(error)) from error


async def fetched(url: str) -> None:
    """Have the keys in the cache.

    Raises:
        KeysUnavailable: they cannot be fetched.
    """
    try:
        await asyncio.to_thread(_keys(url).get_jwk_set)
    except jwt.PyJWTError as error:
        raise KeysUnavailable(str(error)) from error
