"""Agent Runtime (formerly Vertex AI Agent Engine) over REST.

Wire format: `POST {endpoint}/v1/{resource}:streamQuery?alt=sse` with `{"class_method", "input"}`; the answer is one ADK
event as JSON for each line, with or without a `data: ` prefix. Importing Google's SDK for it costs 8 to 13 seconds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from google.auth.exceptions import GoogleAuthError

from shared.clients import google_auth
from shared.clients.connections import Connections
from shared.runtime import telemetry
from shared.runtime.errors import OprinaError, Unavailable, UpstreamFailed, UpstreamTimeout
from shared.runtime.settings import Settings, load

_TIMEOUT = httpx.Timeout(60.0, connect=3.0, read=45.0)

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()


class AgentSettings(Settings):
    """`agent_resource` is `projects/P/locations/L/reasoningEngines/ID`, as the deploy tool prints it."""

    agent_endpoint: str
    agent_resource: str


def _pool() -> httpx.AsyncClient:
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = httpx.AsyncClient(timeout=_TIMEOUT, transport=Connections())
        _pools[loop] = pool
    return pool


async def _headers(endpoint: str) -> dict[str, str]:
    try:
        headers = await google_auth.bearer(endpoint)
    except GoogleAuthError as error:
        raise Unavailable("The assistant cannot be reached: no credentials.", code="agent_unavailable") from error
    trace = telemetry.current()
    if trace is not None:
        headers["traceparent"] = trace.traceparent
    return headers


def _address(settings: AgentSettings) -> str:
    return f"{settings.agent_endpoint.rstrip('/')}/v1/{settings.agent_resource}"


async def check() -> None:
    """Ask for the agent's resource.

    Raises:
        Unavailable: it is away or not ready; the sentence says why as far as it is known.
    """
    settings = load(AgentSettings)
    try:
        answer = await _pool().get(_address(settings), headers=await _headers(settings.agent_endpoint))
    except httpx.HTTPError as error:
        raise Unavailable("The assistant does not answer.", code="agent_unavailable") from error
    if answer.status_code != 200:
        raise _refused(answer.status_code, answer.content)


async def stream_query(arguments: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    """Run one query of the deployed AdkApp and yield its events as they come.

    Raises:
        Unavailable: away, not ready, or its quota is used up (`capacity`).
        UpstreamFailed: it broke off (`agent_failed`).
        UpstreamTimeout: nothing came for 45 s.
    """
    settings = load(AgentSettings)
    body = {"class_method": "async_stream_query", "input": dict(arguments)}
    headers = await _headers(settings.agent_endpoint)
    try:
        async with _pool().stream(
            "POST", _address(settings) + ":streamQuery?alt=sse", json=body, headers=headers
        ) as answer:
            if answer.status_code != 200:
                raise _refused(answer.status_code, await answer.aread())
            async for line in answer.aiter_lines():
                event = _event(line)
                if event is not None:
                    yield event
    except httpx.TimeoutException as error:
        raise UpstreamTimeout("The assistant took too long to answer.", code="agent_timeout") from error
    except httpx.ConnectError as error:
        raise Unavailable("The assistant does not answer.", code="agent_unavailable") from error
    except httpx.HTTPError as error:
        raise UpstreamFailed("The assistant broke off.", code="agent_failed") from error


def _event(line: str) -> dict[str, Any] | None:
    text = line.removeprefix("data:").strip()
    if not text or text.startswith(":"):
        return None
    try:
        event = json.loads(text)
    except ValueError as error:
        raise UpstreamFailed("The assistant broke off.", code="agent_failed") from error
    if not isinstance(event, dict):
        raise UpstreamFailed("The assistant answered in a form we do not know.", code="agent_failed")
    problem = event.get("error")
    if isinstance(problem, dict):
        raise _refused(int(problem.get("code", 500)), text.encode())
    if event.get("error_code"):
        raise UpstreamFailed("The assistant could not finish its answer.", code="agent_failed")
    return event


def _refused(status: int, body: bytes) -> OprinaError:
    if status == 429:
        return Unavailable(
            "Too many people are talking just now. Try again shortly.",
            code="capacity",
            retry_after_seconds=5,
        )
    if status == 503:
        return Unavailable(
            _said(body) or "The assistant is not ready.", code="agent_unavailable", retry_after_seconds=5
        )
    return UpstreamFailed("The assistant could not answer.", code="agent_failed")


def _said(body: bytes) -> str | None:
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return None
    return message if isinstance(message, str) else None
