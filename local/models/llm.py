"""ADK's view of the engine: a model that speaks, and that asks for tools in one line of JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.genai import types
from pydantic import PrivateAttr

from local.models import chat, grammar
from local.models.chat import Call, Declared, Message
from local.models.engine import Counted, Engine
from local.models.router import plausible

MAX_ANSWER_TOKENS = 220
MAX_CALLS_IN_A_TURN = 3
_CHARACTERS_FOR_EACH_TOKEN = 3
_ROOM_FOR_INSTRUCTIONS_TOKENS = 900

# A model of this size follows what it is shown more than what it is told.
_EXAMPLES: tuple[tuple[str | None, str, str], ...] = (
    (None, "Who painted the Mona Lisa?", "Leonardo da Vinci painted it, about five hundred years ago."),
    (None, "I really enjoyed the concert yesterday.", "That sounds lovely! What did you like most about it?"),
    (None, "My cat is called Tom.", "Tom is a nice name for a cat! How old is he?"),
    (None, "Who are you?", "I'm Oprina, your voice assistant."),
    (None, "What can you do?", "I can chat with you, tell you the time anywhere, and work out sums."),
    (None, "Can you send a message to Paul?", "I'm sorry, I can't send messages. I can only talk with you."),
    (None, "Remind me to buy milk.", "I'm sorry, I can't set reminders yet."),
    (None, "Will it rain today?", "I'm sorry, I can't look up the weather."),
    ("calculate", "What is 12 times 19?", '{"tool": "calculate", "arguments": {"expression": "12 * 19"}}'),
    (None, "How many weeks are there in a year?", "A year has fifty-two weeks and a day."),
    ("clock", "What time is it in Oslo?", '{"tool": "clock", "arguments": {"place": "Oslo"}}'),
    ("clock", "What's the time?", '{"tool": "clock", "arguments": {"place": ""}}'),
    ("profile", "What do you know about me?", '{"tool": "profile", "arguments": {}}'),
)


class LocalModel(BaseLlm):
    """A chat model in this process. One instance serves concurrent turns."""

    engine: Engine
    _warm: bool = PrivateAttr(default=False)
    _warming: asyncio.Lock = PrivateAttr(default_factory=asyncio.Lock)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        """Answer an ADK request; with `stream`, first in fragments (partial), then whole.

        Raises:
            EngineError: the conversation is longer than the model's context, or the engine failed.
        """
        await self._warm_once(llm_request)
        text, counted, cut = "", None, False
        async with aclosing(self.engine.stream(self._body(llm_request))) as pieces:
            async for piece in pieces:
                text, counted, cut = text + piece.text, piece.counted or counted, cut or piece.cut
                if stream and piece.text and not text.startswith(grammar.CALL_BEGINS):
                    yield LlmResponse(content=_content(types.Part(text=piece.text)), partial=True)
        yield _final(text, counted, cut).model_copy(update={"model_version": self.model})

    async def _warm_once(self, request: LlmRequest) -> None:
        """Read the opening that all conversations share, before the first of them."""
        async with self._warming:
            if not self._warm:
                await self.engine.warm([self._system(request), {"role": "user", "content": "Hello."}])
                self._warm = True

    def _body(self, request: LlmRequest) -> dict[str, Any]:
        config = request.config
        return {
            "messages": [self._system(request), *self._fitting(_messages(request.contents))],
            "grammar": grammar.spoken_or_call(_usable(request)),
            "max_tokens": min(config.max_output_tokens or MAX_ANSWER_TOKENS, MAX_ANSWER_TOKENS),
            "temperature": min(config.temperature or 0.0, 0.2),
        }

    def _system(self, request: LlmRequest) -> Message:
        tools = chat.declared_tools(request)
        return {"role": "system", "content": f"{chat.system_text(request)}\n\n{_guide(tools)}".strip()}

    def _fitting(self, messages: Sequence[Message]) -> list[Message]:
        """The newest messages that fit into the context; the last one always stays."""
        room = self.engine.context_tokens - MAX_ANSWER_TOKENS - _ROOM_FOR_INSTRUCTIONS_TOKENS
        characters, kept = room * _CHARACTERS_FOR_EACH_TOKEN, list(messages)
        while len(kept) > 1 and sum(len(message["content"]) for message in kept) > characters:
            kept.pop(0)
        return kept


def _guide(tools: Sequence[Declared]) -> str:
    """How this model asks for tools. The same for every turn, so it is read once and found again in the cache."""
    names = {tool.name for tool in tools}
    lines = [f"{asked} -> {answer}" for tool, asked, answer in _EXAMPLES if tool is None or tool in names]
    if not tools:
        return ""
    offered = "\n".join(f"{tool.name} {{{', '.join(tool.properties)}}}: {tool.description}" for tool in tools)
    return (
        'To use a tool, answer with one line of JSON and nothing else: {"tool": NAME, "arguments": {...}}\n'
        f"{offered}\n\nExamples:\n" + "\n".join(lines)
    )


def _usable(request: LlmRequest) -> list[Declared]:
    """The tools this message could be about, until enough was asked that the model can only be going in circles."""
    if len(chat.calls_in_this_turn(request.contents)) >= MAX_CALLS_IN_A_TURN:
        return []
    tools = chat.declared_tools(request)
    message, before = chat.last_words(request.contents)
    wanted = plausible(message, before, frozenset(tool.name for tool in tools))
    return [tool for tool in tools if tool.name in wanted]


def _messages(contents: Sequence[types.Content]) -> list[Message]:
    """The conversation. What stands right before a message of the person's is a note about them, not their words."""
    messages: list[Message] = []
    for content, follower in zip(contents, [*contents[1:], None], strict=True):
        is_note = follower is not None and _is_spoken(content) and _is_spoken(follower)
        messages.append({"role": "system", "content": chat.said(content)} if is_note else _message(content))
    return [message for message in chat.merged(messages) if message["content"]]


