"""Calendar as the stand-in serves it, called over HTTP as a client of its REST interface calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import DAILY, MONTHLY, WEEKLY, rrule
from hypothesis import given
from hypothesis import strategies as st

from local.google.calendar.recurrence import occurrences, read
from tests.contract.test_google_gmail_messages import ADA, GRACE, bearer, refusal
from tests.support.google import Google, open_google

CALENDAR = "https://www.googleapis.com/auth/calendar"
EVENTS = "/calendar/v3/calendars/primary/events"
BERLIN = "Europe/Berlin"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Google]:
    async with open_google(tmp_path_factory.mktemp("google")) as served:
        yield served


@pytest.fixture
def google(running: Google) -> Google:
    running.forget_everything()
    return running


async def call(google: Google, key: dict[str, str], verb: str, path: str, **more: Any) -> Any:
    answer = await google.client.request(verb, path, headers=key, **more)
    assert answer.status_code in (200, 204), answer.text
    return answer.json() if answer.content else None


def at(day: str, hour: int, hours: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "summary": "Meeting",
        "start": {"dateTime": f"{day}T{hour:02}:00:00", "timeZone": BERLIN},
        "end": {"dateTime": f"{day}T{hour + hours:02}:00:00", "timeZone": BERLIN},
        **more,
    }


async def listed(google: Google, key: dict[str, str], **query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await call(google, key, "GET", EVENTS, params=query))["items"]
    return items


async def test_a_weekly_event_keeps_its_hour_through_the_end_of_summer_time(google: Google) -> None:
    key = await bearer(google, scope=CALENDAR)
    body = at("2031-10-20", 9, id="series1", recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"])
    await call(google, key, "POST", EVENTS, json=body)
    window = {
        "timeMin": "2031-10-19T00:00:00Z",
        "timeMax": "2031-11-10T00:00:00Z",
    }
    found = await listed(google, key, orderBy="startTime", singleEvents="true", q="meeting", **window)
    assert [event["start"]["dateTime"] for event in found] == [
        "2031-10-20T09:00:00+02:00", "2031-10-27T09:00:00+01:00", "2031-11-03T09:00:00+01:00",
    ]  # fmt: skip
    assert [event["id"] for event in found][1] == "series1_20311027T080000Z"


async def test_one_instance_changes_and_another_goes(google: Google) -> None:
    key = await bearer(google, scope=CALENDAR)
    await call(
        google, key, "POST", EVENTS, json=at("2031-10-06", 9, id="series2", recurrence=["RRULE:FREQ=WEEKLY;COUNT=4"])
    )
    changed = {"summary": "Moved", **{name: at("2031-10-14", 11)[name] for name in ("start", "end")}}
    await call(google, key, "PATCH", f"{EVENTS}/series2_20311013T070000Z", json=changed)
    await call(google, key, "DELETE", f"{EVENTS}/series2_20311020T070000Z")
    found = (await call(google, key, "GET", f"{EVENTS}/series2/instances"))["items"]
    assert [(event["summary"], event["start"]["dateTime"][:10]) for event in found] == [
        ("Meeting", "2031-10-06"), ("Moved", "2031-10-14"), ("Meeting", "2031-10-27"),
    ]  # fmt: skip
    gone = await google.client.delete(f"{EVENTS}/series2_20311020T070000Z", headers=key)
    assert refusal(gone) == (410, "deleted")


async def test_an_id_is_taken_once_and_a_deleted_event_is_gone(google: Google) -> None:
    key = await bearer(google, scope=CALENDAR)
    await call(google, key, "POST", EVENTS, json=at("2031-05-05", 9, id="chosen1"))
    again = await google.client.post(EVENTS, headers=key, json=at("2031-05-06", 9, id="chosen1"))
    assert refusal(again) == (409, "duplicate")
    await call(google, key, "DELETE", f"{EVENTS}/chosen1")
    assert refusal(await google.client.delete(f"{EVENTS}/chosen1", headers=key)) == (410, "deleted")
    assert (await call(google, key, "GET", f"{EVENTS}/chosen1"))["status"] == "cancelled"
    assert refusal(await google.client.get(f"{EVENTS}/unknown", headers=key)) == (404, "notFound")


async def test_who_changes_an_old_version_is_told(google: Google) -> None:
    key = await bearer(google, scope=CALENDAR)
    event = await call(google, key, "POST", EVENTS, json=at("2031-05-05", 9, id="tagged1"))
    path, old = f"{EVENTS}/tagged1", {**key, "if-match": event["etag"]}
    assert (await google.client.patch(path, headers=old, json={"summary": "New"})).json()["summary"] == "New"
    assert refusal(await google.client.patch(path, headers=old, json={"summary": "No"})) == (412, "conditionNotMet")
    assert refusal(await google.client.delete(path, headers=old)) == (412, "conditionNotMet")


async def test_a_guest_finds_the_event_and_their_answer_reaches_the_organizer(google: Google) -> None:
    ada, grace = await bearer(google, scope=CALENDAR), await bearer(google, GRACE, CALENDAR)
    body = at("2031-05-05", 9, id="guests1", attendees=[{"email": GRACE}])
    await call(google, ada, "POST", EVENTS, json=body, params={"sendUpdates": "all"})
    hers = await call(google, grace, "GET", f"{EVENTS}/guests1")
    assert hers["organizer"] == {"email": ADA}
    assert hers["attendees"] == [{"email": GRACE, "responseStatus": "needsAction", "self": True}]
    answer = {"attendees": [{"email": GRACE, "responseStatus": "accepted"}]}
    await call(google, grace, "PATCH", f"{EVENTS}/guests1", json=answer)
    assert (await call(google, ada, "GET", f"{EVENTS}/guests1"))["attendees"][0]["responseStatus"] == "accepted"
    await call(google, ada, "DELETE", f"{EVENTS}/guests1")
    assert (await call(google, grace, "GET", f"{EVENTS}/guests1"))["status"] == "cancelled"


async def test_a_sync_token_gives_what_has_changed_and_an_old_one_is_refused(google: Google) -> None:
    key = await bearer(google, scope=CALENDAR)
    token = (await call(google, key, "GET", EVENTS))["nextSyncToken"]
    await call(google, key, "POST", EVENTS, json=at("2031-05-05", 9, id="fresh1"))
    await call(google, key, "DELETE", f"{EVENTS}/fresh1")
    [changed] = await listed(google, key, syncToken=token)
    assert (changed["id"], changed["status"]) == ("fresh1", "cancelled")
    refused = await google.client.get(EVENTS, headers=key, params={"syncToken": "nonsense"})
    assert refusal(refused) == (410, "fullSyncRequired")


async def test_busy_times_join_and_skip_what_is_transparent(google: Google) -> None:
    key = await bearer(google, scope=CALENDAR)
    for body in (at("2031-05-06", 9), at("2031-05-06", 10), at("2031-05-06", 14, transparency="transparent")):
        await call(google, key, "POST", EVENTS, json=body)
    asked = {
        "timeMin": "2031-05-06T00:00:00+02:00",
        "timeMax": "2031-05-06T18:00:00+02:00",
        "items": [{"id": ADA}, {"id": "x"}],
    }
    await call(
        google,
        key,
        "PATCH",
        f"{EVENTS}/{(await listed(google, key, q='stand-up'))[0]['id']}",
        json={"transparency": "transparent"},
    )
    found = (await call(google, key, "POST", "/calendar/v3/freeBusy", json=asked))["calendars"]
    assert found[ADA]["busy"] == [{"start": "2031-05-06T07:00:00Z", "end": "2031-05-06T09:00:00Z"}]
    assert found["x"]["errors"][0]["reason"] == "notFound"


async def test_events_move_to_another_calendar_in_pages_and_after_a_restart(tmp_path: Path) -> None:
    async with open_google(tmp_path) as google:
        key = await bearer(google, scope=CALENDAR)
        calendars = (await call(google, key, "GET", "/calendar/v3/users/me/calendarList"))["items"]
        assert calendars[0]["primary"]
        family = calendars[1]["id"]
        await call(google, key, "POST", EVENTS, json=at("2031-05-05", 9, id="moving1"))
        await call(google, key, "POST", f"{EVENTS}/moving1/move", params={"destination": family})
    async with open_google(tmp_path) as google:
        key = await bearer(google, scope=CALENDAR)
        assert (await call(google, key, "GET", f"/calendar/v3/calendars/{family}/events/moving1"))[
            "status"
        ] == "confirmed"
        page = await call(google, key, "GET", EVENTS, params={"maxResults": "3"})
        rest = await call(google, key, "GET", EVENTS, params={"pageToken": page["nextPageToken"]})
        assert not {event["id"] for event in page["items"]} & {event["id"] for event in rest["items"]}
        assert "nextSyncToken" in rest
        assert (await call(google, key, "GET", "/calendar/v3/users/me/settings/timezone"))["value"] == BERLIN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"end": {"dateTime": "2031-05-05T08:00:00", "timeZone": BERLIN}}, "timeRangeEmpty"),
        ({"end": {"date": "2031-05-06"}}, "invalid"),
        ({"start": {}}, "invalid"),
        ({"start": {"dateTime": "yesterday"}}, "invalid"),
        ({"start": {"dateTime": "2031-05-05T09:00:00", "timeZone": "Mars/Olympus"}}, "invalid"),
        ({"recurrence": ["RRULE:FREQ=NEVER"]}, "invalid"),
        ({"recurrence": "RRULE:FREQ=DAILY"}, "invalid"),
        ({"id": "NOT VALID"}, "invalid"),
        ({"attendees": [{"email": "nobody"}]}, "invalid"),
    ],
)
async def test_an_event_that_makes_no_sense_is_refused(google: Google, changes: dict[str, Any], reason: str) -> None:
    key = await bearer(google, scope=CALENDAR)
    answer = await google.client.post(EVENTS, headers=key, json=at("2031-05-05", 9) | changes)
    assert refusal(answer) == (400, reason)


async def test_reading_opens_no_writing_and_all_day_and_quick_events_have_their_times(google: Google) -> None:
    reader = await bearer(google, scope=f"{CALENDAR}.readonly")
    refused = await google.client.post(EVENTS, headers=reader, json=at("2031-05-05", 9))
    assert refusal(refused) == (403, "insufficientPermissions")
    key = await bearer(google, scope=CALENDAR)
    day = {"summary": "Off", "start": {"date": "2031-05-05"}, "end": {"date": "2031-05-06"}}
    kept = await call(google, key, "POST", EVENTS, json=day)
    assert (kept["start"], kept["end"]) == ({"date": "2031-05-05"}, {"date": "2031-05-06"})
    quick = await call(google, key, "POST", f"{EVENTS}/quickAdd", params={"text": "Coffee with Zoe tomorrow at 3pm"})
    assert quick["summary"] == "Coffee with Zoe"
    assert "T15:00:00" in quick["start"]["dateTime"]


# Wall clocks have no zone.
_FIRST, _LAST = datetime.fromisoformat("2029-01-01"), datetime.fromisoformat("2033-01-01")


@given(
    frequency=st.sampled_from([("DAILY", DAILY), ("WEEKLY", WEEKLY), ("MONTHLY", MONTHLY)]),
    interval=st.integers(1, 4),
    count=st.integers(1, 40),
    start=st.datetimes(_FIRST, _LAST).map(lambda at: at.replace(hour=9, microsecond=0)),
)
def test_occurrences_agree_with_the_rule_on_the_wall_clock(
    frequency: tuple[str, int], interval: int, count: int, start: datetime
) -> None:
    first = read({"dateTime": start.isoformat(), "timeZone": BERLIN}, BERLIN)
    rule = f"RRULE:FREQ={frequency[0]};INTERVAL={interval};COUNT={count}"
    found = [when.moment for when in occurrences(first, [rule], datetime(2100, 1, 1, tzinfo=UTC))]
    walls = rrule(frequency[1], dtstart=start, interval=interval, count=count)
    assert found == [wall.replace(tzinfo=ZoneInfo(BERLIN)).astimezone(UTC) for wall in walls]
