"""When a job's schedule next matches: unix-cron on the wall clock of a time zone.

https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules: five fields; day of the month and day of the
week are joined by "or" unless one is an asterisk; no L. "Cloud Scheduler runs on wall clock time": a time that a change
to summer time leaves out is not run that day, one that occurs twice is run twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_FIELD = re.compile(r"[0-9A-Za-z*/,-]+")
_NAMES = {
    3: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    4: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}


class BadSchedule(ValueError):
    """The schedule or the time zone is none; the text says which."""


@dataclass(frozen=True)
class Cron:
    """A schedule in a zone. Times are seconds since the epoch."""

    schedule: str
    zone: tzinfo

    def after(self, moment: float) -> float:
        """The first match later than `moment`."""
        return next(self._matches(datetime.fromtimestamp(moment, self.zone))).timestamp()

    def latest(self, moment: float) -> float:
        """The last match that is not later than `moment`."""
        # The iterator begins before the second that it is given.
        start = datetime.fromtimestamp(int(moment) + 1, self.zone)
        return next(self._matches(start, reverse=True)).timestamp()

    def written(self, moment: float) -> str:
        """A moment as X-CloudScheduler-ScheduleTime holds it: RFC 3339 with the zone's offset, Z for none."""
        text = datetime.fromtimestamp(moment, self.zone).isoformat()
        return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text

    def _matches(self, start: datetime, *, reverse: bool = False) -> CronSim:
        # With a field for seconds cronsim follows the wall clock; with five fields it would do as Debian's cron and
        # move what summer time leaves out.
        return CronSim(f"0 {self.schedule}", start, reverse=reverse)


def cron(schedule: str, zone: str) -> Cron:
    """Read a schedule and a time zone's name (empty: UTC).

    Raises:
        BadSchedule: one of them cannot be used.
    """
    fields = schedule.split()
    if len(fields) != 5:
        raise BadSchedule(
            f"Schedule {schedule[:100]!r} is not in unix-cron format: five fields (the local stand-in does not know "
            "the older `every 5 minutes`)."
        )
    for index, field in enumerate(fields):
        _check_field(index, field)
    made = Cron(" ".join(fields), _zone(zone))
    try:
        made.after(datetime.now(UTC).timestamp())
    except (CronSimError, StopIteration) as refused:
        raise BadSchedule(f"Schedule {schedule[:100]!r} never matches or is malformed. {refused}".rstrip()) from None
    return made


def _check_field(index: int, field: str) -> None:
    """Only what unix-cron knows: cronsim would take L, W and # too."""
    words = re.findall(r"[A-Za-z]+", field)
    known = _NAMES.get(index, [])
    if not _FIELD.fullmatch(field) or any(word.upper() not in known for word in words):
        raise BadSchedule(f"{field[:50]!r} is not a field of unix-cron.")


def _zone(name: str) -> tzinfo:
    if name.lower() in {"", "utc", "etc/utc"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadSchedule(f"Time zone {name[:100]!r} is not in the tz database.") from None
