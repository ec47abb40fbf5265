"""What an operation can answer: the headers of every answer, event streams, and the problem documents by cause."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.http.declaration import BACKGROUND_CALLERS, Caller, Operation
from shared.runtime.problem import MEDIA_TYPE

EVENTS = "text/event-stream"

SCHEMAS: dict[str, dict[str, Any]] = {
    "Problem": {
        "title": "Problem",
        "description": "A problem document (RFC 9457). Some problems carry further members.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance", "code", "request_id", "retryable"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What happened and what to do, for a person."},
            "instance": {"type": ["string", "null"], "description": "The path of the request."},
            "code": {"type": "string", "description": "A stable word to branch on."},
            "request_id": {"type": ["string", "null"], "description": "What to name when asking for help."},
            "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/ProblemField"}},
        },
    },
    "ProblemField": {
        "title": "ProblemField",
        "description": "One refused field of a request.",
        "type": "object",
        "required": ["field", "code", "detail"],
        "properties": {
            "field": {"type": "string"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
        },
    },
}

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The id of this request, in our logs too.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "The caller's limit on this route: `q` requests in each window of `w` seconds.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "What is left of it: `r` requests at once, and `t` seconds until all of it is back.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Idempotency-Replayed": {
        "description": "`true` when this is the first answer again.",
        "schema": {"type": "string", "const": "true"},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate, and what was wrong with the token (RFC 6750).",
        "schema": {"type": "string"},
    },
}

_REASONS = {
    400: ("BadRequest", "The request cannot be read, or a header that it needs is missing or wrong."),
    401: ("Unauthenticated", "The token is missing, wrong, expired, or its sign-in has ended."),
    403: ("Forbidden", "The caller is known and may not do this."),
    404: ("NotFound", "There is no such thing, or it is somebody else's."),
    409: ("Conflict", "It contradicts what is there, or the same idempotency key is still being served."),
    413: ("TooLarge", "The body is larger than this address takes."),
    415: ("UnsupportedMedia", "The body is of a kind that this address does not take."),
    422: ("Unprocessable", "A field was refused, or the idempotency key was used with another payload."),
    429: ("RateLimited", "The caller's limit on this route is used up."),
    500: ("Internal", "Something went wrong on our side."),
    503: ("Unavailable", "A dependency is away, or a limit of the whole project is used up (`capacity`)."),
}
_STREAM = (
    "With `Accept: text/event-stream`: events of `id`, `event` and one JSON object in `data`, and a comment line at "
    "least every 15 s."
)
_EXTRA_HEADERS = {401: ("WWW-Authenticate",), 409: ("Retry-After",), 429: ("Retry-After",), 503: ("Retry-After",)}
_RATE_HEADERS = ("RateLimit-Policy", "RateLimit")


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem(status: int, reason: str) -> dict[str, Any]:
    limits = _RATE_HEADERS if status == 429 else ()
    return {
        "description": reason,
        "headers": _headers("X-Request-Id", *limits, *_EXTRA_HEADERS.get(status, ())),
        "content": _problem_content(),
    }


def _problem_content() -> dict[str, Any]:
    return {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


PROBLEMS = {name: _problem(status, reason) for status, (name, reason) in _REASONS.items()}


def complete(described: dict[str, Any], operation: Operation, *, needs_dependency: bool) -> None:
    """Add to an operation's responses what the endpoint kit answers beside the handler."""
    responses = described["responses"]
    for status in _possible(described, operation, needs_dependency=needs_dependency):
        known = responses.get(str(status), {})
        if not known.get("content") or _is_framework_default(known):
            responses[str(status)] = _of_kit(status, known)
    for status, response in responses.items():
        if "$ref" in response:
            continue
        if int(status) >= 400 and not response.get("content"):
            response["content"] = _problem_content()
        response["headers"] = _headers(*_answer_headers(operation, int(status))) | response.get("headers", {})
    if operation.streams:
        _stream(responses)
    described["responses"] = dict(sorted(responses.items()))


def _possible(described: dict[str, Any], operation: Operation, *, needs_dependency: bool) -> Iterator[int]:
    keyed = operation.idempotency != "none"
    takes_body = "requestBody" in described
    delivered = operation.caller in BACKGROUND_CALLERS
    conditions = {
        400: takes_body or keyed or delivered or _is_paged(described),
        401: operation.caller is not Caller.EVERYONE,
        403: operation.caller is Caller.ADMINISTRATOR or delivered,
        404: "{" in operation.path,
        409: keyed or delivered,
        413: takes_body,
        415: takes_body,
        422: "422" in described["responses"] or keyed,
        429: operation.rate is not None,
        500: True,
        503: needs_dependency,
    }
    yield from (status for status, possible in conditions.items() if possible)


def _is_paged(described: dict[str, Any]) -> bool:
    """Whether it takes a cursor, which can be one that we did not make."""
    return any(parameter.get("name") == "cursor" for parameter in described.get("parameters", []))


def _is_framework_default(response: dict[str, Any]) -> bool:
    schema = response["content"].get("application/json", {}).get("schema", {})
    return bool(schema.get("$ref", "").endswith("/HTTPValidationError"))


def _of_kit(status: int, known: dict[str, Any]) -> dict[str, Any]:
    name, reason = _REASONS[status]
    own = known.get("description")
    if own is None or _is_framework_default({"content": {}} | known):
        return {"$ref": f"#/components/responses/{name}"}
    # The handler says more exactly why; the rest is the kit's.
    return _problem(status, reason) | {"description": own}


def _answer_headers(operation: Operation, status: int) -> tuple[str, ...]:
    limits = _RATE_HEADERS if operation.rate is not None and status < 400 else ()
    replayed = ("Idempotency-Replayed",) if operation.idempotency != "none" else ()
    return ("X-Request-Id", *limits, *replayed)


def _stream(responses: dict[str, Any]) -> None:
    """Server-sent events beside JSON, unless the handler says itself in what form it streams."""
    succeeding = [response for status, response in responses.items() if status.startswith("2")]
    if any(set(response.get("content", {})) > {"application/json"} for response in succeeding):
        return
    if any("application/json" not in response.get("content", {"application/json": {}}) for response in succeeding):
        return
    # A stream begins with 200, whatever the status of the same answer as one document is.
    streamed = responses.setdefault("200", {"description": _STREAM, "headers": succeeding[0]["headers"]})
    streamed.setdefault("content", {})[EVENTS] = {"schema": {"type": "string", "description": _STREAM}}
