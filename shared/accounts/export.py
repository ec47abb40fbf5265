"""Everything that is kept of a person, for them to take away: every place of the registry that is theirs to read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.accounts.places import Rows, places
from shared.runtime import clock


@dataclass
class Manifest:
    """What an export holds: when it was made, how much of each place, and what was left out and why."""

    person_id: UUID
    made_at: datetime
    exported: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "person_id": str(self.person_id),
            "made_at": self.made_at.isoformat(),
            "exported": self.exported,
            "left_out": self.left_out,
        }


class PersonExport:
    """One export. Read `pages` to its end; `manifest` is then complete."""

    def __init__(self, person_id: UUID) -> None:
        self.manifest = Manifest(person_id, clock.now())

    async def pages(self) -> AsyncIterator[tuple[str, Rows]]:
        """The name of a place and some of its rows, place after place; never more than a page at once.

        Raises:
            OprinaError: a place cannot be read just now.
        """
        for place in places():
            if place.export is None:
                self.manifest.left_out[place.name] = place.holds
                continue
            self.manifest.exported[place.name] = 0
            async for rows in place.export(self.manifest.person_id):
                self.manifest.exported[place.name] += len(rows)
                yield place.name, rows
