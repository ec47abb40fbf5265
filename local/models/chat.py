"""From ADK's requests to chat messages, for models that know nothing of Gemini's wire format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.adk.models.llm_request import LlmRequest
from google.genai import types

Message = dict[str, Any]


@dataclass(frozen=True)
class Declared:
    """One tool as a model may be told of it; `properties` maps each argument to its JSON schema."""

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    required: Sequence[str]


@dataclass(frozen=True)
class Call:
    name: str
    arguments: Mapping[str, Any]


def declared_tools(request: LlmRequest) -> list[Declared]:
    """The tools an ADK request offers, in its order."""
    tools = request.config.tools or []
    declarations = [one for tool in tools if isinstance(tool, types.Tool) for one in tool.function_declarations or []]
    return [_declared(one) for one in declarations]


def _declared(declaration: types.FunctionDeclaration) -> Declared:
    schema = declaration.parameters_json_schema
    if schema is None and declaration.parameters is not None:
        schema = declaration.parameters.json_schema.model_dump(mode="json", exclude_none=True)
    schema = schema if isinstance(schema, dict) else {}
    # ADK hands over the whole docstring; a model is told of the arguments by their schema.
    description = (declaration.description or "").split("\n\nArgs:")[0].strip()
    return Declared(
        name=declaration.name or "",
        description=" ".join(description.split()),
        properties=schema.get("properties", {}),
        required=schema.get("required", ()),
    )


def system_text(request: LlmRequest) -> str:
    instruction = request.config.system_instruction
    return instruction if isinstance(instruction, str) else ""


def said(content: types.Content) -> str:
    """The words of a content, without thoughts."""
    return "".join(part.text for part in content.parts or () if part.text and not part.thought)


def calls_of(content: types.Content) -> list[types.FunctionCall]:
    return [part.function_call for part in content.parts or () if part.function_call]


def results_of(content: types.Content) -> list[types.FunctionResponse]:
    return [part.function_response for part in content.parts or () if part.function_response]


def calls_in_this_turn(contents: Sequence[types.Content]) -> list[Call]:
    """The tool calls made since the person last spoke."""
    made: list[Call] = []
    for content in reversed(contents):
        if content.role == "user" and not results_of(content):
            break
        made.extend(Call(call.name or "", call.args or {}) for call in calls_of(content))
    return made


def last_words(contents: Sequence[types.Content]) -> tuple[str, str]:
    """What the person said last, and what they had said before that; empty where there is nothing.

    Notes that stand right before a message are no words of the person's.
    """
    heard: list[str] = []
    skipping = False
    for content in reversed(contents):
        words = said(content) if content.role == "user" and not results_of(content) else ""
        if words and not skipping:
            heard.append(words)
        skipping = bool(words)
    return (*heard[:2], "", "")[:2]  # type: ignore[return-value]


def merged(messages: Iterable[Message]) -> list[Message]:
    """Join neighbours of one role, as chat templates want strictly alternating roles."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {**message, "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
