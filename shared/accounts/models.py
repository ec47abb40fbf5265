"""What crosses the boundary of the accounts room."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from shared.accounts import rules

USER_AGENT_MAX = 300

_PASSWORD_SIZE = "At least 8 characters and at most 72 bytes in UTF-8, and none of the common ones."  # noqa: S105 - its rule

_HTTP_URL = TypeAdapter(HttpUrl)

# No control characters and no line breaks of any kind.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"


def _normal_email(value: str) -> str:
    # Only the functions that take an address pay for the library.
    from email_validator import EmailNotValidError, validate_email

    try:
        # No look-ups: a mail tells better than DNS. `.test` is reserved (RFC 6761) and can never reach a stranger.
        found = validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    return (found.ascii_email or found.normalized).lower()


def _known_timezone(value: str) -> str:
    if value not in rules.timezones():
        raise ValueError("This is not a time zone of the IANA database, such as Europe/Madrid.")
    return value


def _web_address(value: str) -> str:
    try:
        return str(_HTTP_URL.validate_python(value))
    except ValidationError:
        raise ValueError("This is not an http or https address.") from None


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("The NUL character is not allowed here.")
    return value


def _small(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(encoded) > rules.PREFERENCES_MAX_BYTES:
        raise ValueError(f"Preferences take at most {rules.PREFERENCES_MAX_BYTES} bytes of JSON.")
    return value


def _new_password(value: str) -> str:
    reason = rules.password_refusal(value)
    if reason is not None:
        raise ValueError(reason)
    return value


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=254),
    AfterValidator(_normal_email),
    Field(json_schema_extra={"format": "email"}),
]
NewPassword = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_new_password)]
GivenPassword = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
OpaqueToken = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=_ONE_LINE)]
WorkType = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_ONE_LINE)]
Wishes = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000), AfterValidator(_no_nul)
]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_no_nul)]
TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_timezone)]
# The shape of RFC 5646: language, then script, region, variants, each where it belongs.
Language = Annotated[
    str,
    StringConstraints(
        max_length=35,
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*$",
    ),
]
Address = Annotated[
    str, StringConstraints(max_length=2048), AfterValidator(_web_address), Field(json_schema_extra={"format": "uri"})
]
Preferences = Annotated[dict[str, JsonValue], AfterValidator(_small)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Registration(_Request):
    email: Email
    password: NewPassword = Field(description=_PASSWORD_SIZE)
    full_name: Name | None = None
    preferred_name: Name | None = None
    timezone: TimeZone | None = Field(default=None, description="A name of the IANA database.")
    language: Language | None = Field(default=None, description="A BCP 47 tag, such as pt-BR.")


class Credentials(_Request):
    email: Email
    password: GivenPassword


class EmailOnly(_Request):
    email: Email


class VerificationToken(_Request):
    token: OpaqueToken


class RefreshToken(_Request):
    refresh_token: OpaqueToken


class PasswordReset(_Request):
    token: OpaqueToken
    new_password: NewPassword = Field(description=_PASSWORD_SIZE)


class PasswordChange(_Request):
    current_password: GivenPassword
    new_password: NewPassword = Field(description=_PASSWORD_SIZE)


class ProfileChanges(_Request):
    """Fields that are absent stay as they are; null clears."""

    full_name: Name | None = None
    preferred_name: Name | None = None
    display_name: Name | None = None
    avatar_url: Address | None = None
    work_type: WorkType | None = None
    ai_preferences: Wishes | None = Field(default=None, description="How the assistant should speak and behave.")
    timezone: TimeZone | None = Field(default=None, description="A name of the IANA database.")
    language: Language | None = Field(default=None, description="A BCP 47 tag, such as pt-BR.")
    preferences: Preferences | None = Field(default=None, description="The client's own settings, at most 8 KiB.")

    def changes(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)


class Profile(BaseModel):
    """A person as they and their clients see them."""

    id: UUID
    email: str
    full_name: str | None
    preferred_name: str | None
    display_name: str | None
    avatar_url: str | None
    work_type: str | None
    ai_preferences: str | None
    timezone: str | None
    language: str | None
    preferences: dict[str, JsonValue]
    is_admin: bool
    email_verified_at: datetime | None
    created_at: datetime
    updated_at: datetime


class VerificationSent(BaseModel):
    """The same answer whether or not anybody has this address."""

    status: Literal["verification_sent"] = "verification_sent"


class ResetSent(BaseModel):
    """The same answer whether or not anybody has this address."""

    status: Literal["reset_sent"] = "reset_sent"


class SignedInAnswer(BaseModel):
    """A sign-in's tokens. `expires_in` is the access token's life in seconds; the refresh token works once."""

    user: Profile
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme, no secret
    expires_in: int
    refresh_token: str


class StoredCredentials(BaseModel):
    """What the database keeps to check a password against; never leaves the room.

    `attempt` names the limiter that the attempt was taken from, and gets it back when the password is right.
    """

    user_id: UUID
    password_hash: str | None
    verified: bool
    status: str
    password_set_at: datetime | None
    attempt: str

    def proof(self) -> dict[str, Any]:
        """What a sign-in by this password tells the database: which password it was, and which attempt is over."""
        return {"by": "password", **self.model_dump(mode="json", include={"password_set_at", "attempt"})}


class OpenedSignIn(BaseModel):
    """A sign-in in the database, and the person it belongs to."""

    user: Profile
    sign_in_id: UUID


class Device(BaseModel):
    """Where a sign-in was made, as the person will recognise it in the list of their devices."""

    user_agent: str | None = Field(default=None, max_length=USER_AGENT_MAX)
    address: str | None = None


class Suspension(_Request):
    """Why somebody is suspended. Only administrators read it."""

    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_no_nul)
    ]


class PersonStatus(BaseModel):
    """How an account stands."""

    id: UUID
    status: Literal["active", "suspended", "deleted"]


class NewSignIn(BaseModel):
    """A sign-in that is about to be stored: its ids, the hash of its first refresh token, and where it is made."""

    sign_in_id: UUID
    refresh_id: UUID
    refresh_hash: str
    refresh_expires_at: datetime
    device: Device


class SignIn(BaseModel):
    """One device on which a person is signed in. `current` is the one that asks."""

    id: UUID
    device: Device
    current: bool
    created_at: datetime
    last_used_at: datetime = Field(description="When it last exchanged its refresh token.")


class SignInPosition(BaseModel):
    """Where a page of sign-ins ends."""

    model_config = ConfigDict(extra="forbid")

    at: datetime
    id: UUID