def _is_spoken(content: types.Content) -> bool:
    return content.role == "user" and not chat.results_of(content)


def _message(content: types.Content) -> Message:
    calls = [grammar.write_call(Call(call.name or "", call.args or {})) for call in chat.calls_of(content)]
    results = [_result(result) for result in chat.results_of(content)]
    text = "\n".join((*calls, *results)) or chat.said(content)
    return {"role": "assistant" if content.role == "model" else "user", "content": text}


def _result(result: types.FunctionResponse) -> str:
    answer = result.response or {}
    if "error" in answer:
        return f"{result.name} could not answer: {answer['error']} Tell me so in one short sentence."
    spoken = answer.get("spoken") or chat.as_json(answer)
    return f"{result.name} answered: {spoken} Tell me this in one short sentence, with exactly these figures."


def _final(text: str, counted: Counted | None, cut: bool) -> LlmResponse:
    call = grammar.read_call(text) if text.startswith(grammar.CALL_BEGINS) else None
    part = types.Part(text=text.strip())
    if call:
        part = types.Part(function_call=types.FunctionCall(name=call.name, args=dict(call.arguments)))
    elif text.startswith(grammar.CALL_BEGINS):
        return LlmResponse(error_code="MALFORMED_FUNCTION_CALL", error_message="The tool call was cut off.")
    return LlmResponse(
        content=_content(part),
        partial=False,
        finish_reason=types.FinishReason.MAX_TOKENS if cut else types.FinishReason.STOP,
        usage_metadata=_usage(counted),
    )


def _usage(counted: Counted | None) -> types.GenerateContentResponseUsageMetadata | None:
    if counted is None:
        return None
    return types.GenerateContentResponseUsageMetadata(
        prompt_token_count=counted.prompt,
        cached_content_token_count=counted.cached,
        candidates_token_count=counted.answer,
        total_token_count=counted.prompt + counted.answer,
    )


def _content(part: types.Part) -> types.Content:
    return types.Content(role="model", parts=[part])
