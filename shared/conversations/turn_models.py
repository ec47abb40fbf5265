"""What crosses the boundary of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.assistant.models import PersonContext, SaidBefore
from shared.operations.models import UsageItem
from shared.voice.models import AudioFormat, Clip, LanguageCode, Transcript

TurnKind = Literal["voice", "text"]
TurnStatus = Literal["running", "completed", "failed"]
MAX_TEXT_CHARACTERS = 8000


class TextTurn(BaseModel):
    """The JSON body of a turn by text."""

    model_config = ConfigDict(extra="forbid")

    # Nothing can store NUL, so the agent must not be asked with it.
    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_CHARACTERS, pattern=r"^[^\x00]*$"),
    ]


class TurnOptions(BaseModel):
    """How a turn is heard and answered. `language` defaults to the person's own."""

    speak: bool = True
    voice: str | None = Field(None, max_length=100)
    language: LanguageCode | None = None
    audio_format: AudioFormat = "ogg_opus"


@dataclass(frozen=True)
class Question:
    """What the person said: a text, or a clip that is still to be heard. `fingerprint` covers its content."""

    text: str | None
    clip: Clip | None
    fingerprint: str
    uploaded_ms: float


class Opened(BaseModel):
    """An opened turn, with all that the agent is to be shown."""

    turn_id: UUID
    ordinal: int
    history: list[SaidBefore]
    person: PersonContext


class SpeechOutcome(BaseModel):
    """How the answer was spoken: `partial` when synthesis failed on the way, with the reason in `problem`."""

    status: Literal["none", "complete", "partial", "failed"] = "none"
    problem: dict[str, Any] | None = None


class ReplyAudio(BaseModel):
    """The whole spoken answer, base64, where the answer is one document."""

    mime: str
    data: str
    seconds: float


class TurnResult(BaseModel):
    """The data of `turn.completed`. `cost_micros` sums the known costs; null when none is known."""

    turn_id: UUID
    user_message_id: UUID
    assistant_message_id: UUID
    transcript: Transcript | None
    reply: str
    interrupted: bool = False
    usage: list[UsageItem]
    cost_micros: int | None
    timings_ms: dict[str, int]
    speech: SpeechOutcome
    audio: ReplyAudio | None = None


class Turn(BaseModel):
    """A stored turn, as `GET …/turns/{turn_id}` shows it."""

    id: UUID
    session_id: UUID
    ordinal: int
    kind: TurnKind
    status: TurnStatus
    code: str | None
    problem: dict[str, Any] | None
    interrupted: bool
    result: dict[str, Any] | None
    usage: list[dict[str, Any]]
    cost_micros: int | None
    timings_ms: dict[str, int]
    created_at: datetime
    completed_at: datetime | None


class Interruption(BaseModel):
    """What had been played when the person broke in: piece `played_seq`, and milliseconds into it."""

    model_config = ConfigDict(extra="forbid")

    # What the database's integers hold; no reply comes near it.
    played_seq: int = Field(ge=0, le=2**31 - 1)
    played_ms: int = Field(ge=0, le=2**31 - 1)


class Interrupted(BaseModel):
    """`reply` is what was heard, once the turn has ended; null while it is still being closed."""

    status: TurnStatus
    interrupted: bool
    reply: str | None
