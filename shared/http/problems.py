"""Errors as RFC 9457 problem documents. Nothing internal leaks: only what the tree of errors was given to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.http.exchange import exchange_of
from shared.runtime.errors import (
    BadRequest,
    FieldError,
    NotFound,
    OprinaError,
    TooLarge,
    Unauthenticated,
    Unprocessable,
    UnsupportedMedia,
    error_for_status,
)
from shared.runtime.problem import MEDIA_TYPE, in_order, problem_document
from shared.runtime.visit import Replay

# A caller chooses the names of unknown fields, and how many there are. The answer stays small all the same.
_MOST_FIELDS, _LONGEST_FIELD = 20, 200

# What pydantic calls a body that was handed to it as bytes, since nobody said it was JSON.
_NO_OBJECT = frozenset({"model_attributes_type", "model_type", "dict_type"})


def answer(request: Request, error: OprinaError) -> Response:
    """The HTTP answer for an error, with the headers that belong to its status."""
    exchange = exchange_of(request)
    exchange.problem_code = error.code
    headers: dict[str, str] = {}
    retry_after = error.retry_after_seconds or error.extra.get("retry_after_seconds")
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = f'Bearer error="invalid_token", error_description="{error.code}"'
    if "allow" in error.extra:
        headers["Allow"] = str(error.extra["allow"])
    if "limit" in error.extra and exchange.visit.rate is not None:
        headers["RateLimit-Policy"] = f'"route";q={exchange.visit.rate.per_minute};w=60'
        headers["RateLimit"] = f'"route";r=0;t={error.extra.get("reset_seconds", 0)}'
    return JSONResponse(problem_document(error, request.url.path), error.status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Teach an application to answer with problem documents, and to answer replays with the first answer."""
    app.add_exception_handler(OprinaError, _shown(lambda error: error))
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _shown(_from_http))
    app.add_exception_handler(Replay, _replayed)
    # Without this one, Starlette answers in plain text before the kit hears of it.
    app.add_exception_handler(Exception, _shown(lambda _: unforeseen()))


def unforeseen() -> OprinaError:
    """What a caller is told of a defect."""
    return OprinaError("Something went wrong on our side. The request id helps us find it.")


# Handlers are asynchronous although they wait for nothing: the framework runs others in a thread.
def _shown(translate: Callable[[Any], OprinaError]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        return answer(request, translate(error))

    return handle


async def _replayed(request: Request, replay: Exception) -> Response:
    assert isinstance(replay, Replay)
    headers = {"Idempotency-Replayed": "true"}
    model = getattr(request.scope.get("route"), "response_model", None)
    if replay.status < 400 and isinstance(model, type) and issubclass(model, BaseModel):
        # The database keeps the members in an order of its own; the model gives the first answer's bytes again.
        content = model.model_validate(replay.body).model_dump_json()
        return Response(content, replay.status, headers, media_type="application/json")
    if replay.status >= 400:
        return JSONResponse(in_order(replay.body), replay.status, headers, media_type=MEDIA_TYPE)
    return JSONResponse(replay.body, replay.status, headers)


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    misread = any(tuple(item["loc"]) == ("body",) and item["type"] in _NO_OBJECT for item in error.errors())
    if misread and not is_json(request.headers.get("content-type", "")):
        return answer(request, UnsupportedMedia("Send the body as application/json."))
    return answer(request, from_validation(error))


def is_json(content_type: str) -> bool:
    """Whether a Content-Type header says JSON, be it `application/json` or a `+json` of somebody's own."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def from_validation(error: RequestValidationError) -> OprinaError:
    """What a caller is told of fields that were refused."""
    fields = [_field(item) for item in error.errors()[:_MOST_FIELDS]]
    if any(field.code == "json_invalid" for field in fields):
        return BadRequest("The body is not valid JSON.", code="json_invalid", fields=fields)
    names = ", ".join(field.field for field in fields)
    return Unprocessable(f"Some of the request was refused: {names}.", fields=fields)


def _field(item: dict[str, Any]) -> FieldError:
    place: Sequence[Any] = item["loc"]
    path = ".".join(str(part) for part in place[1:])[:_LONGEST_FIELD] or str(place[0])
    return FieldError(path, str(item["type"]), str(item["msg"]))


def _from_http(error: HTTPException) -> OprinaError:
    if error.status_code == 404:
        return NotFound("There is nothing at this address.")
    if error.status_code == 413:
        return TooLarge("The body is larger than this address takes.")
    if error.status_code == 400:
        return BadRequest("The body could not be read.", code="body_unreadable")
    return error_for_status(error.status_code)("The request was refused.")
