"""GET /v1/users/me/usage: what the person used, what it cost, and what they asked for, by day."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from fastapi import Query
from pydantic import BeforeValidator

from shared.accounts import usage
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.operations.models import Usage
from shared.runtime.visit import Rate

function = Function(
    name="accounts-usage",
    path="/v1/users/me/usage",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _written_as_a_date(value: Any) -> Any:
    # A number would be read as a moment: seconds since 1970.
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("A day is written as in 2026-03-31.")
    return value


Day = Annotated[date, BeforeValidator(_written_as_a_date)]


@function.get("Usage and cost by day and kind", caller=Caller.PERSON, rate=Rate(60, burst=20))
async def my_usage(
    person: SignedIn,
    from_: Annotated[
        Day | None, Query(alias="from", description="The first day, in the person's zone. By default 29 before `to`.")
    ] = None,
    to: Annotated[Day | None, Query(description="The last day. By default today; at most 366 days in all.")] = None,
) -> Usage:
    return await usage.mine(person, from_, to)


main = function.entry_point()
