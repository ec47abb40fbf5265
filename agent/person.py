"""Who is speaking, as the backend describes them to the tools in the turn's temporary state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

PERSON_KEY = "temp:person"
CAPABILITY_KEY = "temp:capability"
"""State that begins with `temp:` lives for one turn: ADK keeps it out of events and out of model requests."""


class Person(BaseModel):
    """What the person allows their assistant to know. Every field may be missing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    preferred_name: str | None = None
    full_name: str | None = None
    timezone: str | None = None
    language: str | None = None
    work_type: str | None = None
    ai_preferences: str | dict[str, Any] | None = None

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Person:
        """Read the person from a turn's state; an absent or malformed description is nobody in particular."""
        try:
            return cls.model_validate(state.get(PERSON_KEY) or {})
        except ValidationError:
            return cls()
