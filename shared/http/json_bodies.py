"""JSON in request bodies, which everybody must read in the same way: RFC 8259 as I-JSON (RFC 7493) narrows it.

UTF-8 without a byte order mark, each name of an object once, and only numbers that are numbers. Readers that differ in
one of these see different requests in the same bytes, and what one has checked is not what the other one does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

Handle = Callable[[Request], Coroutine[Any, Any, Response]]


def read_json(body: bytes) -> Any:
    """What a body says.

    Raises:
        json.JSONDecodeError: it is not JSON, repeats a name, is nested too deeply, or holds a number that is none.
    """
    try:
        return json.loads(body.decode(), object_pairs_hook=_each_name_once, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        # The text of the error may repeat the body.
        raise json.JSONDecodeError(type(error).__name__, "", 0) from None


def _each_name_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name is repeated")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(written: str) -> float:
    number = float(written)
    if math.isinf(number):
        raise ValueError("the number is too large")
    return number


class _Read(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


class StrictRoute(APIRoute):
    """A route whose JSON bodies are read by `read_json`."""

    def get_route_handler(self) -> Handle:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_Read(request.scope, request.receive))

        return strictly
