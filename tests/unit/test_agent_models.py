"""The small pieces around the local model: what it is offered, what it may write, and how it is paced."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.genai import types

from local.models import chat, grammar
from local.models.chat import Call, Declared
from local.models.openai import ModelServerError, OpenAIModel
from local.models.router import plausible
from local.models.scripted import ScriptedModel

TOOLS = frozenset({"calculate", "clock", "profile"})


@pytest.mark.parametrize(
    ("message", "before", "offered"),
    [
        ("What is 345 plus 278?", "", {"calculate"}),
        ("What's fifteen percent of 260?", "", {"calculate"}),
        ("What is the square root of 144?", "", {"calculate"}),
        ("Was ist 12 mal 12?", "", {"calculate"}),
        ("What time is it in Tokyo?", "", {"clock"}),
        ("Quelle heure est-il à Paris ?", "", {"clock"}),
        ("And in Paris?", "What time is it in Tokyo?", {"clock"}),
        ("What is my name?", "", {"profile"}),
        ("My dog is called Rex.", "", set()),
        ("Who wrote Hamlet?", "", set()),
        ("I have a meeting with Peter at three o'clock.", "", set()),
        ("How many days are in a leap year?", "", set()),
    ],
)
def test_tools_are_offered_where_they_could_help(message: str, before: str, offered: set[str]) -> None:
    assert plausible(message, before, TOOLS) == offered


def test_tools_the_router_does_not_know_are_always_offered() -> None:
    assert plausible("Hello.", "", frozenset({"send_mail"})) == {"send_mail"}


def test_a_call_is_read_as_it_was_written() -> None:
    call = Call("clock", {"place": 'the "Hague" ü'})
    assert grammar.read_call(grammar.write_call(call)) == call


@pytest.mark.parametrize("text", ['{"tool": "clock", "argu', "{}", '{"tool": 1}', "[]", "no"])
def test_half_a_call_is_no_call(text: str) -> None:
    assert grammar.read_call(text) is None


def test_without_tools_nothing_but_speech_may_be_written() -> None:
    assert "call" not in grammar.spoken_or_call([])
    tool = Declared("clock", "", {"place": {"type": "string"}}, ())
    assert '\\"clock\\"' in grammar.spoken_or_call([tool])


def _request(*contents: types.Content, tools: bool = False) -> LlmRequest:
    declaration = types.FunctionDeclaration(
        name="clock",
        description="The time.\n\nArgs:\n    place: where",
        parameters_json_schema={"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    )
    config = types.GenerateContentConfig(
        system_instruction="Be kind.", tools=[types.Tool(function_declarations=[declaration])] if tools else None
    )
    return LlmRequest(contents=list(contents), config=config)


def _user(text: str) -> types.Content:
    return types.Content(role="user", parts=[types.Part(text=text)])


def _model(*parts: types.Part) -> types.Content:
    return types.Content(role="model", parts=list(parts))


CALL = _model(types.Part(function_call=types.FunctionCall(id="c1", name="clock", args={"place": "Oslo"})))
RESULT = types.Content(
    role="user",
    parts=[types.Part(function_response=types.FunctionResponse(id="c1", name="clock", response={"time": "12:00"}))],
)


def test_a_note_before_a_message_is_not_what_was_said_before() -> None:
    contents = [_user("first"), _model(types.Part(text="yes")), _user("a note"), _user("second")]
    assert chat.last_words(contents) == ("second", "first")


def test_calls_of_earlier_turns_do_not_count() -> None:
    contents = [_user("a"), CALL, RESULT, _model(types.Part(text="noon")), _user("b"), CALL, RESULT]
    assert chat.calls_in_this_turn(contents) == [Call("clock", {"place": "Oslo"})]


async def _all(model: Any, request: LlmRequest) -> list[LlmResponse]:
    return [response async for response in model.generate_content_async(request, stream=True)]


async def test_the_scripted_model_keeps_its_pace_among_many() -> None:
    model = ScriptedModel(reply="word " * 50, token_ms=10)
    began = time.perf_counter()
    answers = await asyncio.gather(*(_all(model, _request(_user("Hi"))) for _ in range(80)))
    took = time.perf_counter() - began
    assert {len(answer) for answer in answers} == {51}
    assert 0.48 <= took < 5


class Server:
    """An OpenAI-compatible server that answers with the chunks it is given and keeps what it was asked."""

    def __init__(self, *deltas: dict[str, Any], status: int = 200) -> None:
        self.asked: list[dict[str, Any]] = []
        self.app = FastAPI()
        self.app.add_api_route("/v1/models", lambda: {"data": [{"id": "big-model"}]})

        @self.app.post("/v1/chat/completions")
        async def _complete(request: Request) -> Response:
            self.asked.append(await request.json())
            if status != 200:
                return JSONResponse({"error": "no"}, status)
            chunks: list[dict[str, Any]] = [{"choices": [{"delta": delta}]} for delta in deltas]
            chunks.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}})
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
            return StreamingResponse(iter([*lines, "data: [DONE]\n\n"]), media_type="text/event-stream")

    async def model(self) -> OpenAIModel:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://model/v1/")
        return await OpenAIModel.at("http://model/v1", name=None, key=None, client=client)


async def test_a_model_server_streams_words_and_counts_them() -> None:
    server = Server({"content": "Good "}, {"content": "day."})
    *partial, final = await _all(await server.model(), _request(_user("Hi"), tools=True))
    assert [chat.said(one.content) for one in partial if one.content] == ["Good ", "day."]
    assert final.content
    assert chat.said(final.content) == "Good day."
    assert final.usage_metadata
    assert final.usage_metadata.candidates_token_count == 2
    assert server.asked[0]["model"] == "big-model"
    assert server.asked[0]["tools"][0]["function"]["parameters"]["properties"] == {"place": {"type": "string"}}
    assert server.asked[0]["tools"][0]["function"]["description"] == "The time."


async def test_a_model_servers_tool_call_comes_in_pieces_and_its_result_goes_back() -> None:
    pieces = [
        {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "clock", "arguments": '{"pla'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": 'ce": "Oslo"}'}}]},
    ]
    server = Server(*pieces)
    model = await server.model()
    (final,) = await _all(model, _request(_user("Time in Oslo?"), tools=True))
    assert final.content
    assert chat.calls_of(final.content)[0].args == {"place": "Oslo"}
    await _all(model, _request(_user("Time in Oslo?"), CALL, RESULT, tools=True))
    assert server.asked[1]["messages"][-1] == {"role": "tool", "tool_call_id": "c1", "content": '{"time": "12:00"}'}
    assert server.asked[1]["messages"][-2]["tool_calls"][0]["function"]["name"] == "clock"


async def test_a_model_server_that_refuses_is_an_error_of_the_turn() -> None:
    model = await Server(status=429).model()
    with pytest.raises(ModelServerError) as refused:
        await _all(model, _request(_user("Hi")))
    assert refused.value.status == 429


async def test_a_model_server_that_is_away_is_said_to_be() -> None:
    with pytest.raises(ModelServerError, match=r"127\.0\.0\.1:9"):
        await OpenAIModel.at("http://127.0.0.1:9/v1", name=None, key=None)
