"""The one tree of errors. Whatever a caller can be told is one of these; anything else is a defect and shows as 500.

OprinaError (500 internal)
├── BadRequest (400)
├── Unauthenticated (401)
├── PaymentRequired (402): a quota is used up
├── Forbidden (403)
├── NotFound (404)
├── Conflict (409)
├── Gone (410)
├── TooLarge (413)
├── UnsupportedMedia (415)
├── Unprocessable (422)
├── RateLimited (429)
├── UpstreamFailed (502): a provider answered with an error, or broke off
├── Unavailable (503): a dependency is away, or a fleet-wide limit is used up (`capacity`)
└── UpstreamTimeout (504)

`code` is a stable word that clients may branch on; `detail` is a sentence for a person: what happened, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One refused field of a request: where it is, a stable word for why, and a sentence."""

    field: str
    code: str
    detail: str


class OprinaError(Exception):
    """Base of every error that reaches a caller as an RFC 9457 problem document.

    `extra` members are added to the document as they are; they must hold nothing internal.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    default_code: ClassVar[str] = "internal"
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        retry_after_seconds: int | None = None,
        fields: Sequence[FieldError] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after_seconds = retry_after_seconds
        self.fields = tuple(fields)
        self.extra = dict(extra or {})


class BadRequest(OprinaError):
    status, title, default_code = 400, "Bad request", "bad_request"


class Unauthenticated(OprinaError):
    status, title, default_code = 401, "Not signed in", "token_invalid"


class PaymentRequired(OprinaError):
    status, title, default_code = 402, "Quota used up", "quota_exhausted"


class Forbidden(OprinaError):
    status, title, default_code = 403, "Not allowed", "forbidden"


class NotFound(OprinaError):
    status, title, default_code = 404, "Not found", "not_found"


class MethodNotAllowed(OprinaError):
    status, title, default_code = 405, "Method not allowed", "method_not_allowed"


class Conflict(OprinaError):
    status, title, default_code = 409, "Conflict", "conflict"


class Gone(OprinaError):
    status, title, default_code = 410, "Gone", "gone"


class TooLarge(OprinaError):
    status, title, default_code = 413, "Too large", "body_too_large"


class UnsupportedMedia(OprinaError):
    status, title, default_code = 415, "Unsupported media type", "unsupported_media_type"


class Unprocessable(OprinaError):
    status, title, default_code = 422, "Cannot be processed", "validation_failed"


class RateLimited(OprinaError):
    status, title, default_code, default_retryable = 429, "Too many requests", "rate_limited", True


class UpstreamFailed(OprinaError):
    status, title, default_code, default_retryable = 502, "A provider failed", "upstream_failed", True


class Unavailable(OprinaError):
    status, title, default_code, default_retryable = 503, "Temporarily unavailable", "unavailable", True


class UpstreamTimeout(OprinaError):
    status, title, default_code, default_retryable = 504, "A provider took too long", "upstream_timeout", True


_BY_STATUS: Mapping[int, type[OprinaError]] = {
    kind.status: kind
    for kind in (
        BadRequest, Unauthenticated, PaymentRequired, Forbidden, NotFound, MethodNotAllowed, Conflict, Gone,
        TooLarge, UnsupportedMedia, Unprocessable, RateLimited, UpstreamFailed, Unavailable, UpstreamTimeout,
    )
}  # fmt: skip


def error_for_status(status: int) -> type[OprinaError]:
    """The class for an HTTP status; `OprinaError` itself where the tree has none."""
    return _BY_STATUS.get(status, OprinaError)


@dataclass
class ConfigurationError(Exception):
    """A setting is missing or wrong. Raised at start, before anything is served."""

    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "; ".join(self.problems)
