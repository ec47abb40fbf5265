"""Who may administer."""

from __future__ import annotations

from shared.operations import store
from shared.runtime.errors import Forbidden
from shared.runtime.visit import Visit


async def admit(visit: Visit) -> None:
    """Let an administrator in.

    Raises:
        Forbidden: `administrators_only`.
        OprinaError: whatever `enter` refuses with; without the database nobody is an administrator.
    """
    await store.enter(visit)
    if not visit.entry.admin:
        raise Forbidden("Only an administrator may do this.", code="administrators_only")
