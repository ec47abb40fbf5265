"""What this account at HeyGen may do, and how long things take there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

# https://developers.heygen.com/docs/usage-limits
MAX_SCRIPT_CHARACTERS: Final = 5_000
MAX_AUDIO_SECONDS: Final = 600
MAX_AUDIO_BYTES: Final = 50 * 1024 * 1024
MAX_ASSET_BYTES: Final = 32 * 1024 * 1024
MAX_BATCH: Final = 100
IDEMPOTENCY_SECONDS: Final = 24 * 3600
# Webhooks: an answer within 10 s, and new attempts for a day.
WEBHOOK_DEADLINE_SECONDS: Final = 10
WEBHOOK_GIVE_UP_SECONDS: Final = 24 * 3600
# Micro-dollars for a second of video, by engine.
MICROS_PER_SECOND: Final[Mapping[str, int]] = {"avatar_iii": 16_700, "avatar_iv": 66_700, "avatar_v": 66_700}
_PREFIX: Final = "HEYGEN_"


class Settings(BaseModel):
    """Read from `HEYGEN_CONCURRENCY` and so on."""

    model_config = ConfigDict(frozen=True)

    concurrency: int = Field(default=10, ge=0)
    # The least that a video takes; drawing a long one takes longer.
    render_seconds: float = Field(default=4.0, ge=0)
    # How long a link to a file is good. The provider does not say.
    link_seconds: int = Field(default=3600, ge=1)
    # Before the second attempt of a webhook; doubled for each one after it.
    webhook_retry_seconds: float = Field(default=5.0, gt=0)
    # How long `reorder` collects webhooks before it sends them, newest first.
    reorder_seconds: float = Field(default=1.0, ge=0)
    first_balance_micros: int = Field(default=100_000_000, ge=0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises pydantic.ValidationError for a value that is none."""
        named = {name: environment.get(_PREFIX + name.upper()) for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in named.items() if value})
