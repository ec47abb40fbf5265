"""Use cases of a person who is signed in, and the public documents that verifiers read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from shared.accounts import store
from shared.accounts.models import Profile, ProfileChanges, SignIn, SignInPosition
from shared.accounts.store import Cursor
from shared.clients import public_objects
from shared.runtime.errors import BadRequest, Unavailable
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


async def logout_everywhere(visit: Visit) -> None:
    """End every sign-in of the person, this one too."""
    await store.end_all_sign_ins(visit)


async def list_sign_ins(visit: Visit, *, limit: int, after: Cursor) -> tuple[list[SignIn], Cursor]:
    """One page of the devices that are signed in, the newest sign-in first, and the position of the next one."""
    if after is not None:
        _check(after)
    return await store.list_sign_ins(visit, limit=limit, after=after)


async def end_one_sign_in(visit: Visit, sign_in_id: UUID) -> None:
    """End one of the person's sign-ins, which may be this one. Ending one that has ended changes nothing.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    await store.end_one_sign_in(visit, sign_in_id)


def _check(after: Mapping[str, Any]) -> None:
    try:
        SignInPosition.model_validate(after)
    except ValidationError:
        raise BadRequest(
            "This cursor belongs to no list like this one. Start again without a cursor.", code="cursor_invalid"
        ) from None


def join_outbox() -> None:
    """Have the outbox know who ends the activities of the suspended and who erases the deleted."""
    from shared.accounts import endings, erasure  # noqa: F401 - they join when they are imported


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
