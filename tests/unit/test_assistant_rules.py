"""What the agent is told, and what its events mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared.assistant.models import PersonContext, SaidBefore, TextDelta, TokensUsed, ToolStep
from shared.assistant.rules import EventReader, context_text, query

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": [{"text": words}]}, **more}


def test_the_moment_is_told_in_the_persons_zone_across_the_change_of_clocks() -> None:
    assert "01:30" in context_text(PersonContext(timezone="Europe/Berlin"), NOW)
    assert "00:30" in context_text(PersonContext(timezone="Nowhere/Land"), NOW)


def test_the_capability_reaches_tools_only() -> None:
    arguments = query("p", "hello", [], PersonContext(preferred_name="Ada"), NOW, "secret-capability")
    assert arguments["state_delta"]["temp:capability"] == "secret-capability"
    without = {name: value for name, value in arguments.items() if name != "state_delta"}
    assert "secret-capability" not in str(without)
    assert "Ada" in str(without["run_config"])


def test_the_conversation_so_far_is_all_the_memory_there_is() -> None:
    history = [SaidBefore(role="user", text="My cat is Miu"), SaidBefore(role="assistant", text="Lovely.")]
    events = query("p", "What is my cat called?", history, PersonContext(), NOW, "c")["session_events"]
    assert [(event["author"], event["content"]["role"]) for event in events] == [("user", "user"), ("oprina", "model")]


def test_a_reply_is_not_said_twice_though_the_last_event_repeats_it() -> None:
    reader = EventReader()
    events = [text("Hel", partial=True), text("lo.", partial=True), text("Hello.", usage_metadata={})]
    steps = [step for event in events for step in reader.read(event)]
    assert steps == [TextDelta("Hel"), TextDelta("lo.")]


def test_a_reply_that_comes_whole_is_said_once() -> None:
    usage = {"prompt_token_count": 7, "candidates_token_count": 2}
    steps = list(EventReader().read(text("Hello.", usage_metadata=usage, model_version="m")))
    assert steps == [TextDelta("Hello."), TokensUsed("m", 7, 2)]


def test_thinking_aloud_and_tool_calls_never_get_into_the_reply() -> None:
    event = {
        "content": {
            "parts": [
                {"text": "The user wants the time", "thought": True},
                {"function_call": {"name": "current_time", "args": {"zone": "UTC"}}},
            ]
        }
    }
    assert list(EventReader().read(event)) == [ToolStep("current_time", "started")]


def test_a_tool_says_how_it_ended() -> None:
    def ended(response: dict[str, Any]) -> ToolStep:
        parts = [{"function_response": {"name": "clock", "response": response}}]
        (step,) = EventReader().read({"content": {"parts": parts}})
        assert isinstance(step, ToolStep)
        return step

    assert ended({"error": "no such zone"}) == ToolStep("clock", "failed", "no such zone")
    assert ended({"summary": "It is noon."}) == ToolStep("clock", "done", "It is noon.")


def test_text_after_a_tool_is_said_too() -> None:
    reader = EventReader()
    events = [
        text("One moment.", partial=True),
        text("One moment."),
        {"content": {"parts": [{"function_response": {"name": "clock", "response": {}}}]}},
        text("It is noon."),
    ]
    said = [step.text for event in events for step in reader.read(event) if isinstance(step, TextDelta)]
    assert said == ["One moment.", "It is noon."]
