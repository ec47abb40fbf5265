"""Lists: `limit` and an opaque cursor in, `items` and `next_cursor` out."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

from shared.runtime.errors import BadRequest

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page, newest first. `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = None


class PageRequest(BaseModel):
    limit: int
    after: dict[str, Any] | None


def encode_cursor(position: dict[str, Any] | None) -> str | None:
    if position is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> dict[str, Any]:
    """The position in a cursor of ours.

    Raises:
        BadRequest: `cursor_invalid`, the cursor was not made by us.
    """
    try:
        written = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        # Python also reads NaN and Infinity, which no database takes as JSON.
        position = json.loads(written, parse_constant=_refuse)
    except (ValueError, binascii.Error):
        position = None
    if not isinstance(position, dict):
        raise BadRequest("This cursor is not one of ours. Start again without a cursor.", code="cursor_invalid")
    return position


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _page_request(
    limit: Annotated[int, Query(ge=1, le=100, description="How many items at most.")] = 20,
    cursor: Annotated[str | None, Query(max_length=512, description="next_cursor of the page before.")] = None,
) -> PageRequest:
    return PageRequest(limit=limit, after=decode_cursor(cursor) if cursor else None)


Paging = Annotated[PageRequest, Depends(_page_request)]
