"""infra/openapi.json: one OpenAPI 3.1 document for the whole interface, merged from every function's own.

https://spec.openapis.org/oas/v3.1.0. Paths, parameters, bodies and answers are FastAPI's; what the endpoint kit adds
to every operation (credentials, headers, problem documents) is added here, from the declarations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastapi.openapi.utils import get_openapi

from infra.catalogue import answers
from infra.catalogue.rooms import description, room_of
from shared.http.declaration import Caller, Function, Operation

_ABOUT = (
    "A backend for voice assistants: accounts, conversations and spoken turns. Errors are problem documents "
    "(RFC 9457) whose `code` is a stable word; lists are paged with `cursor`; times are UTC, RFC 3339."
)

_PERSON, _CAPABILITY, _GOOGLE = "access_token", "capability", "google_identity"

_SCHEMES: dict[str, dict[str, Any]] = {
    _PERSON: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token that signing in gives: ES256, good for 15 minutes.",
    },
    _CAPABILITY: {
        "type": "http",
        "scheme": "bearer",
        "description": "The opaque capability of one running turn.",
    },
    _GOOGLE: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An OIDC token that Google signed for the queue's or the scheduler's service account.",
    },
}

_SCHEME_OF = {
    Caller.PERSON: _PERSON,
    Caller.ADMINISTRATOR: _PERSON,
    Caller.CAPABILITY: _CAPABILITY,
    Caller.QUEUE: _GOOGLE,
    Caller.SCHEDULER: _GOOGLE,
}

_PARAMETERS: dict[str, dict[str, Any]] = {
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": (
            "An id of the caller's own for this request; the answer and our logs repeat it. One that is not made of 1 "
            "to 128 letters, digits and `._:-` is replaced."
        ),
        "schema": {"type": "string"},
    },
    **{
        f"IdempotencyKey{kind}": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": kind == "Required",
            "description": (
                "One fresh value for each new request, the same for its retries: the same key and payload get the "
                "first answer again."
            ),
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
        for kind in ("Required", "Accepted")
    },
}


def document(root: Path, functions: Sequence[Function]) -> dict[str, Any]:
    """The whole document.

    Raises:
        ExceptionGroup: of ValueErrors: two different models share a name, or a function serves a method it does not
            declare.
    """
    rooms = sorted({room_of(function) for function in functions})
    whole = get_openapi(
        title="Oprina",
        version="1",
        description=_ABOUT,
        routes=[route for function in functions for route in function.fastapi.routes],
        servers=[{"url": "/"}],
        tags=[{"name": room, "description": description(root, room)} for room in rooms],
    )
    reasons = list(_clashes(whole)) + list(_undeclared(whole, functions))
    if reasons:
        raise ExceptionGroup("the OpenAPI document cannot be made", [ValueError(reason) for reason in reasons])
    used: set[str] = set()
    for function in functions:
        for operation in function.operations:
            described = whole["paths"][operation.path][operation.method.lower()]
            _complete(described, operation, room_of(function), needs_dependency=_needs_dependency(function, operation))
            used |= {name for requirement in described["security"] for name in requirement}
    _add_components(whole, used)
    whole["paths"] = dict(sorted(whole["paths"].items()))
    return whole


def _needs_dependency(function: Function, operation: Operation) -> bool:
    return operation.caller is not Caller.EVERYONE or bool(function.settings)


def _clashes(whole: dict[str, Any]) -> Iterator[str]:
    """FastAPI tells models of one name apart by writing their modules into the names; clients would read that."""
    for name in whole.get("components", {}).get("schemas", {}):
        if "__" in name:
            yield f"two different models share the name {name.rpartition('__')[2]}: rename one ({name})"


def _undeclared(whole: dict[str, Any], functions: Sequence[Function]) -> Iterator[str]:
    declared = {
        (operation.path, operation.method.lower()) for function in functions for operation in function.operations
    }
    served = {(path, method) for path, item in whole["paths"].items() for method in item}
    for path, method in sorted(served - declared):
        yield f"{method.upper()} {path} is served and not declared"
    for path, method in sorted(declared - served):
        yield f"{method.upper()} {path} is declared and not served, or kept out of the schema"


def _complete(described: dict[str, Any], operation: Operation, room: str, *, needs_dependency: bool) -> None:
    described["tags"] = [room]
    scheme = _SCHEME_OF.get(operation.caller)
    described["security"] = [{scheme: []}] if scheme else []
    described["x-caller"] = operation.caller.value
    parameters = described.setdefault("parameters", [])
    if operation.idempotency != "none":
        parameters.append({"$ref": f"#/components/parameters/IdempotencyKey{operation.idempotency.capitalize()}"})
    parameters.append({"$ref": "#/components/parameters/RequestId"})
    answers.complete(described, operation, needs_dependency=needs_dependency)


def _add_components(whole: dict[str, Any], used_schemes: set[str]) -> None:
    components = whole.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= answers.SCHEMAS
    components["schemas"] = dict(sorted(schemas.items()))
    components["parameters"] = _referenced(whole, "parameters", _PARAMETERS)
    components["responses"] = _referenced(whole, "responses", answers.PROBLEMS)
    components["headers"] = answers.HEADERS
    components["securitySchemes"] = {name: _SCHEMES[name] for name in sorted(used_schemes)}


def _referenced(whole: dict[str, Any], kind: str, all_of_them: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = set(_references(whole["paths"]))
    return {name: value for name, value in all_of_them.items() if f"#/components/{kind}/{name}" in found}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
