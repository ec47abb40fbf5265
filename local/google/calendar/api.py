"""Calendar's methods: calendarList, calendars, events, freebusy and settings."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from local.google.calendar import recurrence
from local.google.calendar.events import FAR, WRITABLE, Events, checked, checked_id, matching, shown
from local.google.calendar.shelf import Shelf
from local.google.people import People
from local.google.rest import ApiError, Call, Method, invalid, not_found

_SCOPE: Final = "https://www.googleapis.com/auth/calendar"
WRITE: Final = frozenset({_SCOPE, f"{_SCOPE}.events"})
READ: Final = WRITE | {f"{_SCOPE}.readonly", f"{_SCOPE}.events.readonly"}
CALENDARS: Final = frozenset({_SCOPE, f"{_SCOPE}.readonly"})
BUSY: Final = CALENDARS | {f"{_SCOPE}.freebusy"}
SETTINGS: Final = CALENDARS | {f"{_SCOPE}.settings.readonly"}
_TOKEN_DAYS: Final = 28


def methods(database: sqlite3.Connection, people: People, now: Callable[[], float]) -> list[Method]:
    calendar = Calendar(Shelf(database, people, now))
    events = "/calendars/{calendarId}/events"
    table: list[tuple[str, str, str, Any, frozenset[str]]] = [
        ("calendarList.list", "GET", "/users/me/calendarList", calendar.calendar_list, CALENDARS),
        ("calendarList.get", "GET", "/users/me/calendarList/{calendarId}", calendar.listed, CALENDARS),
        ("calendars.get", "GET", "/calendars/{calendarId}", calendar.calendar, CALENDARS),
        ("settings.list", "GET", "/users/me/settings", calendar.settings, SETTINGS),
        ("settings.get", "GET", "/users/me/settings/{setting}", calendar.setting, SETTINGS),
        ("freebusy.query", "POST", "/freeBusy", calendar.busy, BUSY),
        ("events.list", "GET", events, calendar.events, READ),
        ("events.insert", "POST", events, calendar.insert, WRITE),
        ("events.quickAdd", "POST", f"{events}/quickAdd", calendar.quick_add, WRITE),
        ("events.get", "GET", f"{events}/{{eventId}}", calendar.get, READ),
        ("events.update", "PUT", f"{events}/{{eventId}}", calendar.update, WRITE),
        ("events.patch", "PATCH", f"{events}/{{eventId}}", calendar.patch, WRITE),
        ("events.delete", "DELETE", f"{events}/{{eventId}}", calendar.delete, WRITE),
        ("events.move", "POST", f"{events}/{{eventId}}/move", calendar.move, WRITE),
        ("events.instances", "GET", f"{events}/{{eventId}}/instances", calendar.instances, READ),
    ]
    return [Method(f"calendar.{name}", verb, "/calendar/v3" + path, *rest) for name, verb, path, *rest in table]


class Calendar:
    """The methods. All raise ApiError."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._events = Events(shelf)

    def calendar_list(self, call: Call) -> dict[str, Any]:
        found = [_entry(call, calendar) for calendar in self._shelf.of(call.person)]
        return {"kind": "calendar#calendarList", "etag": '"0"', "items": found}

    def listed(self, call: Call) -> dict[str, Any]:
        return _entry(call, self._calendar(call))

    def calendar(self, call: Call) -> dict[str, Any]:
        calendar = self._calendar(call)
        return {"kind": "calendar#calendar", "id": calendar["id"], "summary": calendar["summary"],
                "timeZone": calendar["zone"], "etag": '"1"'}  # fmt: skip

    def settings(self, call: Call) -> dict[str, Any]:
        items = [_setting(name, value) for name, value in self._values(call).items()]
        return {"kind": "calendar#settings", "etag": '"0"', "items": items}

    def setting(self, call: Call) -> dict[str, Any]:
        name, values = call.path["setting"], self._values(call)
        if name not in values:
            raise not_found("Not Found")
        return _setting(name, values[name])

    def get(self, call: Call) -> dict[str, Any]:
        calendar = self._calendar(call)
        return shown(self._event(call, calendar), calendar["id"], _zone(call))

    def insert(self, call: Call) -> dict[str, Any]:
        calendar, body = self._calendar(call), call.body
        _send_updates(call)
        identity = checked_id(body["id"]) if body.get("id") else secrets.token_hex(13)
        if self._shelf.event(calendar["id"], identity) is not None:
            raise ApiError(409, "The requested identifier already exists.", "duplicate")
        return self._kept(calendar, self._new(call, calendar, identity, body))

    def quick_add(self, call: Call) -> dict[str, Any]:
        calendar, text = self._calendar(call), call.query.get("text", "").strip()
        if not text:
            raise ApiError(400, "Missing text.", "required", location="text")
        start = self._spoken(text, calendar["zone"])
        summary = _TIME.sub("", text).strip() or text
        times = {"start": {"dateTime": start.isoformat(), "timeZone": calendar["zone"]},
                 "end": {"dateTime": (start + timedelta(hours=1)).isoformat(), "timeZone": calendar["zone"]}}  # fmt: skip  # noqa: E501
        return self._kept(calendar, self._new(call, calendar, secrets.token_hex(13), {"summary": summary, **times}))

    def update(self, call: Call) -> dict[str, Any]:
        return self._changed(call, whole=True)

    def patch(self, call: Call) -> dict[str, Any]:
        return self._changed(call, whole=False)

    def delete(self, call: Call) -> None:
        calendar = self._calendar(call)
        _send_updates(call)
        with self._shelf.change():
            event = self._event(call, calendar)
            if event["status"] == "cancelled":
                raise ApiError(410, "Resource has been deleted", "deleted")
            matching(call.headers.get("if-match"), event["etag"])
            self._cancel(calendar["id"], event)

    def move(self, call: Call) -> dict[str, Any]:
        calendar = self._calendar(call)
        target = self._shelf.calendar(call.person, call.query.get("destination", ""))
        with self._shelf.change():
            event = self._event(call, calendar)
            if "recurringEventId" in event:
                raise invalid("Cannot move an instance of a recurring event.", "invalid")
            if self._shelf.event(target["id"], event["id"]):
                raise ApiError(409, "The requested identifier already exists.", "duplicate")
            for exception in self._shelf.exceptions(calendar["id"], event["id"]):
                self._shelf.keep(target["id"], exception)
                self._shelf.keep(calendar["id"], exception | {"status": "cancelled"})
            self._shelf.keep(calendar["id"], event | {"status": "cancelled"})
            return shown(self._shelf.keep(target["id"], event), target["id"])

    def events(self, call: Call) -> dict[str, Any]:
        calendar = self._calendar(call)
        since, found = self._since(call, calendar["id"]), []
        window = (_moment(call, "timeMin"), _moment(call, "timeMax"))
        if window[0] and window[1] and window[0] >= window[1]:
            raise invalid("The specified time range is empty.", "timeRangeEmpty", "timeMax")
        single = call.flag("singleEvents")
        for event in self._shelf.events(calendar["id"], since):
            if single and "recurrence" in event and event["status"] != "cancelled":
                until = window[1] or datetime.fromtimestamp(self._shelf.now(), UTC) + FAR
                found += list(self._events.instances(calendar["id"], calendar["zone"], event, until))
            elif not single or since or self._alone(calendar["id"], event):
                found.append(event)
        found = [event for event in {event["id"]: event for event in found}.values()
                 if _wanted(call, event, calendar["zone"], window, deleted=call.flag("showDeleted") or since > 0)]  # fmt: skip  # noqa: E501
        return self._page(call, calendar, _ordered(call, found, calendar["zone"], single=single))

    def instances(self, call: Call) -> dict[str, Any]:
        calendar = self._calendar(call)
        master = self._event(call, calendar)
        window = (_moment(call, "timeMin"), _moment(call, "timeMax"))
        until = window[1] or datetime.fromtimestamp(self._shelf.now(), UTC) + FAR
        found = (
            self._events.instances(calendar["id"], calendar["zone"], master, until) if "recurrence" in master else []
        )
        deleted = call.flag("showDeleted")
        kept = [event for event in found if _wanted(call, event, calendar["zone"], window, deleted=deleted)]
        return self._page(call, calendar, kept)

    def busy(self, call: Call) -> dict[str, Any]:
        body = call.body
        start, end = (_read_moment(body.get(name), name) for name in ("timeMin", "timeMax"))
        if start is None or end is None or start >= end:
            raise invalid("The specified time range is empty.", "timeRangeEmpty")
        calendars: dict[str, Any] = {}
        for item in body.get("items") or []:
            wanted = str(item.get("id", "")) if isinstance(item, dict) else ""
            try:
                calendar = self._shelf.calendar(call.person, wanted)
            except ApiError:
                calendars[wanted] = {"errors": [{"domain": "global", "reason": "notFound"}], "busy": []}
                continue
            calendars[wanted] = {"busy": self._taken(calendar, start, end)}
        return {"kind": "calendar#freeBusy", "timeMin": recurrence.stamp(start), "timeMax": recurrence.stamp(end),
                "calendars": calendars}  # fmt: skip

    def _calendar(self, call: Call) -> dict[str, str]:
        return self._shelf.calendar(call.person, call.path["calendarId"])

    def _event(self, call: Call, calendar: dict[str, str]) -> dict[str, Any]:
        return self._events.find(calendar["id"], calendar["zone"], call.path["eventId"])

    def _new(self, call: Call, calendar: dict[str, str], identity: str, body: dict[str, Any]) -> dict[str, Any]:
        owner = {"email": calendar["id"], "self": True}
        given = {name: value for name, value in body.items() if name in WRITABLE and value is not None}
        fixed = {"kind": "calendar#event", "id": identity, "iCalUID": f"{identity}@google.com", "sequence": 0,
                 "creator": {"email": call.person.email, "self": True}, "organizer": owner, "eventType": "default"}  # fmt: skip  # noqa: E501
        usual = {"status": "confirmed", "reminders": {"useDefault": True}}
        return checked({**usual, **given, **fixed}, calendar["zone"])

    def _alone(self, calendar: str, event: dict[str, Any]) -> bool:
        """Whether an event is no exception to one that this calendar holds, whose instances are listed with it."""
        return "recurringEventId" not in event or self._shelf.event(calendar, event["recurringEventId"]) is None

    def _kept(self, calendar: dict[str, str], event: dict[str, Any]) -> dict[str, Any]:
        with self._shelf.change():
            return shown(self._events.keep(calendar["id"], event), calendar["id"])

    def _changed(self, call: Call, *, whole: bool) -> dict[str, Any]:
        calendar, body = self._calendar(call), call.body
        _send_updates(call)
        with self._shelf.change():
            before = self._event(call, calendar)
            matching(call.headers.get("if-match"), before["etag"])
            if before["status"] == "cancelled" and body.get("status", "cancelled") == "cancelled":
                raise ApiError(404, "Not Found")
            kept = {name: value for name, value in before.items() if not whole or name not in WRITABLE}
            if whole:
                kept["status"] = "confirmed"
            after = kept | {name: value for name, value in body.items() if name in WRITABLE}
            after = {name: value for name, value in after.items() if value is not None}
            if "recurringEventId" in after:
                after.pop("recurrence", None)
            after = checked(after, calendar["zone"])
            if (before["start"], before["end"]) != (after["start"], after["end"]):
                after["sequence"] = before.get("sequence", 0) + 1
            return shown(self._events.keep(calendar["id"], after), calendar["id"])

    def _cancel(self, calendar: str, event: dict[str, Any]) -> None:
        guests = [
            guest | {"responseStatus": "declined"}
            if guest["email"].lower() == calendar.lower() and not event["organizer"].get("self")
            else guest
            for guest in event.get("attendees", [])
        ]
        self._events.keep(calendar, event | {"status": "cancelled"} | ({"attendees": guests} if guests else {}))
        for exception in self._shelf.exceptions(calendar, event["id"]):
            self._shelf.keep(calendar, exception | {"status": "cancelled"})

    def _taken(self, calendar: dict[str, str], start: datetime, end: datetime) -> list[dict[str, str]]:
        spans = []
        for event in self._shelf.events(calendar["id"]):
            if event["status"] == "cancelled" or not self._alone(calendar["id"], event):
                continue
            single = self._events.instances(calendar["id"], calendar["zone"], event, end)
            spans += [
                tuple(recurrence.read(found[name], calendar["zone"]).moment for name in ("start", "end"))
                for found in (single if "recurrence" in event else [event])
                if found["status"] != "cancelled" and found.get("transparency") != "transparent"
            ]
        joined: list[list[datetime]] = []
        for first, last in sorted((max(a, start), min(b, end)) for a, b in spans if a < end and b > start):
            if joined and first <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], last)
            else:
                joined.append([first, last])
        return [{"start": recurrence.stamp(first), "end": recurrence.stamp(last)} for first, last in joined]

    def _since(self, call: Call, calendar: str) -> int:
        token = call.query.get("syncToken")
        if token is None:
            return 0
        if {"timeMin", "timeMax", "q", "orderBy", "updatedMin"} & set(call.query):
            raise invalid("Sync token cannot be used with these parameters.", "invalid")
        found = re.fullmatch(r"v(\d{1,15})-(\d{1,12})=", token)
        old = self._shelf.now() - _TOKEN_DAYS * 24 * 3600
        if not found or int(found[2]) < old or int(found[1]) > self._shelf.version(calendar):
            raise ApiError(410, "Sync token is no longer valid, a full sync is required.", "fullSyncRequired")
        return int(found[1])

    def _page(self, call: Call, calendar: dict[str, str], found: list[dict[str, Any]]) -> dict[str, Any]:
        size, token = call.number("maxResults", 250, 2500), call.query.get("pageToken", "0")
        if not re.fullmatch(r"\d{1,9}", token):
            raise invalid("Invalid page token value.", "invalid", "pageToken")
        start, version = int(token), self._shelf.version(calendar["id"])
        more = start + size < len(found)
        end = (
            {"nextPageToken": str(start + size)} if more else {"nextSyncToken": f"v{version}-{int(self._shelf.now())}="}
        )
        items = [shown(event, calendar["id"], _zone(call)) for event in found[start : start + size]]
        return {"kind": "calendar#events", "etag": f'"{version}"', "summary": calendar["summary"], "timeZone":
                _zone(call) or calendar["zone"], "accessRole": "owner", "defaultReminders": [{"method": "popup",
                "minutes": 10}], "items": items, **end}  # fmt: skip

    def _values(self, call: Call) -> dict[str, str]:
        zone = self._shelf.calendar(call.person, "primary")["zone"]
        return {"timezone": zone, "locale": "en", "format24HourTime": "true", "weekStart": "1"}

    def _spoken(self, text: str, zone: str) -> datetime:
        """The time in a sentence, today or tomorrow; the next full hour where there is none."""
        now = datetime.fromtimestamp(self._shelf.now(), ZoneInfo(zone))
        hour = (now + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
        found = re.search(r"\b(?:at )?(\d{1,2})(?::(\d{2}))?\s*(am|pm)?\b", text.lower())
        if found and int(found[1]) < 24 and int(found[2] or 0) < 60:
            named = int(found[1]) % 12 + 12 if found[3] == "pm" and int(found[1]) <= 12 else int(found[1])
            hour = now.replace(hour=named, minute=int(found[2] or 0), second=0, microsecond=0)
        return hour + timedelta(days=1 if "tomorrow" in text.lower() else 0)


_TIME: Final = re.compile(r"(?i)\s*\b(tomorrow|today|at \d{1,2}(:\d{2})?\s*(am|pm)?|\d{1,2}(:\d{2}|\s*(am|pm)))\b")


def _entry(call: Call, calendar: dict[str, str]) -> dict[str, Any]:
    primary = {"primary": True} if calendar["id"] == call.person.email else {}
    return {"kind": "calendar#calendarListEntry", "etag": '"1"', "id": calendar["id"], "summary": calendar["summary"],
            "timeZone": calendar["zone"], "accessRole": "owner", "selected": True, "defaultReminders": [], **primary}  # fmt: skip  # noqa: E501


def _setting(name: str, value: str) -> dict[str, str]:
    return {"kind": "calendar#setting", "etag": '"0"', "id": name, "value": value}


def _zone(call: Call) -> str | None:
    name = call.query.get("timeZone")
    if name:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise invalid("Invalid time zone.", "invalid", "timeZone") from None
    return name


def _send_updates(call: Call) -> None:
    if call.query.get("sendUpdates", "none") not in ("all", "externalOnly", "none"):
        raise invalid("Invalid value for sendUpdates.", "invalidParameter", "sendUpdates")


def _moment(call: Call, name: str) -> datetime | None:
    return _read_moment(call.query.get(name), name)


def _read_moment(value: Any, name: str) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise invalid("Bad Request", "badRequest", name)
    return at.astimezone(UTC)


def _wanted(
    call: Call, event: dict[str, Any], zone: str, window: tuple[datetime | None, datetime | None], *, deleted: bool
) -> bool:
    if event["status"] == "cancelled" and not deleted:
        return False
    start, end = (recurrence.read(event[name], zone).moment for name in ("start", "end"))
    recurring = "recurrence" in event
    if window[0] and end <= window[0] and not recurring:
        return False
    if window[1] and start >= window[1]:
        return False
    query = call.query.get("q", "").lower().split()
    people = " ".join(guest["email"] for guest in event.get("attendees", []))
    text = " ".join(str(event.get(name, "")) for name in ("summary", "description", "location")) + " " + people
    return all(word in text.lower() for word in query)


def _ordered(call: Call, found: list[dict[str, Any]], zone: str, *, single: bool) -> list[dict[str, Any]]:
    order = call.query.get("orderBy")
    if order == "startTime":
        if not single:
            raise invalid("The requested ordering is not available for the particular query.", "badRequest", "orderBy")
        return sorted(found, key=lambda event: recurrence.read(event["start"], zone).moment)
    if order not in (None, "updated"):
        raise invalid("Invalid orderBy.", "invalidParameter", "orderBy")
    return sorted(found, key=lambda event: str(event["updated"]))
