"""infra/functions.json: what Terraform's `for_each` needs to know of each function."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.http.declaration import Function, Operation
from shared.runtime.settings import SecretStr, Settings

# What the platform itself sets; https://cloud.google.com/run/docs/container-contract#env-vars refuses it from others.
_OF_THE_PLATFORM = {"K_SERVICE", "K_REVISION", "K_CONFIGURATION", "PORT"}


@dataclass(frozen=True)
class Variable:
    """An environment variable that a function reads."""

    name: str
    required: bool
    secret: bool


def variables(function: Function) -> list[Variable]:
    """What the function reads from its environment, ordered by name."""
    found = {variable.name: variable for kind in function.required_settings for variable in _variables_of(kind)}
    return [found[name] for name in sorted(found)]


def _variables_of(kind: type[Settings]) -> list[Variable]:
    return [
        Variable(name.upper(), field.is_required(), _is_secret(field.annotation))
        for name, field in kind.model_fields.items()
        if name.upper() not in _OF_THE_PLATFORM
    ]


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in typing.get_args(annotation)


def manifest(root: Path, functions: Sequence[Function]) -> dict[str, Any]:
    """All functions by name, and the queues and schedules that call them."""
    return {
        "functions": {function.name: _entry(root, function) for function in sorted(functions, key=_name)},
        "queues": queues(functions),
        "schedules": schedules(functions),
    }


def queues(functions: Sequence[Function]) -> dict[str, dict[str, Any]]:
    """Every declared queue by its name."""
    found = {
        operation.queue.name: _without_name(dataclasses.asdict(operation.queue))
        for function in functions
        for operation in function.operations
        if operation.queue is not None
    }
    return dict(sorted(found.items()))


def schedules(functions: Sequence[Function]) -> dict[str, dict[str, Any]]:
    """Every declared schedule by its job's name, with the function and the path that it calls."""
    found = {
        job_of(operation): {
            "function": function.name,
            "path": operation.path,
            **dataclasses.asdict(operation.schedule),
        }
        for function in functions
        for operation in function.operations
        if operation.schedule is not None
    }
    return dict(sorted(found.items()))


def job_of(operation: Operation) -> str:
    """The name of the job that calls a scheduled operation: the last part of its path."""
    return operation.path.rpartition("/")[2]


def _without_name(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "name"}


def _name(function: Function) -> str:
    return function.name


def _entry(root: Path, function: Function) -> dict[str, Any]:
    folder = function.source.parent.relative_to(root)
    read = variables(function)
    return {
        "room": folder.parts[-2],
        "source": folder.as_posix(),
        "entry_point": "main",
        "path": function.path,
        "public": function.public,
        "streams": any(operation.streams for operation in function.operations),
        "callers": sorted({operation.caller.value for operation in function.operations}),
        "operations": [_operation(operation) for operation in function.operations],
        "memory_mb": function.memory_mb,
        "cpu": function.cpu,
        "concurrency": function.concurrency,
        "timeout_seconds": function.timeout_seconds,
        "min_instances": function.min_instances,
        "environment": {
            "required": [variable.name for variable in read if variable.required and not variable.secret],
            "optional": [variable.name for variable in read if not variable.required and not variable.secret],
        },
        "secrets": sorted(function.secrets),
        "roles": sorted(function.roles),
        "server_calls": sorted(function.server_calls),
    }


def _operation(operation: Operation) -> dict[str, Any]:
    rate = operation.rate
    return {
        "method": operation.method,
        "caller": operation.caller.value,
        "idempotency": operation.idempotency,
        "streams": operation.streams,
        "rate": {"per_minute": rate.per_minute, "burst": rate.burst} if rate else None,
        "fleet": [{"name": cost.name, "cost": cost.cost} for cost in operation.fleet],
        "max_body_bytes": operation.max_body_bytes,
        "queue": operation.queue.name if operation.queue else None,
        "schedule": job_of(operation) if operation.schedule else None,
    }
