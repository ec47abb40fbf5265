"""A model for tests of mechanics and for benchmarks: it says what it is told, at the pace it is told.

In a message it understands `[[say TEXT]]` (answer with TEXT), `[[tool:NAME key=value …]]` (call that tool, then say
what it answered), `[[fail after N]]` (break off after N tokens) and `[[pause MS after N]]` (say nothing so long after
N tokens).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any

from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.genai import types
from pydantic import Field

from local import pace
from local.models import chat

DEFAULT_REPLY = (
    "This is a rehearsed answer, spoken at a steady pace so that everything around it can be measured. "
    "It has three sentences, because most spoken answers are about that long. "
    "Nothing in it was thought up, and nothing in it should be believed."
)
_TOKEN = re.compile(r"\S+\s*")
_SAY = re.compile(r"\[\[say (.+?)\]\]", re.DOTALL)
_TOOL = re.compile(r"\[\[tool:(\w+)\s*(.*?)\]\]", re.DOTALL)
_FAIL = re.compile(r"\[\[fail after (\d+)\]\]")
_PAUSE = re.compile(r"\[\[pause (\d+) after (\d+)\]\]")
_PAIR = re.compile(r"(\w+)=(.*?)(?=\s+\w+=|$)")


class ScriptedFailure(RuntimeError):
    """The failure a test asked for."""


class ScriptedModel(BaseLlm):
    """Answers with `reply`, one word after another, each due `token_ms` after the one before.

    Words are due at absolute times, so that a busy loop delays single words but not the pace. The first is due
    `first_token_ms` after the query arrived; after a tool, so long after its result.
    """

    model: str = "scripted"
    reply: str = DEFAULT_REPLY
    token_ms: float = Field(default=20.0, ge=0)
    first_token_ms: float = Field(default=0.0, ge=0)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        """Answer an ADK request as its last message directs.

        Raises:
            ScriptedFailure: the message asked for it.
        """
        asked, _ = chat.last_words(llm_request.contents)
        results = chat.results_of(llm_request.contents[-1]) if llm_request.contents else []
        wanted = _TOOL.search(asked)
        if wanted and not results:
            call = types.FunctionCall(name=wanted[1], args=dict(_PAIR.findall(wanted[2])))
            yield _response(types.Part(function_call=call), llm_request, 1)
            return
        text = _said_of(results[-1].response or {}) if results else self._words_for(asked)
        tokens = _TOKEN.findall(text)
        fail, pause = _FAIL.search(asked), _PAUSE.search(asked)
        began = asyncio.get_running_loop().time() if results else pace.arrival()
        start = began + self.first_token_ms / 1000
        for index, token in enumerate(tokens):
            if fail and index >= int(fail[1]):
                raise ScriptedFailure("The scripted model was told to fail here.")
            if pause and index == int(pause[2]):
                start += int(pause[1]) / 1000
            await pace.until(start + index * self.token_ms / 1000)
            if stream:
                yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text=token)]), partial=True)
        yield _response(types.Part(text=text), llm_request, len(tokens))

    def _words_for(self, asked: str) -> str:
        say = _SAY.search(asked)
        return say[1] if say else self.reply


def _said_of(answer: dict[str, Any]) -> str:
    return str(answer.get("spoken") or answer.get("error") or chat.as_json(answer))


def _response(part: types.Part, request: LlmRequest, tokens: int) -> LlmResponse:
    read = sum(len(_TOKEN.findall(chat.said(content))) for content in request.contents)
    return LlmResponse(
        content=types.Content(role="model", parts=[part]),
        model_version="scripted",
        partial=False,
        finish_reason=types.FinishReason.STOP,
        usage_metadata=types.GenerateContentResponseUsageMetadata(
            prompt_token_count=read, candidates_token_count=tokens, total_token_count=read + tokens
        ),
    )
