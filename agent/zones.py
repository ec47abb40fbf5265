"""From the name of a place to its time zone, with the tz database's own tables."""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
import zoneinfo
from importlib import resources

# Cities that people ask for by name and that are not themselves names in the tz database.
_CITIES = {
    "Abuja": "Africa/Lagos", "Ankara": "Europe/Istanbul", "Atlanta": "America/New_York",
    "Bangalore": "Asia/Kolkata", "Barcelona": "Europe/Madrid", "Beijing": "Asia/Shanghai",
    "Bengaluru": "Asia/Kolkata", "Bern": "Europe/Zurich", "Birmingham": "Europe/London",
    "Boston": "America/New_York", "Brasilia": "America/Sao_Paulo", "California": "America/Los_Angeles",
    "Calgary": "America/Edmonton", "Canberra": "Australia/Sydney", "Cape Town": "Africa/Johannesburg",
    "Cologne": "Europe/Berlin", "Dallas": "America/Chicago", "Delhi": "Asia/Kolkata",
    "Edinburgh": "Europe/London", "Florence": "Europe/Rome", "Florida": "America/New_York",
    "Frankfurt": "Europe/Berlin", "Geneva": "Europe/Zurich", "Glasgow": "Europe/London",
    "Guangzhou": "Asia/Shanghai", "Hamburg": "Europe/Berlin", "Hanoi": "Asia/Ho_Chi_Minh",
    "Hawaii": "Pacific/Honolulu", "Houston": "America/Chicago", "Hyderabad": "Asia/Kolkata",
    "Islamabad": "Asia/Karachi", "Krakow": "Europe/Warsaw", "Kyoto": "Asia/Tokyo", "Lahore": "Asia/Karachi",
    "Las Vegas": "America/Los_Angeles", "Lyon": "Europe/Paris", "Manchester": "Europe/London",
    "Marrakesh": "Africa/Casablanca", "Marseille": "Europe/Paris", "Mecca": "Asia/Riyadh",
    "Miami": "America/New_York", "Milan": "Europe/Rome", "Minneapolis": "America/Chicago",
    "Montreal": "America/Toronto", "Mumbai": "Asia/Kolkata", "Munich": "Europe/Berlin",
    "Naples": "Europe/Rome", "New Delhi": "Asia/Kolkata", "New Orleans": "America/Chicago",
    "NYC": "America/New_York", "Osaka": "Asia/Tokyo", "Ottawa": "America/Toronto",
    "Philadelphia": "America/New_York", "Porto": "Europe/Lisbon", "Pretoria": "Africa/Johannesburg",
    "Quebec": "America/Toronto", "Rio de Janeiro": "America/Sao_Paulo", "Rio": "America/Sao_Paulo",
    "Rotterdam": "Europe/Amsterdam", "Salzburg": "Europe/Vienna", "San Diego": "America/Los_Angeles",
    "San Francisco": "America/Los_Angeles", "Seattle": "America/Los_Angeles", "Seville": "Europe/Madrid",
    "Shenzhen": "Asia/Shanghai", "Tel Aviv": "Asia/Jerusalem", "Texas": "America/Chicago",
    "The Hague": "Europe/Amsterdam", "Valencia": "Europe/Madrid", "Venice": "Europe/Rome",
    "Washington": "America/New_York", "Washington DC": "America/New_York", "Wellington": "Pacific/Auckland",
    "Zurich": "Europe/Zurich", "England": "Europe/London", "Scotland": "Europe/London",
    "UK": "Europe/London", "Great Britain": "Europe/London", "Korea": "Asia/Seoul",
}  # fmt: skip


class UnknownPlace(ValueError):
    """No zone, or more than one, answers to the name. The message says so in a sentence fit to be spoken."""


def find_zone(place: str) -> zoneinfo.ZoneInfo:
    """The zone of a city, a country with a single zone, or a zone's own name (`Europe/Paris`, `UTC`).

    Raises:
        UnknownPlace: the name is not known, or the country has several zones.
    """
    wanted = _plain(place)
    for candidate in (wanted, _plain(place.split(",")[0])):
        name = _names().get(candidate)
        if name:
            return zoneinfo.ZoneInfo(name)
    zones = _countries().get(wanted)
    if zones and len(zones) == 1:
        return zoneinfo.ZoneInfo(zones[0])
    if zones:
        cities = ", ".join(_city(zone) for zone in zones[:3])
        raise UnknownPlace(f"{place} has more than one time zone. Name a city, such as {cities}.")
    close = difflib.get_close_matches(wanted, _names(), n=1, cutoff=0.8)
    if close:
        raise UnknownPlace(f"I know no place called {place}. Did you mean {_city(_names()[close[0]])}?")
    raise UnknownPlace(f"I know no place called {place}. Name a large city near it.")


def _plain(name: str) -> str:
    """Lower case, without accents or punctuation, so that `São_Paulo` and `sao paulo` meet."""
    stripped = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[a-z0-9+]+", stripped.casefold()))


def _city(zone: str) -> str:
    return zone.rsplit("/", 1)[-1].replace("_", " ")


@functools.cache
def _names() -> dict[str, str]:
    """Every name that stands for exactly one zone. A city's own name never hides a zone's full name."""
    zones = sorted(zone for zone in zoneinfo.available_timezones() if not zone.startswith(("posix", "right")))
    names = {_plain(_city(zone)): zone for zone in reversed(zones) if "/" in zone and not zone.startswith("Etc")}
    names.update({_plain(city): zone for city, zone in _CITIES.items()})
    names.update({_plain(zone): zone for zone in zones})
    return names


@functools.cache
def _countries() -> dict[str, tuple[str, ...]]:
    """Country names to their zones, from the tables the tz database carries beside its zones."""
    names = {code: name for code, name, *_ in _table("iso3166.tab")}
    zones: dict[str, list[str]] = {}
    for code, _, zone, *_ in _table("zone.tab"):
        zones.setdefault(_plain(re.sub(r"\(.*?\)", "", names[code])), []).append(zone)
    return {country: tuple(found) for country, found in zones.items()}


def _table(name: str) -> list[list[str]]:
    text = (resources.files("tzdata") / "zoneinfo" / name).read_text("utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
