"""Pure decisions of the assistant room: what the agent is told, and what its events mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.assistant.models import AgentStep, PersonContext, SaidBefore, TextDelta, TokensUsed, ToolStep

AGENT_NAME: Final = "oprina"
MAX_MODEL_CALLS: Final = 8

_SUMMARY_LIMIT = 200
_LABELS = (
    ("preferred_name", "They like to be called"),
    ("full_name", "Their full name is"),
    ("language", "Their language is"),
    ("ai_preferences", "They asked you to keep in mind"),
)


def local_time(now: datetime, timezone: str) -> datetime:
    """The moment in the person's zone; UTC where the zone is not known here."""
    try:
        return now.astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError):
        return now


def context_text(person: PersonContext, now: datetime) -> str:
    """What the agent is told about the person and the moment, beside what was said. It is not kept."""
    moment = local_time(now, person.timezone)
    lines = [f"It is {moment:%A, %d %B %Y, %H:%M} for the person ({person.timezone})."]
    for name, label in _LABELS:
        value = getattr(person, name)
        if value:
            lines.append(f"{label}: {value}.")
    return "Context, not said by the person. " + " ".join(lines)


def query(
    person_id: str,
    said: str,
    history: Sequence[SaidBefore],
    person: PersonContext,
    now: datetime,
    capability: str,
) -> dict[str, Any]:
    """The arguments of AdkApp.async_stream_query. State under `temp:` reaches tools, but no model and no event."""
    return {
        "user_id": person_id,
        "message": said,
        "session_events": [
            {
                "author": "user" if message.role == "user" else AGENT_NAME,
                "invocation_id": f"before-{index}",
                "content": {
                    "role": "user" if message.role == "user" else "model",
                    "parts": [{"text": message.text}],
                },
            }
            for index, message in enumerate(history)
        ],
        "run_config": {
            "streaming_mode": "sse",
            "max_llm_calls": MAX_MODEL_CALLS,
            "model_input_context": [{"role": "user", "parts": [{"text": context_text(person, now)}]}],
        },
        "state_delta": {"temp:capability": capability, "temp:person": person.model_dump(exclude_none=True)},
    }


class EventReader:
    """Turns ADK events (2.x, JSON, snake_case) into steps.

    Partial events are fragments; the event that ends them repeats their whole text, which must not be said twice.
    """

    def __init__(self) -> None:
        self._streamed = False

    def read(self, event: Mapping[str, Any]) -> Iterator[AgentStep]:
        parts = (event.get("content") or {}).get("parts") or []
        partial = bool(event.get("partial"))
        for part in parts:
            yield from self._read_part(part, partial)
        if partial:
            self._streamed = self._streamed or any(_spoken(part) for part in parts)
            return
        self._streamed = False
        usage = event.get("usage_metadata")
        if usage:
            yield TokensUsed(
                event.get("model_version"),
                int(usage.get("prompt_token_count") or 0),
                int(usage.get("candidates_token_count") or 0),
            )

    def _read_part(self, part: Mapping[str, Any], partial: bool) -> Iterator[AgentStep]:
        text = _spoken(part)
        if text and (partial or not self._streamed):
            yield TextDelta(text)
        call = part.get("function_call")
        if call and not partial:
            yield ToolStep(call["name"], "started")
        response = part.get("function_response")
        if response:
            yield _tool_ended(response)


def _spoken(part: Mapping[str, Any]) -> str | None:
    """A part's text, unless it is the model's thinking aloud."""
    text = part.get("text")
    return text if isinstance(text, str) and text and not part.get("thought") else None


def _tool_ended(response: Mapping[str, Any]) -> ToolStep:
    result = response.get("response") or {}
    problem = result.get("error")
    if problem:
        return ToolStep(response["name"], "failed", str(problem)[:_SUMMARY_LIMIT])
    summary = result.get("summary") or result.get("spoken")
    return ToolStep(response["name"], "done", str(summary)[:_SUMMARY_LIMIT] if summary else None)
