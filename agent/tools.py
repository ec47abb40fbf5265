"""What the assistant can do besides talking. Each tool answers with a small dictionary; errors are sentences.

`spoken` is the answer ready to be said, so that a small model has only to repeat it.
"""

from __future__ import annotations

import zoneinfo
from typing import Any

from google.adk.tools.tool_context import ToolContext
from pydantic import BaseModel, ConfigDict

from agent.arithmetic import NoSum, evaluate
from agent.person import Person
from agent.zones import UnknownPlace, find_zone
from shared.runtime import clock as wall


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Moment(_Answer):
    """The time in a zone. `local_time` is HH:MM of 24 hours, `date` is ISO 8601."""

    zone: str
    local_time: str
    weekday: str
    date: str
    spoken: str


class Result(_Answer):
    """A worked-out sum."""

    expression: str
    result: str
    spoken: str


class Known(_Answer):
    """What is known about the person; absent fields are not known."""

    preferred_name: str | None = None
    full_name: str | None = None
    timezone: str | None = None
    language: str | None = None
    work_type: str | None = None
    ai_preferences: str | dict[str, Any] | None = None
    spoken: str


class Refusal(_Answer):
    error: str


def _answer(value: _Answer) -> dict[str, Any]:
    return value.model_dump(mode="json", exclude_none=True)


async def clock(tool_context: ToolContext, place: str = "") -> dict[str, Any]:
    """The time and date now in a city, country or time zone; leave place empty for where the person is.

    Args:
        place: a city, a country or a zone, such as Tokyo, Portugal or Europe/Paris. Empty: the person's own.
    """
    person = Person.of(tool_context.state.to_dict())
    wanted = place.strip()
    try:
        zone = find_zone(wanted) if wanted else _own_zone(person)
    except UnknownPlace as unknown:
        return _answer(Refusal(error=str(unknown)))
    there = wall.now().astimezone(zone)
    where = wanted.rsplit("/", 1)[-1].replace("_", " ")
    spoken = f"It is {there:%I:%M %p}".replace(" 0", " ") + f" on {there:%A}, {there.day} {there:%B %Y}"
    return _answer(
        Moment(
            zone=zone.key,
            local_time=f"{there:%H:%M}",
            weekday=f"{there:%A}",
            date=there.date().isoformat(),
            spoken=f"{spoken} in {where}." if where else f"{spoken}.",
        )
    )


def _own_zone(person: Person) -> zoneinfo.ZoneInfo:
    """Raises UnknownPlace when the profile's zone is absent or is no zone."""
    if not person.timezone:
        raise UnknownPlace("I do not know where the person is. Ask for a city.")
    try:
        return zoneinfo.ZoneInfo(person.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise UnknownPlace("The time zone in the person's profile is not known. Ask for a city.") from None


async def calculate(expression: str) -> dict[str, Any]:
    """Works out arithmetic exactly. Use it for every sum, however simple.

    Args:
        expression: numbers with + - * / ** % and parentheses, sqrt, round and the like, such as 12 * (7 + 5).
    """
    try:
        result = evaluate(expression)
    except NoSum as refused:
        return _answer(Refusal(error=str(refused)))
    return _answer(Result(expression=expression, result=result, spoken=f"The result is {result}."))


async def profile(tool_context: ToolContext) -> dict[str, Any]:
    """What the person has told about themselves: name, time zone, language, work and wishes."""
    person = Person.of(tool_context.state.to_dict())
    return _answer(Known(**person.model_dump(), spoken=_about(person)))


def _about(person: Person) -> str:
    name = person.preferred_name or person.full_name
    facts = [
        f"Your name is {name}." if name else "",
        f"Your time zone is {person.timezone}." if person.timezone else "",
        f"You work in {person.work_type}." if person.work_type else "",
    ]
    return " ".join(fact for fact in facts if fact) or "I know nothing about you yet."


TOOLS = (clock, calculate, profile)
