"""Lists in pages: `{data, has_more, next_token}`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import JSONResponse

from local.heygen.refusals import invalid

Limit = Annotated[int, Query(ge=1, le=100)]


def place(token: str | None) -> int | None:
    """Where a page begins. Raises Refused for what is no token of ours."""
    if token is None:
        return None
    if not (token.isascii() and token.isdecimal()) or len(token) > 18:
        raise invalid("This is no token of a page.", "token")
    return int(token)


def listing(found: list[dict[str, Any]], following: int | None) -> JSONResponse:
    return JSONResponse({"data": found} | onward(following))


def onward(following: int | None) -> dict[str, Any]:
    return {"has_more": following is not None, "next_token": None if following is None else str(following)}
