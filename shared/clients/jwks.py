"""The issuer's public keys (RFC 7517), fetched from their public address and cached for five minutes."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import jwt

from shared.runtime.errors import Unavailable

_LIFESPAN_SECONDS = 300
_TIMEOUT_SECONDS = 5


class KeysUnavailable(Exception):
    """The keys' address does not answer."""


class UnknownKey(Exception):
    """The token names a key that the issuer does not have."""


@functools.cache
def _keys(url: str) -> jwt.PyJWKClient:
    # Its second cache, of single keys, never forgets: a key that was withdrawn would be good here for ever.
    return jwt.PyJWKClient(url, cache_keys=False, lifespan=_LIFESPAN_SECONDS, timeout=_TIMEOUT_SECONDS)


def _at_hand(keys: jwt.PyJWKClient, kid: str) -> Any:
    """The key, if the set that was fetched last is fresh and has it."""
    fetched = keys.jwk_set_cache.get() if keys.jwk_set_cache else None
    return next((known.key for known in fetched.keys if known.key_id == kid), None) if fetched else None


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
    if (key := _at_hand(keys, kid)) is not None:
        return key
    try:
        # The client fetches with blocking I/O when its cache is empty or old.
        return (await asyncio.to_thread(keys.get_signing_key, kid)).key
    except jwt.PyJWKClientConnectionError as error:
        raise KeysUnavailable(str(error)) from error
    except jwt.PyJWKClientError as error:
        raise UnknownKey(str(error)) from error


async def check(url: str) -> None:
    """Fetch the keys afresh and read them.

    Raises:
        Unavailable: there are none to read (`keys_unavailable`).
    """
    # Whoever only checks tokens fetches by the library.
    from shared.clients import public_objects

    try:
        jwt.PyJWKSet.from_json((await public_objects.fetch(url, fresh=True)).decode())
    except (public_objects.ObjectUnavailable, jwt.PyJWTError, ValueError) as error:
        raise Unavailable("The public keys cannot be read.", code="keys_unavailable") from error


async def fetched(url: str) -> None:
    """Have the keys in the cache.

    Raises:
        KeysUnavailable: they cannot be fetched.
    """
    try:
        await asyncio.to_thread(_keys(url).get_jwk_set)
    except jwt.PyJWTError as error:
        raise KeysUnavailable(str(error)) from error
