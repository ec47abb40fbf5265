"""The bodies that LiveAvatar takes. Fields that it does not know pass, as clients in the field send some."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

_Key = Annotated[str, StringConstraints(max_length=64)]
_Value = Annotated[str, StringConstraints(max_length=1000)]
EndReason = Literal[
    "UNKNOWN",
    "USER_DISCONNECTED",
    "SERVER_ERROR",
    "IDLE_TIMEOUT",
    "NO_CREDITS",
    "USER_CLOSED",
    "AVATAR_DELETED",
    "MAX_DURATION_REACHED",
    "ZOMBIE_SESSION_REAP",
    "AGENT_HANG_UP",
]


class VideoSettings(BaseModel):
    quality: Literal["very_high", "high", "medium", "low"] = "high"
    encoding: Literal["H264", "VP8"] = "H264"


class LiveKitConfig(BaseModel):
    livekit_url: str
    livekit_room: str
    livekit_client_token: str


class _NewToken(BaseModel):
    avatar_id: UUID
    is_sandbox: bool = False
    video_settings: VideoSettings | None = None
    max_session_duration: int | None = Field(default=None, ge=1)


class NewLiteToken(_NewToken):
    mode: Literal["LITE", "CUSTOM"]
    livekit_config: LiveKitConfig | None = None


class AvatarPersona(BaseModel):
    voice_id: UUID | None = None
    context_id: UUID | None = None
    language: str = "en"


class NewFullToken(_NewToken):
    mode: Literal["FULL"]
    avatar_persona: AvatarPersona | None = None
    voice_agent: dict[str, Any] | None = None
    interactivity_type: Literal["CONVERSATIONAL", "PUSH_TO_TALK"] = "CONVERSATIONAL"
    dynamic_variables: Annotated[dict[_Key, _Value], Field(max_length=50)] = {}


NewToken = Annotated[NewLiteToken | NewFullToken, Field(discriminator="mode")]


class KeepAlive(BaseModel):
    session_id: UUID | None = None


class Stop(KeepAlive):
    reason: EndReason = "USER_CLOSED"


class AccountChange(BaseModel):
    """What only this stand-in lets be changed from outside."""

    credits_left: int | None = Field(default=None, ge=0)
    concurrency: int | None = Field(default=None, ge=0)
    rate_per_second: int | None = Field(default=None, ge=0)
    slot_release_seconds: float | None = Field(default=None, ge=0)
