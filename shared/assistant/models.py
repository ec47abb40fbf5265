"""What crosses the boundary of the assistant room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

Role = Literal["user", "assistant"]


class SaidBefore(BaseModel):
    """A message of the conversation so far, as the agent is shown it."""

    role: Role
    text: str


class PersonContext(BaseModel):
    """What the assistant may know about whom it talks to."""

    preferred_name: str | None = None
    full_name: str | None = None
    timezone: str = "UTC"
    language: str = "en"
    ai_preferences: str | None = None


@dataclass(frozen=True)
class TextDelta:
    """The next words of the reply."""

    text: str


@dataclass(frozen=True)
class ToolStep:
    """A tool at work. `summary` is short and may be shown."""

    name: str
    status: Literal["started", "done", "failed"]
    summary: str | None = None


@dataclass(frozen=True)
class TokensUsed:
    """Tokens of one call of the model, by the provider's count; `model` is None where it is not told."""

    model: str | None
    input_tokens: int
    output_tokens: int


AgentStep = TextDelta | ToolStep | TokensUsed
