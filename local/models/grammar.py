"""What a small model may write: one spoken paragraph, or one well-formed tool call. Decided by its first character.

So no second request is needed to find out whether a tool is wanted: the model's own first token says it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from local.models.chat import Call, Declared

CALL_BEGINS = "{"

# No markdown can come out, no emoji and no second paragraph: everything is read aloud.
_UNSPEAKABLE = r"{}*#`_\n\r\t" + "\u2600-\u27bf\U0001f000-\U0001faff"
_TEXT = f"text ::= [^{_UNSPEAKABLE} ] [^{_UNSPEAKABLE}]*"
_VALUES = (
    r'string ::= "\"" [^"\\\n\r\t]* "\""',
    r'number ::= "-"? [0-9]+ ("." [0-9]+)?',
    r'boolean ::= "true" | "false"',
)
_RULES = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}


def spoken_or_call(tools: Sequence[Declared]) -> str:
    """A GBNF grammar: spoken text, or `{"tool": NAME, "arguments": {…}}` for one of `tools`."""
    if not tools:
        return "\n".join(("root ::= text", _TEXT))
    calls = " | ".join(_call(tool) for tool in tools)
    return "\n".join(("root ::= text | call", _TEXT, f"call ::= {calls}", *_VALUES))


def _call(tool: Declared) -> str:
    opening = f'{{"tool": {json.dumps(tool.name)}, "arguments": {{'
    parts: list[str] = [_literal(opening)]
    for index, (name, schema) in enumerate(tool.properties.items()):
        parts.append(_literal(f"{', ' if index else ''}{json.dumps(name)}: "))
        parts.append(_value(schema))
    parts.append(_literal("}}"))
    return " ".join(parts)


def _value(schema: Mapping[str, Any]) -> str:
    if choices := schema.get("enum"):
        return "( " + " | ".join(_literal(json.dumps(choice)) for choice in choices) + " )"
    return _RULES.get(str(schema.get("type")), "string")


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_call(text: str) -> Call | None:
    """The call that `text` is, or None when it is no complete call (the answer was cut)."""
    try:
        value = json.loads(text)
        return Call(value["tool"], value["arguments"])
    except (ValueError, KeyError, TypeError):
        return None


def write_call(call: Call) -> str:
    """A call as the model itself would have written it, so that its words are found again in the prompt's cache."""
    return json.dumps({"tool": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
