"""Everything that listens on the one port of the local cloud, put together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from local.gateway.api import ApiGateway
from local.gateway.console import console
from local.gateway.routing import RouteTable
from local.gateway.services import Services
from local.gateway.site import PAGE_HEADERS, WithHeaders, described_by, document_routes, page_route
from local.gateway.tokens import TokenCheck
from local.gateway.upstreams import FunctionProcess, in_process
from local.launcher.environment import FUNCTION_PORTS
from local.places import Places
from local.serving import http_server
from shared.http.declaration import Function
from shared.http.settings import TokenSettings
from shared.runtime.settings import load

API_PREFIXES = ("/v1/", "/.well-known/", "/tasks/", "/schedules/")


def upstreams(functions: Sequence[Function], environment: Mapping[str, str] = os.environ) -> dict[str, ASGIApp]:
    """Each function's application: a process where the environment names its port, else this process."""
    ports: dict[str, int] = json.loads(environment.get(FUNCTION_PORTS) or "{}")
    return {
        function.name: FunctionProcess(ports[function.name]) if function.name in ports else in_process(function)
        for function in functions
    }


def build(
    places: Places,
    functions: Sequence[Function],
    apps: Mapping[str, ASGIApp],
    tokens: TokenSettings | None = None,
) -> ASGIApp:
    """The gateway's application: the API, the console, the documents, the page.

    Where it has a lifespan, the functions are served at their own addresses too.
    """
    public = [function for function in functions if function.public]
    api = ApiGateway(RouteTable(public), apps, TokenCheck(tokens or load(TokenSettings)))
    return _Front(api, _local_site(places, functions, Services(functions, apps)))


class _Front:
    """Sends what belongs to the API there, before any framework touches it."""

    def __init__(self, api: ASGIApp, site: ASGIApp) -> None:
        self._api = api
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] == "http" and scope["path"].startswith(API_PREFIXES)
        await (self._api if is_api else self._site)(scope, receive, send)


def _local_site(places: Places, functions: Sequence[Function], services: ASGIApp) -> ASGIApp:
    @contextlib.asynccontextmanager
    async def with_services(_: Starlette) -> AsyncIterator[None]:
        server = http_server(services, places.services_port)
        serving = asyncio.create_task(server.serve(), name="services")
        yield
        server.should_exit = True
        await serving

    pages: list[BaseRoute] = [*document_routes(described_by(functions)), page_route()]
    routes: list[BaseRoute] = [console(places), Mount("/", WithHeaders(_routed(pages), PAGE_HEADERS))]
    return Starlette(routes=routes, lifespan=with_services)


def _routed(routes: list[BaseRoute]) -> ASGIApp:
    return Starlette(routes=routes)
