"""What a person has used: the accounts' door to the ledger, for functions that need nothing else of operations."""

from __future__ import annotations

from datetime import date

from shared.operations import ledger
from shared.operations.models import Usage
from shared.runtime.visit import Visit


async def mine(visit: Visit, first: date | None, last: date | None) -> Usage:
    """The person's usage by day and kind, and their requests by day and route, from `first` to `last`.

    Raises:
        Unprocessable: `range_invalid`.
    """
    return await ledger.report(visit, first, last)
