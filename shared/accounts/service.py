"""Use cases of a person who is signed in, and the public documents that verifiers read."""

from __future__ import annotations

from shared.accounts import store
from shared.accounts.models import Profile, ProfileChanges
from shared.clients import public_objects
from shared.runtime.errors import Unavailable
from shared.runtime.settings import Settings, load
from shared.runtime.visit import Visit


class PublicDocumentSettings(Settings):
    """Where the issuer's public documents lie: at an address that was known before anything was deployed."""

    token_issuer: str
    jwks_url: str


async def me(visit: Visit) -> Profile:
    return await store.get_profile(visit)


async def update_me(visit: Visit, wanted: ProfileChanges) -> Profile:
    """Change the fields that the request names; null clears one."""
    return await store.update_profile(visit, wanted.changes())


async def logout(visit: Visit) -> None:
    """End the sign-in that the access token belongs to. Its tokens are refused from the next request on."""
    await store.end_sign_in(visit)


async def jwks() -> bytes:
    """The very bytes of the published keys.

    Raises:
        Unavailable: they cannot be fetched (`keys_unavailable`).
    """
    return await _document(load(PublicDocumentSettings).jwks_url)


async def openid_configuration() -> bytes:
    """The very bytes of the published OpenID Connect discovery document.

    Raises:
        Unavailable: it cannot be fetched (`keys_unavailable`).
    """
    return await _document(load(PublicDocumentSettings).token_issuer.rstrip("/") + "/.well-known/openid-configuration")


async def _document(url: str) -> bytes:
    try:
        return await public_objects.fetch(url)
    except public_objects.ObjectUnavailable as error:
        raise Unavailable(
            "The keys cannot be read just now. Try again in a moment.",
            code="keys_unavailable",
            retry_after_seconds=1,
        ) from error
