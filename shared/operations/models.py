"""What crosses the boundary of the operations room."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

PartStatus = Literal["ok", "degraded", "unavailable"]


class PartHealth(BaseModel):
    """One dependency: `detail` says in a sentence what is wrong and what to do, when something is."""

    status: PartStatus
    detail: str | None = None
    latency_ms: float | None = None


class Health(BaseModel):
    """The worst part decides the whole."""

    status: PartStatus
    time: datetime
    parts: dict[str, PartHealth]


class UsageItem(BaseModel):
    """One line of the usage ledger. `quantity` is in the provider's own `unit`; an unknown cost is null, never 0."""

    id: UUID
    kind: Literal["hearing", "thinking", "speaking"]
    provider: str
    unit: Literal["seconds", "input_tokens", "output_tokens", "characters"]
    quantity: int
    cost_micros: int | None = None


class OutboxEntry(BaseModel):
    """News that a transaction left. `kind` says for whom; what the payload holds is theirs to read."""

    id: UUID
    kind: str
    payload: dict[str, Any]
    attempts: int


class MailPayload(BaseModel):
    """The payload of an entry of kind `mail`."""

    to: str
    subject: str
    text: str
    html: str | None = None


class Housekeeping(BaseModel):
    """What came of a tick: whether it had its effect now (or before, by another delivery), and on how many things."""

    ran: bool
    count: int
