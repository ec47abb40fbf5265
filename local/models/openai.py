"""A model behind any OpenAI-compatible server (Ollama, vLLM, llama.cpp, …): chat completions with tools, streamed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

import httpx
from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.genai import types
from pydantic import PrivateAttr

from local.models import chat
from local.models.chat import Declared, Message

_TIMEOUT = httpx.Timeout(120, connect=5)


class ModelServerError(RuntimeError):
    """The model's server refused or broke off; `status` is the HTTP status to pass on."""

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class OpenAIModel(BaseLlm):
    """`model` is the name the server knows; `address` ends in /v1."""

    address: str
    _client: httpx.AsyncClient = PrivateAttr()

    @classmethod
    async def at(
        cls, address: str, *, name: str | None, key: str | None, client: httpx.AsyncClient | None = None
    ) -> OpenAIModel:
        """Connect; without a `name`, the first model the server lists. A `client` brings its own base address.

        Raises:
            ModelServerError: the server is away, or has no model.
        """
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = client or httpx.AsyncClient(base_url=f"{address.rstrip('/')}/", headers=headers, timeout=_TIMEOUT)
        model = cls(model=name or await _first_model(client, address), address=address)
        model._client = client
        return model

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        """Answer an ADK request; with `stream`, first in fragments (partial), then whole.

        Raises:
            ModelServerError: the server refused, broke off or is away.
        """
        gathered = _Gathered()
        async with aclosing(self._chunks(_body(self.model, llm_request))) as chunks:
            async for chunk in chunks:
                text = gathered.add(chunk)
                if stream and text:
                    yield LlmResponse(content=_content([types.Part(text=text)]), partial=True)
        yield gathered.response().model_copy(update={"model_version": self.model})

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        try:
            async with self._client.stream("POST", "chat/completions", json=body) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise ModelServerError(f"The model's server answered {answer.status_code}.", _passed_on(answer))
                async for document in _documents(answer.aiter_lines()):
                    yield document
        except httpx.HTTPError as error:
            raise ModelServerError(f"The model's server at {self.address} failed: {type(error).__name__}.") from error


async def _first_model(client: httpx.AsyncClient, address: str) -> str:
    try:
        answer = await client.get("models")
        answer.raise_for_status()
        return str(answer.json()["data"][0]["id"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise ModelServerError(f"No model is listed at {address} ({type(error).__name__}); set MODEL_NAME.") from error


def _passed_on(answer: httpx.Response) -> int:
    return answer.status_code if answer.status_code in {400, 429, 503} else 502


async def _documents(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """The JSON documents of a stream of server-sent events, up to its `[DONE]`."""
    async for line in lines:
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        if line.startswith("data:") and data:
            yield json.loads(data)


class _Gathered:
    """What the chunks of one answer add up to."""

    def __init__(self) -> None:
        self._text = ""
        self._calls: dict[int, dict[str, str]] = {}
        self._usage: dict[str, Any] = {}
        self._cut = False

    def add(self, chunk: dict[str, Any]) -> str:
        """Take a chunk; the words in it are returned."""
        self._usage = chunk.get("usage") or self._usage
        text = ""
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            text += delta.get("content") or ""
            self._cut = self._cut or choice.get("finish_reason") == "length"
            for call in delta.get("tool_calls") or []:
                self._add_call(call)
        self._text += text
        return text

    def _add_call(self, call: dict[str, Any]) -> None:
        known = self._calls.setdefault(call.get("index", 0), {"id": "", "name": "", "arguments": ""})
        function = call.get("function") or {}
        known["id"] = call.get("id") or known["id"]
        known["name"] = function.get("name") or known["name"]
        known["arguments"] += function.get("arguments") or ""

    def response(self) -> LlmResponse:
        parts = [types.Part(text=self._text)] if self._text or not self._calls else []
        parts += [types.Part(function_call=_function_call(call)) for _, call in sorted(self._calls.items())]
        read, written = self._usage.get("prompt_tokens"), self._usage.get("completion_tokens")
        return LlmResponse(
            content=_content(parts),
            partial=False,
            finish_reason=types.FinishReason.MAX_TOKENS if self._cut else types.FinishReason.STOP,
            usage_metadata=types.GenerateContentResponseUsageMetadata(
                prompt_token_count=read,
                candidates_token_count=written,
                total_token_count=self._usage.get("total_tokens"),
            )
            if self._usage
            else None,
        )


def _function_call(call: dict[str, str]) -> types.FunctionCall:
    try:
        arguments = json.loads(call["arguments"] or "{}")
    except ValueError:
        raise ModelServerError("The model asked for a tool with malformed arguments.") from None
    return types.FunctionCall(id=call["id"] or None, name=call["name"], args=arguments)


def _body(model: str, request: LlmRequest) -> dict[str, Any]:
    config = request.config
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": chat.system_text(request)}, *_messages(request.contents)],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if tools := chat.declared_tools(request):
        body["tools"] = [_tool(tool) for tool in tools]
    if config.max_output_tokens:
        body["max_tokens"] = config.max_output_tokens
    if config.temperature is not None:
        body["temperature"] = config.temperature
    return body


def _tool(tool: Declared) -> dict[str, Any]:
    parameters = {"type": "object", "properties": dict(tool.properties), "required": list(tool.required)}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _messages(contents: Iterable[types.Content]) -> list[Message]:
    return [message for content in contents for message in _message(content)]


def _message(content: types.Content) -> list[Message]:
    results = [
        {"role": "tool", "tool_call_id": result.id or result.name, "content": chat.as_json(result.response)}
        for result in chat.results_of(content)
    ]
    if results:
        return results
    message: Message = {"role": "assistant" if content.role == "model" else "user", "content": chat.said(content)}
    if calls := chat.calls_of(content):
        message["tool_calls"] = [
            {
                "id": call.id or call.name,
                "type": "function",
                "function": {"name": call.name, "arguments": chat.as_json(call.args or {})},
            }
            for call in calls
        ]
    return [message]


def _content(parts: list[types.Part]) -> types.Content:
    return types.Content(role="model", parts=parts)
