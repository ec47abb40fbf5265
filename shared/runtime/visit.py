"""One call on its way through a function: who makes it, by which route, under which limits.

The kit builds the visit, the rooms pass it on, and the database's `enter` reads it: that is how identity, limits and
idempotency are settled in the same round trip as the use case itself.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from shared.runtime.errors import Unprocessable


@dataclass(frozen=True)
class Rate:
    """A person's (or an address') limit on one route, by GCRA: `burst` at once, then `per_minute` evenly."""

    per_minute: int
    burst: int


@dataclass(frozen=True)
class FleetCost:
    """What one call takes from a project-wide provider quota: `cost` units of the limiter `name`."""

    name: str
    cost: int = 1


@dataclass(frozen=True)
class FleetTake:
    """A fleet cost with the quota filled in from settings: calls in any sliding minute."""

    name: str
    per_minute: int
    cost: int


@dataclass
class Entry:
    """What the database's `enter` said: whether the person administers, and what is left of their rate."""

    admin: bool = False
    limit: int | None = None
    remaining: int | None = None
    reset_seconds: int | None = None


def network_of(address: str | None) -> str | None:
    """What a limit by address counts: an IPv4 address, or the whole /64 that an IPv6 customer has to themselves."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((int(parsed), 64), strict=False))


@dataclass
class Visit:
    """The call that is being served. `token` is the verified access token; all identity fields come from it."""

    route: str
    rate: Rate | None = None
    fleet: tuple[FleetTake, ...] = ()
    key: str | None = None
    fingerprint: str | None = None
    address: str | None = None
    token: str | None = None
    person_id: UUID | None = None
    sign_in_id: UUID | None = None
    entry: Entry = field(default_factory=Entry)

    def within(self) -> Visit:
        """The same caller for a further step of the same call, which was admitted already: it takes from no limit."""
        return replace(self, rate=None, fleet=(), key=None, fingerprint=None, entry=Entry())

    def as_parameter(self) -> dict[str, Any]:
        """The `p_entry` argument of the SQL functions."""
        return {
            "route": self.route,
            "rate": {"per_minute": self.rate.per_minute, "burst": self.rate.burst} if self.rate else None,
            "fleet": [{"name": take.name, "per_minute": take.per_minute, "cost": take.cost} for take in self.fleet],
            "key": self.key,
            "fingerprint": self.fingerprint,
            "address": network_of(self.address),
        }


class Replay(Exception):
    """The idempotency key was used before and its call has ended; `body` is the first answer."""

    def __init__(self, status: int, body: Any, fingerprint: str | None) -> None:
        super().__init__("the first answer to this idempotency key")
        self.status = status
        self.body = body
        self.fingerprint = fingerprint

    def compare(self, fingerprint: str) -> None:
        """Refuse the first answer to another payload, where what the first one was is known.

        Raises:
            Unprocessable: `idempotency_key_reused`.
        """
        if self.fingerprint is not None and self.fingerprint != fingerprint:
            raise Unprocessable(
                "This Idempotency-Key was used for something else. Use a fresh one for each new request.",
                code="idempotency_key_reused",
            ) from None
