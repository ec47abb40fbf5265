"""Problem documents (RFC 9457): how an error of the tree is told, over HTTP and inside a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.runtime import telemetry
from shared.runtime.errors import OprinaError

MEDIA_TYPE = "application/problem+json"

# What an error says for headers alone.
_HEADER_ONLY = frozenset({"allow", "limit", "remaining", "reset_seconds"})


_MEMBERS = ("type", "title", "status", "detail", "instance", "code", "request_id", "retryable", "errors")


def in_order(document: Mapping[str, Any]) -> dict[str, Any]:
    """The members in the order every document has, so that one that was stored is the same to the byte."""
    ranks = {name: rank for rank, name in enumerate(_MEMBERS)}
    return dict(sorted(document.items(), key=lambda member: (ranks.get(member[0], len(ranks)), member[0])))


def problem_document(error: OprinaError, instance: str | None = None) -> dict[str, Any]:
    """The document of an error. It holds only what the tree of errors was given to say."""
    trace = telemetry.current()
    body: dict[str, Any] = {
        "type": f"urn:oprina:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": trace.request_id if trace else None,
        "retryable": error.retryable,
    }
    if error.fields:
        body["errors"] = [vars(field) for field in error.fields]
    body |= {name: value for name, value in error.extra.items() if name not in _HEADER_ONLY}
    if error.retry_after_seconds is not None:
        body["retry_after_seconds"] = error.retry_after_seconds
    return in_order(body)
