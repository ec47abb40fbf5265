"""Names of places find their time zones, or a sentence that helps."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from agent.zones import UnknownPlace, find_zone


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("Tokyo", "Asia/Tokyo"),
        ("new york", "America/New_York"),
        ("São Paulo", "America/Sao_Paulo"),
        ("Sydney, Australia", "Australia/Sydney"),
        ("Europe/Paris", "Europe/Paris"),
        ("europe/lisbon", "Europe/Lisbon"),
        ("San Francisco", "America/Los_Angeles"),
        ("Mumbai", "Asia/Kolkata"),
        ("Portugal", "Europe/Lisbon"),
        ("Japan", "Asia/Tokyo"),
        ("UTC", "UTC"),
        ("Washington DC", "America/New_York"),
    ],
)
def test_a_place_finds_its_zone(place: str, zone: str) -> None:
    midsummer, midwinter = datetime(2026, 7, 1, 12), datetime(2026, 1, 1, 12)  # noqa: DTZ001 - of the wall, wherever it hangs
    found, wanted = find_zone(place), ZoneInfo(zone)
    # The tz database has several names for some zones; what counts is the time they tell.
    assert [found.utcoffset(at) for at in (midsummer, midwinter)] == [
        wanted.utcoffset(at) for at in (midsummer, midwinter)
    ]


def test_a_country_with_several_zones_asks_for_a_city() -> None:
    with pytest.raises(UnknownPlace, match="more than one time zone"):
        find_zone("Brazil")


def test_a_misspelt_city_is_offered_as_it_is_spelt() -> None:
    with pytest.raises(UnknownPlace, match="Did you mean Singapore"):
        find_zone("Singapor")


def test_nonsense_is_no_place() -> None:
    with pytest.raises(UnknownPlace, match="no place called Xyzzyplugh"):
        find_zone("Xyzzyplugh")
