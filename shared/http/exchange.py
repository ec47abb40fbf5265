"""One HTTP exchange: its trace, its operation, the visit made of it, and what its answer's headers say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from shared.http.settings import HttpSettings
from shared.runtime import telemetry
from shared.runtime.fleet import takes_for
from shared.runtime.settings import load
from shared.runtime.telemetry import Trace
from shared.runtime.visit import Visit

if TYPE_CHECKING:
    from shared.http.declaration import Operation

_SCOPE_KEY = "oprina.exchange"


@dataclass
class Exchange:
    trace: Trace
    operation: Operation | None
    visit: Visit
    service: str = ""
    problem_code: str | None = None

    @property
    def route(self) -> str:
        return self.visit.route

    def rate_headers(self) -> dict[str, str]:
        """RateLimit headers as in draft-ietf-httpapi-ratelimit-headers-10; empty where no limit was taken."""
        entry, rate = self.visit.entry, self.visit.rate
        if entry.remaining is None or rate is None:
            return {}
        return {
            "ratelimit-policy": f'"route";q={rate.per_minute};w=60',
            "ratelimit": f'"route";r={entry.remaining};t={entry.reset_seconds or 0}',
        }


def begin_exchange(scope: Scope, operation: Operation | None, service: str = "") -> Exchange:
    """Open the exchange of the function `service` and leave it in the scope, where `exchange_of` finds it."""
    headers = Headers(scope=scope)
    trace = telemetry.begin(headers.get("x-request-id"), headers.get("traceparent"))
    visit = Visit(
        route=operation.route if operation else f"{scope['method']} (undeclared)",
        rate=operation.rate if operation else None,
        fleet=takes_for(operation.fleet) if operation else (),
        address=client_address(scope, load(HttpSettings).trusted_hops),
    )
    exchange = Exchange(trace, operation, visit, service)
    scope[_SCOPE_KEY] = exchange
    return exchange


def exchange_of(connection: HTTPConnection) -> Exchange:
    exchange: Exchange = connection.scope[_SCOPE_KEY]
    return exchange


def client_address(scope: Scope, trusted_hops: int) -> str | None:
    """The caller's address: from the right of X-Forwarded-For, where only our own proxies write.

    Whatever a client puts at the left is ignored. Without the header it is the peer's own address.
    """
    # A client may have sent the header too, as a line of its own: several lines are one list, in their order.
    written = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
    chain = [part.strip() for part in written.split(",") if part.strip()]
    if chain and trusted_hops > 0:
        return chain[max(len(chain) - trusted_hops, 0)]
    client = scope.get("client")
    return client[0] if client else None
