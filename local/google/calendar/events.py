"""Events: what may stand in one, its instances, and what its guests see of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from local.google.calendar import recurrence
from local.google.calendar.recurrence import When, occurrences, shifted, suffix
from local.google.calendar.shelf import Shelf
from local.google.rest import ApiError, invalid, not_found

WRITABLE: Final = frozenset({
    "summary", "description", "location", "start", "end", "recurrence", "attendees", "reminders", "colorId", "status",
    "transparency", "visibility", "guestsCanModify", "guestsCanInviteOthers", "guestsCanSeeOtherGuests",
    "extendedProperties", "source", "anyoneCanAddSelf",
})  # fmt: skip
# What guests have for themselves.
_PERSONAL: Final = frozenset({"reminders", "colorId", "transparency", "etag", "updated", "created"})
_ID: Final = re.compile(r"[a-v0-9]{5,1024}")
_ANSWERS: Final = frozenset({"needsAction", "declined", "tentative", "accepted"})
FAR: Final = timedelta(days=365 * 10)


def checked_id(identity: Any) -> str:
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        raise invalid("Invalid resource id value.", "invalid", "id")
    return identity


def checked(event: dict[str, Any], zone: str) -> dict[str, Any]:
    """An event whose times and rules make sense. Raises ApiError."""
    try:
        start, end = recurrence.read(event.get("start"), zone), recurrence.read(event.get("end"), zone)
        if event.get("recurrence"):
            recurrence.check(event["recurrence"])
            next(occurrences(start, event["recurrence"], datetime.max.replace(tzinfo=UTC)), None)
    except (ValueError, TypeError, KeyError) as problem:
        raise invalid(str(problem) or "Bad Request", "invalid") from None
    if start.all_day != end.all_day:
        raise invalid("Invalid start and end times: both or neither are dates.", "invalid")
    if end.moment < start.moment or (start.all_day and end.at == start.at):
        raise invalid("The specified time range is empty.", "timeRangeEmpty")
    event = event | {"start": start.written(), "end": end.written()}
    if "attendees" in event:
        event["attendees"] = _guests(event["attendees"])
    return event


def _guests(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list):
        raise invalid("Invalid attendees.", "invalid")
    found: dict[str, dict[str, Any]] = {}
    for guest in given:
        address = str(guest.get("email", "")) if isinstance(guest, dict) else ""
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
            raise invalid("Invalid attendee email.", "invalid")
        if guest.get("responseStatus", "needsAction") not in _ANSWERS:
            raise invalid("Invalid attendee response status.", "invalid")
        known = {key: value for key, value in guest.items() if key not in ("self", "organizer")}
        found[address.lower()] = {"responseStatus": "needsAction", **known}
    return list(found.values())


class Events:
    """The events of calendars; `zone` is the calendar's."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def find(self, calendar: str, zone: str, identity: str) -> dict[str, Any]:
        """An event, or one instance of a recurring one. Raises ApiError: 404, 410 when it was deleted."""
        event = self._shelf.event(calendar, identity) or self._instance(calendar, zone, identity)
        if event is None:
            raise not_found("Not Found")
        return event

    def instances(self, calendar: str, zone: str, master: dict[str, Any], until: datetime) -> Iterator[dict[str, Any]]:
        """The instances that begin before `until`, exceptions in their places, cancelled ones too."""
        changed = {event["id"]: event for event in self._shelf.exceptions(calendar, master["id"])}
        start, end = (recurrence.read(master[name], zone) for name in ("start", "end"))
        for when in occurrences(start, master["recurrence"], until):
            identity = f"{master['id']}_{suffix(when)}"
            yield (
                changed.pop(identity)
                if identity in changed
                else _instance_of(master, identity, when, shifted(start, end, when))
            )
        # An instance may have been moved to before the end of the window from behind it.
        yield from (event for event in changed.values() if recurrence.read(event["start"], zone).moment < until)

    def keep(self, calendar: str, event: dict[str, Any]) -> dict[str, Any]:
        """Keep an event and tell its guests' calendars, or its organizer's. Inside a transaction."""
        before = self._shelf.event(calendar, event["id"]) or {}
        kept = self._shelf.keep(calendar, event)
        if "recurrence" in kept and (before.get("start"), before.get("recurrence")) != (
            kept["start"],
            kept["recurrence"],
        ):
            self._drop_exceptions(calendar, kept, changed=bool(before))
        organizer = str(kept.get("organizer", {}).get("email", ""))
        if organizer.lower() == calendar.lower() or kept["organizer"].get("self"):
            self._tell_guests(calendar, kept, before)
        else:
            self._tell_organizer(calendar, organizer, kept)
        return kept

    def _drop_exceptions(self, calendar: str, master: dict[str, Any], *, changed: bool) -> None:
        if changed:
            for event in self._shelf.exceptions(calendar, master["id"]):
                self._shelf.keep(calendar, event | {"status": "cancelled"})

    def _instance(self, calendar: str, zone: str, identity: str) -> dict[str, Any] | None:
        name, _, when = identity.rpartition("_")
        master = self._shelf.event(calendar, name) if re.fullmatch(r"\d{8}(T\d{6}Z)?", when) else None
        if master is None or "recurrence" not in master or master["status"] == "cancelled":
            return None
        try:
            near = datetime.strptime(when[:8], "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=3)
        except ValueError:
            return None
        return next((found for found in self.instances(calendar, zone, master, near) if found["id"] == identity), None)

    def _tell_guests(self, calendar: str, event: dict[str, Any], before: dict[str, Any]) -> None:
        invited = {guest["email"].lower() for guest in event.get("attendees", [])}
        for address in invited | {guest["email"].lower() for guest in before.get("attendees", [])}:
            theirs = self._shelf.open_address(address)
            if theirs is None or theirs.lower() == calendar.lower():
                continue
            own = self._shelf.event(theirs, event["id"]) or {}
            status = event["status"] if address in invited else "cancelled"
            organizer = {key: value for key, value in event["organizer"].items() if key != "self"}
            mine = {name: own[name] for name in _PERSONAL if name in own}
            shared = {name: value for name, value in event.items() if name not in _PERSONAL}
            reminders = {"reminders": {"useDefault": True}}
            self._shelf.keep(theirs, {**reminders, **mine, **shared, "organizer": organizer, "status": status})

    def _tell_organizer(self, calendar: str, organizer: str, event: dict[str, Any]) -> None:
        theirs = self._shelf.open_address(organizer)
        original = self._shelf.event(theirs, event["id"]) if theirs else None
        answer = next((one for one in event.get("attendees", []) if one["email"].lower() == calendar.lower()), None)
        if theirs is None or original is None or answer is None or original["status"] == "cancelled":
            return
        guests = [
            answer if guest["email"].lower() == calendar.lower() else guest for guest in original.get("attendees", [])
        ]
        if guests != original["attendees"]:
            self.keep(theirs, original | {"attendees": guests})


def _instance_of(master: dict[str, Any], identity: str, start: When, end: When) -> dict[str, Any]:
    instance = {name: value for name, value in master.items() if name != "recurrence"}
    return instance | {
        "id": identity,
        "recurringEventId": master["id"],
        "originalStartTime": start.written(),
        "start": start.written(),
        "end": end.written(),
    }


def shown(event: dict[str, Any], calendar: str, zone: str | None = None) -> dict[str, Any]:
    """An event as its calendar's owner sees it, in another zone where one was asked for."""
    event = dict(event)
    for name in ("start", "end", "originalStartTime"):
        if zone and "dateTime" in event.get(name, {}):
            when = recurrence.read(event[name], zone)
            event[name] = {**When(when.at, zone).written(), "timeZone": event[name]["timeZone"]}
    if "attendees" in event:
        organizer = event["organizer"]["email"].lower()
        event["attendees"] = [
            {
                **guest,
                **({"self": True} if guest["email"].lower() == calendar.lower() else {}),
                **({"organizer": True} if guest["email"].lower() == organizer else {}),
            }
            for guest in event["attendees"]
        ]
    return event


def matching(given: str | None, etag: str) -> None:
    """If-Match. Raises ApiError 412."""
    if given and given != "*" and etag not in [tag.strip() for tag in given.split(",")]:
        raise ApiError(412, "Precondition Failed", "conditionNotMet", location="If-Match")
