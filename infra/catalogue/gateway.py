"""infra/gateway.json: the description that API Gateway serves by, as a template that Terraform fills in.

OpenAPI 2.0 with Google's extensions, the version whose every feature is generally available:
https://cloud.google.com/api-gateway/docs/openapi-extensions. Only routes of clients are in it; queues and the
scheduler call their functions themselves. Every path has an `OPTIONS` operation without security, since the gateway
answers no preflight itself.

Placeholders: `${issuer}`, `${jwks_url}`, `${audience}`, and `${address_of.NAME}` for each function.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from infra.catalogue.rooms import room_of
from shared.http.declaration import BACKGROUND_CALLERS, Caller, Function, Operation

_WITH_ACCESS_TOKEN = frozenset({Caller.PERSON, Caller.ADMINISTRATOR})
_PARAMETER = re.compile(r"\{([^}]+)\}")
_SECURITY = "access_token"


def description(functions: Sequence[Function]) -> dict[str, Any]:
    """The whole description, its placeholders in place."""
    public = [function for function in functions if function.public]
    return {
        "swagger": "2.0",
        "info": {"title": "Oprina", "version": "1"},
        "schemes": ["https"],
        "produces": ["application/json"],
        "securityDefinitions": {
            _SECURITY: {
                "type": "oauth2",
                "flow": "implicit",
                "authorizationUrl": "",
                "x-google-issuer": "${issuer}",
                "x-google-jwks_uri": "${jwks_url}",
                "x-google-audiences": "${audience}",
            }
        },
        "paths": {function.path: _path(function) for function in sorted(public, key=lambda one: one.path)},
    }


def _path(function: Function) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if parameters := [_parameter(name) for name in _PARAMETER.findall(function.path)]:
        item["parameters"] = parameters
    for operation in function.operations:
        if operation.caller not in BACKGROUND_CALLERS:
            item[operation.method.lower()] = _operation(function, operation)
    item["options"] = _described(function, "OPTIONS", "Asked by browsers before they call from another origin")
    return item


def _operation(function: Function, operation: Operation) -> dict[str, Any]:
    described = _described(function, operation.method, operation.summary)
    if operation.caller in _WITH_ACCESS_TOKEN:
        described["security"] = [{_SECURITY: []}]
    return described


def _described(function: Function, method: str, summary: str) -> dict[str, Any]:
    return {
        "operationId": f"{function.name}-{method}".lower().replace("-", "_"),
        "summary": summary,
        "tags": [room_of(function)],
        "responses": {"default": {"description": "As the function answers; infra/openapi.json tells."}},
        "x-google-backend": {
            "address": f"${{address_of.{function.name}}}",
            "path_translation": "APPEND_PATH_TO_ADDRESS",
            # Wall clock on the whole answer: 15 s unless it is said.
            "deadline": float(function.timeout_seconds),
            "protocol": "h2",
        },
    }


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "type": "string"}
