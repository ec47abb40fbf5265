"""How HeyGen says no: `{error: {code, message, param?, doc_url?}}` (https://developers.heygen.com/docs/error-codes)."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from fastapi.responses import JSONResponse
from starlette.responses import Response

from local.faults import Fault

_DOCUMENTS: Final = "https://developers.heygen.com/docs/error-codes"
_CODES: Final = {
    400: "invalid_parameter",
    401: "unauthorized",
    402: "insufficient_credit",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "request_in_progress",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
    504: "gateway_timeout",
}


class Refused(Exception):
    """A refusal. `retry_after` in seconds becomes the header; `param` names the field."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after

    def content(self) -> dict[str, Any]:
        error = {"code": self.code, "message": self.message, "doc_url": f"{_DOCUMENTS}#{self.code}"}
        if self.param is not None:
            error["param"] = self.param
        return {"error": error}

    def response(self) -> JSONResponse:
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else None
        return JSONResponse(self.content(), self.status, headers)


def invalid(message: str, param: str | None = None) -> Refused:
    return Refused(400, "invalid_parameter", message, param)


def not_found(thing: str) -> Refused:
    return Refused(404, f"{thing}_not_found", f"This {thing.replace('_', ' ')} does not exist.")


def of_status(status: int, message: str = "") -> Refused:
    code = _CODES.get(status, "internal_error" if status >= 500 else "invalid_parameter")
    return Refused(status, code, message or code.replace("_", " ").capitalize(), None, 1 if status == 429 else None)


def failure(fault: Fault, _: MutableMapping[str, Any]) -> Response:
    """How a call fails that was asked to."""
    return of_status(fault.http_status, fault.says or "").response()
