"""The assistant over a scripted model, in this process: what its tools see, and what it leaves behind."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse

from local.models.scripted import ScriptedModel
from shared.runtime import clock
from tests.support.agent import LIBRARY_WARNINGS, query

pytestmark = [pytest.mark.filterwarnings(warning) for warning in LIBRARY_WARNINGS]
PERSON = {"preferred_name": "Ana", "timezone": "Europe/Lisbon", "ai_preferences": "Be brief."}


class Recorder(BaseLlm):
    """Passes requests on to a scripted model and keeps what they held."""

    model: str = "recorder"
    requests: list[str]

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        self.requests.append(llm_request.model_dump_json(exclude={"config": {"http_options"}}, exclude_none=True))
        async for response in ScriptedModel(token_ms=0).generate_content_async(llm_request, stream):
            yield response


def _application(model: BaseLlm) -> Any:
    from local.agent_runtime.quick_import import agent_app

    return agent_app().build_app(model)


async def _ask(application: Any, message: str, **given: Any) -> list[dict[str, Any]]:
    return [event async for event in application.async_stream_query(**query(message, **given)["input"])]


def _results(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    parts = [part for event in events for part in (event.get("content") or {}).get("parts", [])]
    return [part["function_response"]["response"] for part in parts if "function_response" in part]


async def test_the_clock_tells_the_time_where_the_person_is() -> None:
    application = _application(ScriptedModel(token_ms=0))
    with clock.held(datetime(2026, 7, 1, 22, 5, tzinfo=UTC)):
        here = _results(await _ask(application, "[[tool:clock]]", person=PERSON))[0]
        there = _results(await _ask(application, "[[tool:clock place=Tokyo]]", person=PERSON))[0]
    assert (here["local_time"], here["date"], here["weekday"]) == ("23:05", "2026-07-01", "Wednesday")
    assert here["spoken"] == "It is 11:05 PM on Wednesday, 1 July 2026."
    assert (there["local_time"], there["date"], there["zone"]) == ("07:05", "2026-07-02", "Asia/Tokyo")


@pytest.mark.parametrize("person", [{}, {"timezone": "Atlantis/Capital"}, {"timezone": "../../etc/passwd"}])
async def test_a_person_without_a_known_zone_is_asked_for_a_city(person: dict[str, Any]) -> None:
    answered = _results(await _ask(_application(ScriptedModel(token_ms=0)), "[[tool:clock]]", person=person))[0]
    assert "city" in answered["error"]


async def test_the_profile_tells_what_the_person_allowed_and_no_more() -> None:
    person = PERSON | {"password_hash": "never"}
    answered = _results(await _ask(_application(ScriptedModel(token_ms=0)), "[[tool:profile]]", person=person))[0]
    assert answered["preferred_name"] == "Ana"
    assert answered["ai_preferences"] == "Be brief."
    assert "password_hash" not in answered


async def test_a_refused_sum_is_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    events = await _ask(_application(ScriptedModel(token_ms=0)), "[[tool:calculate expression=1/0]]")
    assert _results(events) == [{"error": "Dividing by zero has no result."}]


async def test_the_capability_reaches_no_model_no_event_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    model = Recorder(requests=[])
    caplog.set_level(logging.DEBUG)
    events = await _ask(_application(model), "[[tool:profile]]", person=PERSON, capability="zq-secret")
    assert len(model.requests) == 2
    assert "zq-secret" not in json.dumps([model.requests, events]) + caplog.text


async def test_the_note_stands_right_before_the_message_and_after_the_history() -> None:
    model = Recorder(requests=[])
    history = [("user", "My boat is called Vega."), ("assistant", "Nice!")]
    await _ask(_application(model), "What is it called?", history=history, note="It is noon.")
    contents = json.loads(model.requests[0])["contents"]
    assert [part["text"] for content in contents for part in content["parts"]] == [
        "My boat is called Vega.",
        "Nice!",
        "It is noon.",
        "What is it called?",
    ]


async def test_no_session_stays_behind_even_when_the_listener_leaves() -> None:
    application = _application(ScriptedModel(token_ms=0))
    await _ask(application, "Hello.")
    leaving = application.async_stream_query(message="Hello.", user_id="u")
    await anext(leaving)
    await leaving.aclose()
    with pytest.raises(Exception, match="told to fail"):
        await _ask(application, "[[fail after 2]]")
    service = application._tmpl_attrs["session_service"]
    assert not [session for app in service.sessions.values() for user in app.values() for session in user]


async def test_two_hundred_turns_leave_no_objects_behind() -> None:
    application = _application(ScriptedModel(token_ms=0))
    history = [("user", "Hi"), ("assistant", "Hello")] * 5

    async def turns(count: int) -> int:
        for _ in range(count):
            await _ask(application, "[[say Yes.]]", history=history, person=PERSON)
        gc.collect()
        return len(gc.get_objects())

    await turns(20)
    before = await turns(20)
    # One turn makes hundreds of objects; less than one each may stay (caches of a fixed size).
    assert await turns(200) - before < 200
