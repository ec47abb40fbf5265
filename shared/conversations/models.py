"""Sessions and messages as they cross the boundary of the conversations room."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from shared.conversations import rules

SessionStatus = Literal["active", "ended"]
Role = Literal["user", "assistant"]
MessageKind = Literal["voice", "text"]


# No control characters and no line breaks of any kind.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"

Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=rules.TITLE_GIVEN_MAX, pattern=_ONE_LINE),
]


class NewSession(BaseModel):
    """Without a title the session is named after what is said first."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None


class SessionChanges(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Title


class Session(BaseModel):
    """A conversation. `title_source` says who named it: nobody yet, the first turn, or the person."""

    id: UUID
    title: str
    title_source: Literal["default", "turn", "person"]
    status: SessionStatus
    message_count: int
    turn_count: int
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime
    ended_at: datetime | None


class SessionPosition(BaseModel):
    """Where a list of sessions goes on: after the last one's activity and id."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime
    id: UUID


class MessagePosition(BaseModel):
    """Where a list of messages goes on: below this position."""

    model_config = ConfigDict(extra="forbid")

    position: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]


class Message(BaseModel):
    """What one side said. `state` is `interrupted` when the person stopped it: the text is then what was heard."""

    id: UUID
    session_id: UUID
    turn_id: UUID | None
    role: Role
    kind: MessageKind
    text: str
    state: Literal["complete", "interrupted", "incomplete"]
    position: int
    voice: dict[str, JsonValue] | None
    created_at: datetime
