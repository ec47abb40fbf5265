"""Signing in and staying signed in: the only place that makes tokens."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from shared.accounts import passwords, rules, store, tokens
from shared.accounts.models import (
    USER_AGENT_MAX,
    Credentials,
    Device,
    NewSignIn,
    OpenedSignIn,
    RefreshToken,
    SignedInAnswer,
    StoredCredentials,
    VerificationToken,
)
from shared.runtime import clock, ids, logs
from shared.runtime.crypto import digest
from shared.runtime.errors import Forbidden, OprinaError, Unauthenticated
from shared.runtime.visit import Visit

_REFUSALS: Final = {
    "refresh_token_invalid": "This refresh token is not valid, or it has expired. Sign in again.",
    "refresh_token_reused": "This refresh token was used before, so its sign-in was ended. Sign in again.",
    "person_inactive": "This account is not active.",
}


async def login(visit: Visit, given: Credentials, user_agent: str | None) -> SignedInAnswer:
    """Sign in with a password. An unknown address costs as much work as a wrong password.

    Raises:
        RateLimited: too many failures with this address, from networks like this one; the password is not looked at.
        Unauthenticated: wrong address or password (`credentials_invalid`), or the person is not active.
        Forbidden: `email_unverified`, told only to who knows the password.
    """
    known = await store.find_credentials(visit, given.email)
    right = await passwords.matches(given.password, known.password_hash if known else None)
    if known is None or not right:
        await store.note_failed_sign_in(visit, known.user_id if known else None)
        raise Unauthenticated("The e-mail address or the password is wrong.", code="credentials_invalid")
    if not known.verified:
        raise Forbidden(
            "Confirm your e-mail address first: open the link in the mail we sent you, or ask for another one.",
            code="email_unverified",
        )
    signed_in = await _open(visit, known.user_id, user_agent, known.proof())
    await _renew_hash(visit, known, given.password)
    return signed_in


async def verify_email(visit: Visit, given: VerificationToken, user_agent: str | None) -> SignedInAnswer:
    """Confirm an address with the token from its mail, once, and sign its person in.

    Raises:
        BadRequest: `token_invalid`: unknown, used or expired, which are not told apart.
    """
    person_id = await store.verify_email(visit, digest(given.token))
    return await _open(visit, person_id, user_agent, {"by": "verification"})


async def refresh(visit: Visit, given: RefreshToken) -> SignedInAnswer:
    """Exchange a refresh token for a new pair. Using one that was exchanged before ends the whole sign-in.

    Raises:
        Unauthenticated: `refresh_token_invalid`, `refresh_token_reused` or `person_inactive`.
    """
    now, token = clock.now(), ids.new_secret()
    rotated = await store.rotate_refresh(
        visit,
        old_hash=digest(given.refresh_token),
        new_id=ids.new_id(),
        new_hash=digest(token),
        expires_at=rules.refresh_token_expiry(now),
    )
    if isinstance(rotated, str):
        raise Unauthenticated(_REFUSALS.get(rotated, "Sign in again."), code=rotated)
    return answer(rotated, token)


async def _open(visit: Visit, person_id: UUID, user_agent: str | None, how: dict[str, Any]) -> SignedInAnswer:
    new, refresh_token = new_sign_in(visit, user_agent)
    return answer(await store.open_sign_in(visit, person_id, new, how), refresh_token)


def new_sign_in(visit: Visit, user_agent: str | None) -> tuple[NewSignIn, str]:
    """A sign-in of this caller as it will be stored, and its first refresh token."""
    token = ids.new_secret()
    new = NewSignIn(
        sign_in_id=ids.new_id(),
        refresh_id=ids.new_id(),
        refresh_hash=digest(token),
        refresh_expires_at=rules.refresh_token_expiry(clock.now()),
        device=Device(user_agent=user_agent[:USER_AGENT_MAX] if user_agent else None, address=visit.address),
    )
    return new, token


async def _renew_hash(visit: Visit, known: StoredCredentials, password: str) -> None:
    """Hash a password again where the cost has risen since. The person is signed in whatever becomes of it."""
    if known.password_hash is None or not passwords.is_outdated(known.password_hash):
        return
    try:
        await store.renew_password_hash(
            visit, known.user_id, old_hash=known.password_hash, new_hash=await passwords.hashed(password)
        )
    except OprinaError as error:
        logs.logger().warning("a password hash was not renewed; the next sign-in will", extra={"code": error.code})


def answer(opened: OpenedSignIn, refresh_token: str) -> SignedInAnswer:
    """What a person gets whose sign-in is stored: an access token, and the refresh token that was made with it."""
    return SignedInAnswer(
        user=opened.user,
        access_token=tokens.access_token(opened.user.id, opened.sign_in_id, clock.now()),
        expires_in=int(rules.ACCESS_TOKEN_LIFE.total_seconds()),
        refresh_token=refresh_token,
    )
