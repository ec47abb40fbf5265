"""The project-wide quotas as they are handed to the database, which keeps them."""

from __future__ import annotations

import pytest

from shared.runtime.errors import ConfigurationError
from shared.runtime.fleet import AGENT, HEARING, SPEAKING, FleetSettings, takes_for
from shared.runtime.settings import load, read
from shared.runtime.visit import FleetCost


def test_a_quota_of_nothing_is_refused() -> None:
    for value in ("0", "-5", "many"):
        with pytest.raises(ConfigurationError, match="FLEET_SPEAKING_PER_MINUTE is wrong"):
            read(FleetSettings, {"FLEET_SPEAKING_PER_MINUTE": value})


def test_each_limiter_has_its_own_quota(kit_environment: pytest.MonkeyPatch) -> None:
    for name, quota in (("AGENT", 60), ("HEARING", 120), ("SPEAKING", 240)):
        kit_environment.setenv(f"FLEET_{name}_PER_MINUTE", str(quota))
    load.cache_clear()
    takes = takes_for([FleetCost(AGENT), FleetCost(HEARING, cost=2), FleetCost(SPEAKING)])
    assert [(take.name, take.per_minute, take.cost) for take in takes] == [
        (AGENT, 60, 1),
        (HEARING, 120, 2),
        (SPEAKING, 240, 1),
    ]
