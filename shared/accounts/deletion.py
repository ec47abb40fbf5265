"""Leaving: the account is closed in one transaction, and what it held is erased from there on."""

from __future__ import annotations

from shared.accounts import lifecycle_store as store
from shared.accounts import mails
from shared.runtime import ids
from shared.runtime.errors import Unauthenticated
from shared.runtime.visit import Visit


async def delete_me(visit: Visit) -> None:
    """Delete the person who asks. Asking again, because the answer was lost, is no error.

    They are refused everywhere from the commit on. The goodbye and the erasure, in this order, are the sweep's: it has
    the keys of every room, and this function has none.
    """
    goodbye_id, erasure_id = ids.new_id(), ids.new_id()
    try:
        await store.delete_me(visit, goodbye_id, mails.goodbye(), erasure_id)
    except Unauthenticated as refused:
        if refused.extra.get("account") != "deleted":
            raise
