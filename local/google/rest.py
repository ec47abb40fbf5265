"""What Google's REST services have in common: methods with ids, scopes and costs, and errors of one shape.

Error bodies: https://developers.google.com/workspace/gmail/api/guides/handle-errors and
https://developers.google.com/workspace/calendar/api/guides/errors
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, compile_path

from local import http_faults
from local.faults import Fault
from local.google.grants import Grants
from local.google.people import GooglePerson, People
from local.google.quota import Quotas

# Gmail takes mails of 25 MB, which base64 makes longer; its uploads end at 35 MB.
MAX_BODY_BYTES: Final = 50 * 1024 * 1024
_STATUSES: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("global", "badRequest", "INVALID_ARGUMENT"),
    401: ("global", "authError", "UNAUTHENTICATED"),
    403: ("usageLimits", "userRateLimitExceeded", "PERMISSION_DENIED"),
    404: ("global", "notFound", "NOT_FOUND"),
    409: ("global", "duplicate", "ALREADY_EXISTS"),
    410: ("global", "deleted", "NOT_FOUND"),
    412: ("global", "conditionNotMet", "FAILED_PRECONDITION"),
    413: ("global", "uploadTooLarge", "INVALID_ARGUMENT"),
    429: ("usageLimits", "rateLimitExceeded", "RESOURCE_EXHAUSTED"),
    500: ("global", "backendError", "INTERNAL"),
    503: ("global", "backendError", "UNAVAILABLE"),
}
_SENTENCES: Final[Mapping[str, str]] = {
    "userRateLimitExceeded": "User Rate Limit Exceeded",
    "rateLimitExceeded": "Rate Limit Exceeded",
    "backendError": "Backend Error",
    "notFound": "Not Found",
    "authError": "Invalid Credentials",
}


class ApiError(Exception):
    """A refusal in the form of Google's APIs. Without a `reason` the one that the status code usually has."""

    def __init__(self, code: int, message: str = "", reason: str = "", *, location: str = "", status: str = "") -> None:
        domain, usual, standing = _STATUSES.get(code, ("global", "backendError", "UNKNOWN"))
        self.code = code
        self.reason = reason or usual
        self.domain = domain if self.reason in {usual, "rateLimitExceeded"} else "global"
        self.message = message or _SENTENCES.get(self.reason, self.reason)
        self.status = status or standing
        self.location = location
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        item: dict[str, str] = {"message": self.message, "domain": self.domain, "reason": self.reason}
        if self.code == 401:
            item |= {"location": "Authorization", "locationType": "header"}
        elif self.location:
            item |= {"location": self.location, "locationType": "parameter"}
        error: dict[str, Any] = {"code": self.code, "message": self.message, "errors": [item], "status": self.status}
        if self.reason == "insufficientPermissions":
            error["details"] = [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                    "domain": "googleapis.com",
                }
            ]
        return {"error": error}

    def response(self) -> JSONResponse:
        headers = {}
        if self.code == 401:
            headers["www-authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        elif self.reason == "insufficientPermissions":
            headers["www-authenticate"] = 'Bearer realm="https://accounts.google.com/", error="insufficient_scope"'
        return JSONResponse(self.body(), self.code, headers)


def invalid(message: str, reason: str = "invalidArgument", location: str = "") -> ApiError:
    return ApiError(400, message, reason, location=location)


def not_found(message: str = "Requested entity was not found.") -> ApiError:
    return ApiError(404, message)


@dataclass(frozen=True)
class Call:
    """One authorized request. `body` is the JSON document, empty where none came; `raw` the bytes it came in."""

    person: GooglePerson
    scopes: frozenset[str]
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        if not self.raw:
            return {}
        try:
            read = json.loads(self.raw)
        except ValueError:
            raise ApiError(400, "Parse Error", "parseError") from None
        if not isinstance(read, dict):
            raise ApiError(400, "Parse Error", "parseError")
        return read

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean parameter. Raises ApiError, as all of these do."""
        value = self.query.get(name)
        if value is None:
            return default
        if value.lower() not in {"true", "false", "1", "0"}:
            raise invalid(f"Invalid value at '{name}' (TYPE_BOOL), \"{value}\"", location=name)
        return value.lower() in {"true", "1"}

    def number(self, name: str, default: int, highest: int) -> int:
        """A count; a larger one than `highest` is lowered, as Google does."""
        value = self.query.get(name)
        if value is None:
            return default
        if not value.isdecimal() or int(value) == 0:
            raise invalid(f"Invalid value at '{name}' (TYPE_UINT32), \"{value}\"", location=name)
        return min(int(value), highest)


Handler = Callable[[Call], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Method:
    """`id` as Google's discovery document names it; any one of `scopes` opens it; `units` of quota it costs."""

    id: str
    verb: str
    path: str
    handler: Handler
    scopes: frozenset[str]
    units: int = 1


class Api:
    """Serves methods: who calls, what the token opens, what is left of the quota, then the work.

    A handler is a few statements on the stand-in's one connection, on the event loop, in turn.
    """

    def __init__(self, methods: Iterable[Method], people: People, grants: Grants, quotas: Quotas) -> None:
        self._methods = tuple(methods)
        self._people = people
        self._grants = grants
        self._quotas = quotas

    def routes(self) -> list[Route]:
        return [
            Route(method.path, self._served(method), methods=[method.verb], name=method.id) for method in self._methods
        ]

    def _served(self, method: Method) -> Callable[[Request], Any]:
        async def serve(request: Request) -> Response:
            try:
                call = await self._admitted(request, method)
                found = method.handler(call)
            except ApiError as error:
                return error.response()
            if found is None:
                return Response(status_code=204)
            # A mail of 25 MB is a while in the making.
            return await run_in_threadpool(_answer, found)

        return serve

    async def _admitted(self, request: Request, method: Method) -> Call:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = request.query_params.get("access_token", "")
        access = self._grants.access(token)
        person = self._people.of_subject(access.subject) if access else None
        if access is None or person is None:
            raise ApiError(401)
        if not access.scopes & method.scopes:
            sentence = "Request had insufficient authentication scopes."
            raise ApiError(403, sentence, "insufficientPermissions")
        refused = self._quotas.take(method.id, person.subject, method.units)
        if refused:
            raise ApiError(refused)
        raw = await _body(request)
        return Call(person, access.scopes, request.path_params, request.query_params, request.headers, raw)


def _answer(found: Mapping[str, Any]) -> Response:
    etag = found.get("etag")
    return JSONResponse(found, headers={"etag": etag} if isinstance(etag, str) else None)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ApiError(413, "Request is too large.")
        parts.append(part)
    return b"".join(parts)


class MethodNames:
    """Which method of Google's APIs a request calls, by its verb and path."""

    def __init__(self, methods: Sequence[tuple[str, str, str]]) -> None:
        self._known = [(identity, verb, compile_path(path)[0]) for identity, verb, path in methods]

    def of(self, scope: MutableMapping[str, Any]) -> str | None:
        path = scope["path"]
        for identity, verb, pattern in self._known:
            if verb == scope["method"] and pattern.match(path):
                return identity
        return None


def failure(fault: Fault, scope: MutableMapping[str, Any]) -> Response:
    """How a failure that was asked for reads. The accounts have OAuth's form, the interfaces one of their own."""
    if not str(scope["path"]).startswith(("/gmail/", "/upload/gmail/", "/calendar/")):
        return http_faults.failure(fault, scope)
    return JSONResponse(ApiError(fault.http_status, fault.says or "").body(), fault.http_status)
