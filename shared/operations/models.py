"""What crosses the boundary of the operations room."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

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


class UsageLine(BaseModel):
    """What the ledger holds of one kind in one unit. `cost_micros` is what is known of the cost, null where nothing is;
    `unpriced_events` is how many of the `events` it leaves out."""

    kind: str
    unit: str
    quantity: int | float
    events: int
    cost_micros: int | None
    unpriced_events: int


class RequestLine(BaseModel):
    """How many requests of one route were let in."""

    route: str
    count: int


class UsageDay(BaseModel):
    """A day of the person's own zone on which something happened. Nothing used costs 0; an unknown cost is null."""

    day: date
    cost_micros: int | None
    unpriced_events: int
    usage: list[UsageLine]
    requests: list[RequestLine]


class Usage(BaseModel):
    """A range of days, both ends in it, newest first, and their totals: the sums of the ledger."""

    from_: Annotated[date, Field(serialization_alias="from", validation_alias="from")]
    to: date
    timezone: str
    cost_micros: int | None
    unpriced_events: int
    usage: list[UsageLine]
    requests: list[RequestLine]
    days: list[UsageDay]


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
