"""What one declaration must agree with itself and with the others about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from infra.catalogue import triggers
from infra.catalogue.manifest import variables
from infra.catalogue.rooms import room_of
from shared.clients.database import ServerSettings
from shared.http.declaration import Caller, Function

# A function's name is also its Cloud Run service's: https://cloud.google.com/run/docs/deploying#service-names
_SERVICE_NAME = re.compile(r"^[a-z]([-a-z0-9]{0,47}[a-z0-9])?$")
_PARAMETER = re.compile(r"\{[^}]*\}")
_COUNTED = {Caller.PERSON, Caller.ADMINISTRATOR}
_MAX_TIMEOUT_SECONDS = 3600
_MAX_BODY_BYTES = 32 * 1024 * 1024


def template(path: str) -> str:
    """A path with its parameters' names taken out: two paths with the same template meet the same requests."""
    return _PARAMETER.sub("{}", path)


def contradictions(functions: Sequence[Function]) -> list[str]:
    """A sentence for each contradiction, naming the function; empty when there is none."""
    found = [f"{function.name}: {reason}" for function in functions for reason in _own(function)]
    found += _repeated("name", [function.name for function in functions])
    found += _repeated("path template", [template(function.path) for function in functions])
    found += triggers.shared_names(functions)
    return found


def _repeated(what: str, values: Sequence[str]) -> list[str]:
    return [f"the {what} {value} is declared {count} times" for value, count in Counter(values).items() if count > 1]


def _own(function: Function) -> Iterator[str]:
    yield from _naming(function)
    yield from _limits(function)
    yield from _secrets(function)
    yield from _operations(function)
    yield from triggers.contradictions(function)


def _naming(function: Function) -> Iterator[str]:
    folder = function.source.parts[-2]
    expected = f"{room_of(function)}-{folder}".replace("_", "-")
    if function.name != expected:
        yield f"its folder says that its name is {expected}"
    if not _SERVICE_NAME.match(function.name):
        yield "its name cannot be a service's name: lower-case letters, digits and hyphens, at most 49"
    if not (folder.isidentifier() and room_of(function).isidentifier()):
        yield "its folders' names must be Python identifiers, or the import rules cannot see inside"


def _limits(function: Function) -> Iterator[str]:
    if function.concurrency > 1 and function.cpu < 1:
        yield "the platform allows concurrency only with a whole processor"
    if not 1 <= function.timeout_seconds <= _MAX_TIMEOUT_SECONDS:
        yield f"its timeout must lie between 1 and {_MAX_TIMEOUT_SECONDS} s"
    for operation in function.operations:
        if not 0 <= operation.max_body_bytes <= _MAX_BODY_BYTES:
            yield f"{operation.route} takes more than the platform's {_MAX_BODY_BYTES} bytes"


def _secrets(function: Function) -> Iterator[str]:
    secret = {variable.name for variable in variables(function) if variable.secret}
    listed = set(function.secrets)
    for name in sorted(secret - listed):
        yield f"it reads the secret {name} and does not list it in `secrets`"
    for name in sorted(listed - secret):
        yield f"it lists the secret {name} and none of its `settings` reads it as one"
    holds_server_key = ServerSettings in function.settings
    if holds_server_key != bool(function.server_calls):
        yield "the server key and `server_calls` go together: it has one without the other"


def _operations(function: Function) -> Iterator[str]:
    if not function.operations:
        yield "it declares no operation"
    yield from _repeated("method", [operation.method for operation in function.operations])
    for operation in function.operations:
        if operation.path != function.path:
            yield f"{operation.route} is not at the function's own path {function.path}"
        if operation.idempotency != "none" and operation.method != "POST":
            yield f"{operation.route} takes an idempotency key, which only a POST does"
        if operation.caller in _COUNTED and operation.rate is None:
            yield f"{operation.route} has no rate: a person's requests are counted where they take from one"
