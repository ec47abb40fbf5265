"""How Google's accounts say no: on a page of their own, by a redirect to the client, or in JSON (RFC 6749, 5.2)."""

from __future__ import annotations

from starlette.responses import JSONResponse


class Blocked(Exception):
    """The request for consent cannot be shown, and the client cannot be trusted to be told: Google's own error page."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


class Refused(Exception):
    """An endpoint's JSON refusal."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status

    def response(self) -> JSONResponse:
        headers = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'} if self.status == 401 else None
        return JSONResponse({"error": self.error, "error_description": self.description}, self.status, headers)
