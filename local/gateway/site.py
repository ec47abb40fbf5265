"""The page of the product and the documents of its interface, with headers fit for a page that hears and speaks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.places import REPOSITORY
from shared.http.declaration import Function

WEB = REPOSITORY / "web"
SWAGGER = REPOSITORY / "local" / "node_modules" / "swagger-ui-dist"

PAGE_HEADERS: Mapping[str, str] = {
    # blob: for audio that the page assembles from pieces and for worklets; nothing comes from another origin.
    "content-security-policy": "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "worker-src 'self' blob:",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "permissions-policy": "microphone=(self), autoplay=(self), camera=(), geolocation=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}

# Swagger UI draws with inline styles and data: icons.
_DOCS_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

_DOCS_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Oprina: the interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>The document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_DOCS_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: false, validatorUrl: null
});
"""

_DOCS_FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


class WithHeaders:
    """Adds headers to every answer that does not carry them already."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


def document_routes(document: Callable[[], dict[str, Any]]) -> list[Route]:
    """`/openapi.json` and a page to read it, without anything from the network."""

    async def openapi(_: Request) -> Response:
        return JSONResponse(document(), headers={"cache-control": "no-cache"})

    async def docs(_: Request) -> Response:
        return HTMLResponse(_DOCS_PAGE, headers={"content-security-policy": _DOCS_POLICY})

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name == "start.js":
            return PlainTextResponse(_DOCS_START, media_type="text/javascript")
        return _swagger_file(name)

    return [
        Route("/openapi.json", openapi),
        Route("/docs", docs),
        Route("/docs/{name}", asset),
    ]


def _swagger_file(name: str) -> Response:
    file = SWAGGER / name
    if name not in _DOCS_FILES or not file.is_file():
        return PlainTextResponse("There is no such file.", 404)
    return Response(file.read_bytes(), media_type=_DOCS_FILES[name])


def page_route(web: Path = WEB) -> Mount | Route:
    """The folder of the page at `/`."""
    if (web / "index.html").is_file():
        return Mount("/", StaticFiles(directory=web, html=True))

    async def no_page(_: Request) -> Response:
        return PlainTextResponse("This checkout has no page. The interface is described at /docs.")

    return Route("/", no_page)


def described_by(functions: Sequence[Function]) -> Callable[[], dict[str, Any]]:
    """The OpenAPI document of these functions, made at the first look."""

    @functools.cache
    def described() -> dict[str, Any]:
        from infra.catalogue.openapi import document

        return document(REPOSITORY, functions)

    return described
