"""How LiveAvatar says no: `{code, data, message}` with a code that follows the status."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.responses import Response

from local.faults import Fault

SUCCESS = 1000
_SENTENCES = {
    401: "Invalid API key or session token",
    402: "Insufficient credits",
    403: "Session concurrency limit reached",
    404: "Session not found",
    429: "Too many requests",
}


class Refused(Exception):
    """A refusal in the provider's envelope. 400/4000 and 403/4003 were seen; the other codes follow their pattern."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def response(self) -> JSONResponse:
        content = {"code": code_of(self.status), "data": None, "message": self.message}
        return JSONResponse(content, self.status)


def code_of(status: int) -> int:
    """400 is 4000, 403 is 4003, 429 is 4029, 500 is 5000."""
    return status // 100 * 1000 + status % 100


def session_not_found() -> Refused:
    return Refused(404, _SENTENCES[404])


def not_authorized() -> Refused:
    return Refused(401, _SENTENCES[401])


def no_slot() -> Refused:
    return Refused(403, _SENTENCES[403])


def no_credits() -> Refused:
    return Refused(402, _SENTENCES[402])


def too_many(limit: int, reset_at: int, seconds: int) -> Response:
    """A 429. `reset_at` in seconds since the epoch."""
    response = Refused(429, _SENTENCES[429]).response()
    response.headers.update(
        {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(reset_at),
            "Retry-After": str(seconds),
        }
    )
    return response


def failure(fault: Fault, _: MutableMapping[str, Any]) -> Response:
    """How a call fails that was asked to."""
    status = fault.http_status
    if status == 422:
        detail = [{"type": "missing", "loc": ["body", "avatar_id"], "msg": "Field required", "input": {}}]
        return JSONResponse({"detail": detail}, status)
    if status == 429:
        return too_many(1, 0, 1)
    return Refused(status, fault.says or _SENTENCES.get(status, "Internal server error")).response()
