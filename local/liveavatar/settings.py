"""What this account at LiveAvatar may do, and how long things take there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

IDLE_SECONDS: Final = 300
SANDBOX_SECONDS: Final = 60
TOKEN_SECONDS: Final = 3600
# Credits a minute, https://docs.liveavatar.com/docs/credits.
CREDITS_PER_MINUTE: Final[Mapping[str, int]] = {"FULL": 2, "LITE": 1}
_PREFIX: Final = "LIVEAVATAR_"


class Settings(BaseModel):
    """Read from `LIVEAVATAR_CONCURRENCY` and so on. The provider publishes none of the limits; these are guesses."""

    model_config = ConfigDict(frozen=True)

    concurrency: int = Field(default=10, ge=0)
    # Requests of one caller to one endpoint in a second of the clock; 0 means no limit.
    rate_per_second: int = Field(default=20, ge=0)
    # A session that has ended holds its slot for so much longer.
    slot_release_seconds: float = Field(default=2.0, ge=0)
    plan_seconds: int = Field(default=1800, ge=1)
    first_credits: int = Field(default=1000, ge=0)
    connect_ms: int = Field(default=300, ge=0)
    # From the first sound to the first frame of a face that says it.
    first_frame_ms: int = Field(default=900, ge=0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises pydantic.ValidationError for a value that is none."""
        named = {name: environment.get(_PREFIX + name.upper()) for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in named.items() if value})
