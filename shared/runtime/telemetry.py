"""Request ids and W3C trace context, carried by context variables so that every log line has them."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True)
class Trace:
    """A position in a trace, as in https://www.w3.org/TR/trace-context/ (version 00)."""

    request_id: str
    trace_id: str
    span_id: str
    sampled: bool

    @property
    def traceparent(self) -> str:
        """The header for calls made on behalf of this request."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def begin(request_id: str | None, traceparent: str | None) -> Trace:
    """Continue the caller's trace, or start one; a request id that is not plain is replaced, not repeated."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    given = request_id if request_id and _REQUEST_ID.fullmatch(request_id) else None
    trace = Trace(
        request_id=given or secrets.token_hex(16),
        trace_id=match.group(1) if match else secrets.token_hex(16),
        span_id=secrets.token_hex(8),
        sampled=bool(match and int(match.group(3), 16) & 1),
    )
    _current.set(trace)
    return trace


def current() -> Trace | None:
    return _current.get()
