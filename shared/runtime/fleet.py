"""The project-wide provider quotas, shared by all instances through the database's limiters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydantic import Field

from shared.runtime.settings import Settings, load
from shared.runtime.visit import FleetCost, FleetTake

AGENT: Final = "agent"
HEARING: Final = "hearing"
SPEAKING: Final = "speaking"


class FleetSettings(Settings):
    """Calls a minute that the project's quotas allow: Agent Runtime queries, unary recognitions, synthesis requests.

    The defaults are Google's for a new project (Agent Runtime 90, Speech-to-Text v2 unary 300, Chirp 3 HD 200).
    """

    fleet_agent_per_minute: int = Field(default=90, ge=1)
    fleet_hearing_per_minute: int = Field(default=300, ge=1)
    fleet_speaking_per_minute: int = Field(default=200, ge=1)


def takes_for(costs: Iterable[FleetCost]) -> tuple[FleetTake, ...]:
    """Fill in each quota. The database lets as much through at once as a minute allows, and no sliding minute more."""
    settings = load(FleetSettings)
    per_minute = {
        AGENT: settings.fleet_agent_per_minute,
        HEARING: settings.fleet_hearing_per_minute,
        SPEAKING: settings.fleet_speaking_per_minute,
    }
    return tuple(FleetTake(cost.name, per_minute[cost.name], cost.cost) for cost in costs)
