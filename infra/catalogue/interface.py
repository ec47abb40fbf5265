"""docs/interface.md: the promised routes. People write the rows; what is available is marked from the declarations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.catalogue.consistency import template
from shared.http.declaration import Function, Operation

PATH = "docs/interface.md"

_ROW = re.compile(
    r"^\| `(?P<method>[A-Z]+) (?P<path>/\S*)` \| (?P<who>[^|]+) \| (?P<key>[^|]+) \| (?P<status>[^|]+) \|"
    r" (?P<what>.+) \|$"
)


@dataclass(frozen=True)
class Promise:
    """One row: an operation that clients may rely on, now or later."""

    method: str
    path: str
    who: str
    key: str
    status: str
    what: str

    @property
    def address(self) -> tuple[str, str]:
        """Method and path, the latter without the names of its parameters."""
        return self.method, template(self.path)

    def row(self) -> str:
        return f"| `{self.method} {self.path}` | {self.who} | {self.key} | {self.status} | {self.what} |"


def promises(page: str) -> list[Promise]:
    return [promise for line in page.splitlines() if (promise := _promise(line)) is not None]


def _promise(line: str) -> Promise | None:
    match = _ROW.match(line)
    if match is None:
        return None
    return Promise(**{name: text.strip() for name, text in match.groupdict().items()})


def marked(page: str, functions: Sequence[Function]) -> str:
    """The page with each row marked available, under its declared path, or planned."""
    declared = _declared(functions)
    return "".join(_marked(line, declared) + "\n" for line in page.splitlines())


def _marked(line: str, declared: dict[tuple[str, str], Operation]) -> str:
    promise = _promise(line)
    if promise is None:
        return line
    operation = declared.get(promise.address)
    path = operation.path if operation else promise.path
    status = "available" if operation else "planned"
    return Promise(promise.method, path, promise.who, promise.key, status, promise.what).row()


def contradictions(page: str, functions: Sequence[Function]) -> list[str]:
    """A sentence for each operation that is declared and not promised, or declared otherwise than promised."""
    promised = {promise.address: promise for promise in promises(page)}
    return [
        reason
        for address, operation in _declared(functions).items()
        for reason in _differences(promised.get(address), operation)
    ]


def _differences(promise: Promise | None, operation: Operation) -> Iterator[str]:
    if promise is None:
        yield f"{operation.route} is declared and has no row in {PATH}"
        return
    if promise.who != operation.caller.value:
        yield f"{operation.route} is declared for {operation.caller.value} and promised to {promise.who}"
    if (promise.key == "required") != (operation.idempotency == "required"):
        yield f"{operation.route} has the idempotency key {operation.idempotency}, and {PATH} says {promise.key}"


def _declared(functions: Sequence[Function]) -> dict[tuple[str, str], Operation]:
    return {
        (operation.method, template(operation.path)): operation
        for function in functions
        for operation in function.operations
    }
