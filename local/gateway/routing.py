"""Which function serves a path: path templates as in OpenAPI, a literal segment before a parameter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.http.declaration import Operation

_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")


class Declared(Protocol):
    """What the gateway needs to know of a function; `shared.http.declaration.Function` has it."""

    name: str
    path: str
    operations: list[Operation]
    timeout_seconds: int


@dataclass(frozen=True)
class Match:
    """A function that serves the path, and its operations by method."""

    function: Declared
    operations: Mapping[str, Operation]

    @property
    def allowed(self) -> str:
        return ", ".join(sorted(self.operations))


class RouteTable:
    """Built once from the declarations."""

    def __init__(self, functions: Sequence[Declared]) -> None:
        self.functions = list(functions)
        ordered = sorted(functions, key=lambda function: _precedence(function.path))
        self._routes = [(_pattern(function.path), _match(function)) for function in ordered]

    def find(self, path: str) -> Match | None:
        for pattern, match in self._routes:
            if pattern.fullmatch(path):
                return match
        return None


def _match(function: Declared) -> Match:
    return Match(function, {operation.method: operation for operation in function.operations})


def _pattern(template: str) -> re.Pattern[str]:
    literals = [re.escape(literal) for literal in _PARAMETER.split(template)]
    return re.compile("[^/]+".join(literals))


def _precedence(template: str) -> list[bool]:
    return [bool(_PARAMETER.search(segment)) for segment in template.split("/")]
