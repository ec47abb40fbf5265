"""Quotas and avatar sessions as they cross the boundary of the avatars room."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.avatars import rules

AvatarStatus = Literal["reserved", "minting", "live", "stopping", "settled", "released"]


class Quota(BaseModel):
    """Seconds in the period that runs. `limit_seconds` is the plan's and what was granted on top of it."""

    plan: str
    limit_seconds: int
    used_seconds: int
    reserved_seconds: int
    remaining_seconds: int
    resets_at: datetime


class Grant(BaseModel):
    """Seconds on top of the plan: in the period that runs, or in each one from now on when `lasting`."""

    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[int, Field(ge=1, le=rules.GRANT_MAX_SECONDS)]
    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$")
    ]
    lasting: bool = False


class QuotaChanges(BaseModel):
    """Another plan, more seconds, or both. A larger plan counts at once, a smaller one from the next period on."""

    model_config = ConfigDict(extra="forbid")

    plan: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")] | None = None
    grant: Grant | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> QuotaChanges:
        if self.plan is None and self.grant is None:
            raise ValueError("Name a plan, a grant, or both.")
        return self


class AvatarSession(BaseModel):
    """A reservation and what became of it. Seconds beyond the reservation are `absorbed_seconds`: nobody pays them."""

    id: UUID
    avatar_id: str
    quality: str | None
    language: str | None
    status: AvatarStatus
    reserved_seconds: int
    settled_seconds: int | None
    absorbed_seconds: int | None
    estimated: bool
    created_at: datetime
    started_at: datetime | None
    last_keep_alive_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime


class AvatarSessionPosition(BaseModel):
    """Where a list of avatar sessions goes on: after the last one's moment and id."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime
    id: UUID


class QuotaResets(BaseModel):
    """How many quotas were reset, and how many could not be and are tried again the next time."""

    reset: int
    failed: int
