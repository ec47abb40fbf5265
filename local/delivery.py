"""One HTTP request that a queue or the scheduler sends to a worker, and what came of it.

What may go wrong on the way is asked of the fault book at each delivery: it comes late, it fails without reaching the
worker, it reaches the worker twice, or the worker's answer is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import grpc
import httpx

from local.clock import LocalClock
from local.faults import Fault, FaultBook
from shared.clients.connections import Connections

MAX_URL_CHARACTERS: Final = 2083
MAX_HEADER_BYTES: Final = 80 * 1024
BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})

# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto says which code is which HTTP status.
_CODES: Final[Mapping[int, grpc.StatusCode]] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True)
class Request:
    """What a worker is sent. `follow_redirects` is as the service that sends it documents."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    deadline_seconds: float
    follow_redirects: bool = False


@dataclass(frozen=True)
class Outcome:
    """`status` is the worker's, or what stands for its silence: 504 after the deadline, 503 without a connection.

    `answered` tells the two apart; `reason` is for people.
    """

    status: int
    answered: bool
    reason: str
    retry_after_seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        return self.answered and 200 <= self.status <= 299

    @property
    def code(self) -> grpc.StatusCode:
        return code_of(self.status)


def code_of(status: int) -> grpc.StatusCode:
    """The google.rpc code that stands for an HTTP status."""
    if 200 <= status <= 299:
        return grpc.StatusCode.OK
    if known := _CODES.get(status):
        return known
    if 400 <= status <= 499:
        return grpc.StatusCode.FAILED_PRECONDITION
    return grpc.StatusCode.INTERNAL if 500 <= status <= 599 else grpc.StatusCode.UNKNOWN


class Courier:
    """Sends requests; one for each stand-in. `close` breaks off what is still under way."""

    def __init__(self, stand_in: str, clock: LocalClock, faults: FaultBook) -> None:
        self._stand_in = stand_in
        self._clock = clock
        self._faults = faults
        self._opened: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        """Made at the first delivery: its certificates take longer to load than everything else at a start."""
        if self._opened is None:
            # The deadline is each delivery's own; queues bound how many there are at once, and that may be many.
            timeout = httpx.Timeout(None, connect=10)
            self._opened = httpx.AsyncClient(timeout=timeout, transport=Connections(), trust_env=False)
        return self._opened

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def deliver(self, name: str, request: Request) -> Outcome:
        """Send a request of the queue or job `name`, once or, where a fault asks for it, twice."""
        fault = self._faults.for_delivery(self._stand_in, name)
        chance = self._faults.chance(self._stand_in, fault)
        if fault.delay_ms:
            await asyncio.sleep(fault.delay_ms / 1000)
        if fault.should_fail(chance):
            return Outcome(fault.http_status, True, f"failed with {fault.http_status} because a fault asks for it")
        outcome = await self._once_or_twice(fault, request)
        if fault.lose_answer:
            return Outcome(503, False, f"the worker answered {outcome.status}; the answer was lost by a fault")
        return outcome

    async def _once_or_twice(self, fault: Fault, request: Request) -> Outcome:
        """Only the first answer counts. With a seed the second follows the first, so that the order is always one."""
        if not fault.duplicate:
            return await self._send(request)
        if fault.seed is not None:
            outcome = await self._send(request)
            await self._send(request)
            return outcome
        outcomes = await asyncio.gather(self._send(request), self._send(request))
        return outcomes[0]

    async def _send(self, request: Request) -> Outcome:
        exchange = asyncio.create_task(self._exchange(request))
        deadline = asyncio.create_task(self._clock.until(self._clock.now() + request.deadline_seconds))
        try:
            await asyncio.wait({exchange, deadline}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                return exchange.result()
            return Outcome(504, False, f"no answer within {request.deadline_seconds:g} s")
        finally:
            deadline.cancel()
            exchange.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await exchange

    async def _exchange(self, request: Request) -> Outcome:
        try:
            async with self._client.stream(
                request.method,
                request.url,
                # As bytes: a value may hold what is not ASCII, and goes as it was given.
                headers={name.encode(): value.encode() for name, value in request.headers.items()},
                content=request.body or None,
                follow_redirects=request.follow_redirects,
            ) as response:
                async for _ in response.aiter_raw():
                    pass
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return Outcome(503, False, f"{type(error).__name__}: {error}"[:300])
        wait = retry_after_seconds(response.headers.get("retry-after", ""), self._clock.now())
        return Outcome(response.status_code, True, f"answered {response.status_code}", wait)


def retry_after_seconds(value: str, now: float) -> float:
    """What a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date); 0 where it asks for nothing."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - now, 0.0)
    except (ValueError, TypeError):
        return 0.0
