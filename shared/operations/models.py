"""What crosses the boundary of the operations room."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

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
    kind: Literal["hearing", "thinking", "speaking", "avatar"]
    provider: str
    unit: Literal["seconds", "input_tokens", "output_tokens", "characters", "absorbed_seconds"]
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


class Sealing(BaseModel):
    """How many hours of the audit log were sealed now, and the chain's newest seal, if it has one."""

    sealed: int
    number: int | None
    hour: datetime | None
    seal: str | None


class OutboxEntry(BaseModel):
    """News that a transaction left. `kind` says for whom; what the payload holds is theirs to read."""

    id: UUID
    kind: str
    payload: dict[str, Any]
    attempts: int


class MailPayload(BaseModel):
    """The payload of an entry of kind `mail`: a template's name and its values, rendered when the mail is sent."""

    to: str
    template: str
    values: dict[str, JsonValue]
    reply_to: str | None = None


class WrittenMailPayload(BaseModel):
    """The same for a mail whose words are there already."""

    to: str
    subject: str
    text: str
    html: str | None = None
    reply_to: str | None = None


# No control characters and no line breaks of any kind.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"


def _normal_email(value: str) -> str:
    # Only the function that takes an address pays for the library.
    from email_validator import EmailNotValidError, validate_email

    try:
        found = validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    return found.ascii_email or found.normalized


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("The NUL character is not allowed here.")
    return value


class ContactRequest(BaseModel):
    """A message to the people behind the product."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=_ONE_LINE)] | (
        None
    ) = None
    email: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=3, max_length=254), AfterValidator(_normal_email)
    ]
    subject: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_ONE_LINE)]
    message: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=5000), AfterValidator(_no_nul)
    ]


class ContactCase(BaseModel):
    """The number under which a message is kept; the sender gets it by mail too."""

    case_id: int


class Housekeeping(BaseModel):
    """What came of a tick: whether it had its effect now (or before, by another delivery), and on how many things."""

    ran: bool
    count: int
