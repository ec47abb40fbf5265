"""Agent Runtime's REST interface (aiplatform.googleapis.com, v1 and v1beta1), as far as the product uses it.

GET    {name}                        the resource
POST   {name}:streamQuery?alt=sse    {"classMethod", "input"} → one JSON event on each line
POST   {name}:query                  {"classMethod", "input"} → {"output"}
GET POST {parent}/reasoningEngines · PATCH DELETE {name} · GET {name}/operations/{operation}
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from google.protobuf.json_format import MessageToDict
from pydantic import ValidationError

from agent.interface import Query
from local import pace
from local.agent_runtime.assistant import Event, LocalAssistant, State
from local.agent_runtime.engines import Engines
from local.agent_runtime.errors import GoogleError
from local.faults import EVERY_METHOD, NO_FAULT, Fault, FaultBook
from local.quotas import Quotas
from local.refusals import Refusal

_LOG = logging.getLogger(__name__)
_ENGINES = "/{version}/projects/{project}/locations/{location}/reasoningEngines"
_ENGINE = _ENGINES + "/{engine}"
_EVENTS_BEFORE_A_LATE_FAULT = 3


class BrokenOff(Exception):
    """The connection ends in the middle of an answer, because a fault asked for it."""


class AgentRuntime:
    """What the routes share: the assistant, the resources, the quota and the faults."""

    def __init__(self, assistant: LocalAssistant, engines: Engines, quotas: Quotas, faults: FaultBook) -> None:
        self.assistant = assistant
        self.engines = engines
        self.quotas = quotas
        self.faults = faults

    async def stream_query(self, name: str, request: Request) -> Response:
        fault = self.faults.for_call("agent", "streamQuery")
        await _suffer(fault)
        pace.note_arrival()
        self._take("streamQuery")
        method, given = await _called(request)
        self._require_method(name, method, ("async_stream", "stream"))
        query = _query(given)
        events = self._events(query, self._late_fault())
        # The first event decides whether the answer is an error status or the beginning of a stream.
        first = await _first(events)
        if fault.lose_answer:
            await events.aclose()
            return StreamingResponse(_Lost(), media_type="application/json")
        return StreamingResponse(_lines(first, events), media_type="application/json")

    async def query(self, name: str, request: Request) -> Response:
        await _suffer(self.faults.for_call("agent", "query"))
        self._take("query")
        method, _ = await _called(request)
        self._require_method(name, method, ("", "async"))
        raise GoogleError(501, f"{method} is not served by the local Agent Runtime.")

    def _take(self, method: str) -> None:
        try:
            self.quotas.take(method)
        except Refusal as refused:
            raise GoogleError(429, refused.sentence, [_detail(one) for one in refused.details]) from None

    def _late_fault(self) -> Fault:
        """What goes wrong after a few events; only where it is asked for by name, not by "*"."""
        fault = self.faults.for_call("agent", "streamQuery.after")
        return NO_FAULT if fault is self.faults.for_call("agent", EVERY_METHOD) else fault

    def _require_method(self, name: str, method: str, modes: tuple[str, ...]) -> None:
        offered = self.engines.get(name).get("spec", {}).get("classMethods", [])
        if not any(one.get("name") == method and one.get("api_mode", "") in modes for one in offered):
            names = ", ".join(one.get("name", "") for one in offered if one.get("api_mode", "") in modes) or "none"
            raise GoogleError(400, f"Invalid class method: {method}. This operation offers: {names}.")

    async def _events(self, query: Query, fault: Fault) -> AsyncGenerator[Event, None]:
        sent = 0
        async with aclosing(self.assistant.answer(query)) as events:
            async for event in events:
                if sent == _EVENTS_BEFORE_A_LATE_FAULT and fault.lose_answer:
                    raise BrokenOff
                if sent == _EVENTS_BEFORE_A_LATE_FAULT:
                    await _suffer(fault)
                yield event
                sent += 1


def create_application(runtime: AgentRuntime) -> FastAPI:
    app = FastAPI(title="Agent Runtime (local)", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(GoogleError)
    async def _refused(_: Request, error: GoogleError) -> Response:
        return error.response()

    @app.get("/healthz")
    async def _health() -> dict[str, str]:
        assistant = runtime.assistant
        return {"model": assistant.model_name, "state": assistant.state, "detail": assistant.detail}

    @app.post(_ENGINE + ":streamQuery")
    async def _stream_query(request: Request) -> Response:
        return await runtime.stream_query(_name(request), request)

    @app.post(_ENGINE + ":query")
    async def _query_once(request: Request) -> Response:
        return await runtime.query(_name(request), request)

    _add_resource_routes(app, runtime)
    return app


def _add_resource_routes(app: FastAPI, runtime: AgentRuntime) -> None:
    @app.get(_ENGINE)
    async def _get(request: Request) -> Response:
        await _suffer(runtime.faults.for_call("agent", "get"))
        state = "ACTIVE" if runtime.assistant.state is State.READY else "STARTING"
        return JSONResponse({**runtime.engines.get(_name(request)), "state": state})

    @app.get(_ENGINES)
    async def _list(request: Request) -> Response:
        return JSONResponse({"reasoningEngines": runtime.engines.list(_parent(request))})

    @app.post(_ENGINES)
    async def _create(request: Request) -> Response:
        return JSONResponse(runtime.engines.create(_parent(request), await _object(request)))

    @app.patch(_ENGINE)
    async def _update(request: Request) -> Response:
        return JSONResponse(runtime.engines.update(_name(request), await _object(request)))

    @app.delete(_ENGINE)
    async def _delete(request: Request) -> Response:
        return JSONResponse(runtime.engines.delete(_name(request)))

    @app.get(_ENGINE + "/operations/{operation}")
    async def _operation(request: Request) -> Response:
        name = f"{_name(request)}/operations/{request.path_params['operation']}"
        return JSONResponse(runtime.engines.operation(name))


def _parent(request: Request) -> str:
    path = request.path_params
    if path["version"] not in {"v1", "v1beta1"}:
        raise GoogleError(404, f"There is no version {path['version']}.")
    return f"projects/{path['project']}/locations/{path['location']}"


def _name(request: Request) -> str:
    return f"{_parent(request)}/reasoningEngines/{request.path_params['engine']}"


async def _object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise GoogleError(400, "Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise GoogleError(400, "Invalid JSON payload received. An object is expected.")
    return body


async def _called(request: Request) -> tuple[str, dict[str, Any]]:
    """The class method and its input; Google's JSON accepts both spellings of a field."""
    body = await _object(request)
    method = body.get("classMethod", body.get("class_method"))
    given = body.get("input", {})
    if not isinstance(method, str) or not isinstance(given, dict):
        raise GoogleError(400, "classMethod must be a string and input an object.")
    return method, given


