"""Trying again, by Google's retry library: for calls that may safely be repeated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from google.api_core.exceptions import RetryError
from google.api_core.retry import AsyncRetry

from shared.runtime import logs
from shared.runtime.errors import OprinaError

P = ParamSpec("P")
R = TypeVar("R")

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0


def while_away(code: str, call: Callable[P, Awaitable[R]], *, seconds: float) -> Callable[P, Awaitable[R]]:
    """`call`, tried again with growing, jittered pauses while it fails with this error code, for at most `seconds`.

    Raises:
        OprinaError: what the last try failed with.
    """
    again = AsyncRetry(
        lambda error: isinstance(error, OprinaError) and error.code == code,
        initial=_FIRST_PAUSE_SECONDS,
        maximum=_LONGEST_PAUSE_SECONDS,
        timeout=seconds,
        on_error=lambda _: logs.logger().warning("a call failed and is tried again", extra={"code": code}),
    )(call)

    async def tried(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return await again(*arguments, **named)
        except RetryError as given_up:
            raise given_up.cause from None

    return tried
