"""What crosses the boundary when somebody signs in with Google."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from shared.accounts.models import Address, Device, Email, Language, Name, OpaqueToken

BrowserSecret = Annotated[str, StringConstraints(min_length=43, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
BrowserSecretHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
GoogleCode = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^[\x21-\x7e]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GoogleStart(_Strict):
    """The query that begins a flow."""

    browser_secret_hash: BrowserSecretHash = Field(
        description="SHA-256, in lower-case hex, of a random secret that stays in this browser until the flow's end."
    )


class GoogleConsent(BaseModel):
    """Where the person decides. The flow must have ended by `expires_at`."""

    url: str
    expires_at: datetime


class GoogleCompletion(_Strict):
    """What the browser came back with, and the secret it began with."""

    state: OpaqueToken
    code: GoogleCode
    browser_secret: BrowserSecret = Field(
        description="43 to 128 characters of URL-safe base64; what `browser_secret_hash` was made of."
    )


class GoogleFlow(BaseModel):
    """What the database keeps of a flow for its end: the PKCE verifier and the nonce.

    Both are plain: they open nothing without the code, which never reaches the database, and our client's secret.
    """

    verifier: str
    nonce: str


class GoogleAccount(BaseModel):
    """The Google account that somebody has shown to be theirs, as far as linking needs it."""

    subject: str = Field(min_length=1, max_length=255)
    email: str | None
    email_verified: bool
    vouched: bool


class GoogleSignIn(BaseModel):
    """A sign-in that is about to be stored, and the id of the person who is made when there is none."""

    person_id: UUID
    sign_in_id: UUID
    refresh_id: UUID
    refresh_hash: str
    refresh_expires_at: datetime
    device: Device


_EMAIL: TypeAdapter[str] = TypeAdapter(Email)
_PROFILE: dict[str, TypeAdapter[Any]] = {
    "full_name": TypeAdapter(Name),
    "preferred_name": TypeAdapter(Name),
    "avatar_url": TypeAdapter(Address),
    "language": TypeAdapter(Language),
}


def usable_email(value: str | None) -> str | None:
    """An address in the form in which addresses are kept; None when it could not have been registered."""
    return _usable(_EMAIL, value)


def usable_profile(**told: str | None) -> dict[str, str]:
    """Of what Google tells, that which the person could have typed into their profile themselves."""
    usable = {name: _usable(_PROFILE[name], value) for name, value in told.items()}
    return {name: value for name, value in usable.items() if value is not None}


def _usable(form: TypeAdapter[Any], value: str | None) -> str | None:
    try:
        return None if value is None else str(form.validate_python(value))
    except ValidationError:
        return None