def _query(given: dict[str, Any]) -> Query:
    # ADK is imported by the time a model is there; before that nothing is asked of it.
    from google.adk.agents import RunConfig
    from google.adk.events.event import Event
    from google.genai import types

    try:
        query = Query.model_validate(given)
        for event in query.session_events:
            Event.model_validate(event)
        RunConfig.model_validate(query.run_config or {})
        if isinstance(query.message, dict):
            types.Content.model_validate(query.message)
    except ValidationError as wrong:
        where = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong.errors())
        raise GoogleError(400, f"Invalid input: {where}") from None
    return query


async def _first(events: AsyncGenerator[Event, None]) -> Event | None:
    try:
        return await anext(events)
    except StopAsyncIteration:
        return None
    except (GoogleError, BrokenOff):
        raise
    except Exception as error:
        raise _as_google(error) from error


async def _lines(first: Event | None, events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    """One JSON document on each line; a failure on the way is the last of them."""
    async with aclosing(events):
        try:
            if first is not None:
                yield _line(first)
            async for event in events:
                yield _line(event)
        except BrokenOff:
            raise
        except GoogleError as error:
            yield _line(error.body())
        except Exception as error:
            yield _line(_as_google(error).body())


def _as_google(error: Exception) -> GoogleError:
    code = getattr(error, "status", 500)
    if code == 500:
        _LOG.error("the turn failed", exc_info=error)
    return GoogleError(code if isinstance(code, int) else 500, f"Agent failed: {type(error).__name__}: {error}")


def _detail(message: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/{message.DESCRIPTOR.full_name}", **MessageToDict(message)}


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class _Lost:
    """An answer of which nothing arrives."""

    def __aiter__(self) -> _Lost:
        return self

    async def __anext__(self) -> bytes:
        raise BrokenOff


async def _suffer(fault: Fault) -> None:
    """Be as slow, or fail as often, as the fault says."""
    if fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1000)
    if fault.should_fail():
        raise GoogleError(fault.http_status, fault.says or "The local cloud was told to fail here.")
