"""When a recurring event takes place (RFC 5545), through the changes of summer time.

A rule is expanded on the wall clock of the event's zone; then each time is put into the zone. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

# Google ends what nobody ended; a day more than a decade is enough for whoever looks.
MOST_INSTANCES: Final = 5000


@dataclass(frozen=True)
class When:
    """A start or an end. All-day ones have a date and no zone."""

    at: datetime | date
    zone: str

    @property
    def all_day(self) -> bool:
        return not isinstance(self.at, datetime)

    @property
    def moment(self) -> datetime:
        """In UTC; a day begins at midnight in its calendar's zone."""
        if isinstance(self.at, datetime):
            return self.at.astimezone(UTC)
        return datetime.combine(self.at, time(), ZoneInfo(self.zone)).astimezone(UTC)

    def written(self) -> dict[str, str]:
        if isinstance(self.at, datetime):
            return {"dateTime": stamp(self.at.astimezone(ZoneInfo(self.zone))), "timeZone": self.zone}
        return {"date": self.at.isoformat()}

    def moved(self, to: datetime | date) -> When:
        return When(to, self.zone)


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def read(document: Any, zone: str) -> When:
    """A start or an end as Calendar writes it; `zone` is the calendar's. Raises ValueError."""
    if not isinstance(document, dict) or bool(document.get("date")) == bool(document.get("dateTime")):
        raise ValueError("Missing or ambiguous time.")
    named = str(document.get("timeZone") or zone)
    try:
        local = ZoneInfo(named)
    except (KeyError, ValueError, OSError):
        raise ValueError("Invalid time zone.") from None
    if document.get("date"):
        return When(date.fromisoformat(str(document["date"])), zone)
    at = datetime.fromisoformat(str(document["dateTime"]))
    if at.tzinfo is None and not document.get("timeZone"):
        raise ValueError("Missing time zone definition for start time.")
    return When(at if at.tzinfo else at.replace(tzinfo=local), named)


def check(lines: Any) -> None:
    """Raises ValueError when these are no rules that Calendar takes."""
    if not isinstance(lines, list) or not any(str(line).startswith(("RRULE:", "RDATE")) for line in lines):
        raise ValueError("Invalid recurrence rule.")
    for line in lines:
        if not re.match(r"(RRULE:|RDATE|EXDATE|EXRULE:)", str(line)) or re.search(r"[\r\n]", str(line)):
            raise ValueError("Invalid recurrence rule.")
        if str(line).startswith("RRULE") and re.search("FREQ=(SECONDLY|MINUTELY|HOURLY)", str(line)):
            raise ValueError("Invalid recurrence rule.")


def occurrences(start: When, lines: Sequence[str], until: datetime) -> Iterator[When]:
    """The starts up to `until` (UTC, not included), in order. Raises ValueError for a rule that cannot be read."""
    zone = ZoneInfo(start.zone)
    at = start.at
    first = at.astimezone(zone).replace(tzinfo=None) if isinstance(at, datetime) else datetime.combine(at, time())
    rules = rrulestr("\n".join(_on_the_wall(line, zone) for line in lines), dtstart=first, forceset=True)
    for number, wall in enumerate(rules):
        when = start.moved(wall.date() if start.all_day else wall.replace(tzinfo=zone))
        if number >= MOST_INSTANCES or when.moment >= until:
            return
        yield when


def shifted(start: When, end: When, to: When) -> When:
    """The end of the occurrence that begins at `to`: as long as the first one, in days or in hours."""
    if start.all_day:
        assert not isinstance(end.at, datetime)
        assert not isinstance(start.at, datetime)
        return end.moved(to.at + (end.at - start.at))
    return end.moved(to.moment + (end.moment - start.moment))


def suffix(start: When) -> str:
    """How an instance's id ends, after its original start."""
    return f"{start.at:%Y%m%d}" if start.all_day else f"{start.moment:%Y%m%dT%H%M%SZ}"


def _on_the_wall(line: str, zone: ZoneInfo) -> str:
    """A line with its times in the event's zone and without one, as the first start is given."""

    def local(found: re.Match[str]) -> str:
        at = datetime.strptime(found[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return f"{at.astimezone(zone):%Y%m%dT%H%M%S}"

    return re.sub(r"\d{8}T\d{6}Z", local, re.sub(r"^(EXDATE|RDATE)[^:]*:", r"\1:", line))
