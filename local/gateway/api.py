"""The API's front door: routes by the declarations, checks tokens, rewrites headers, and forwards within limits."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from local.gateway.passage import Forwarder, refused_size
from local.gateway.routing import Match, RouteTable
from local.gateway.tokens import TokenCheck, user_info
from shared.http import problems
from shared.http.declaration import BACKGROUND_CALLERS, Caller
from shared.http.exchange import begin_exchange
from shared.http.settings import HttpSettings
from shared.runtime.errors import MethodNotAllowed, NotFound, OprinaError
from shared.runtime.settings import load

_WITH_TOKEN = frozenset({Caller.PERSON, Caller.ADMINISTRATOR})
_FORWARDED = "x-forwarded-authorization"
_USER_INFO = "x-apigateway-api-userinfo"


class ApiGateway:
    """An ASGI application over all functions. `upstreams` holds each function's application by its name."""

    def __init__(self, table: RouteTable, upstreams: Mapping[str, ASGIApp], tokens: TokenCheck) -> None:
        self._table = table
        self._upstreams = upstreams
        self._tokens = tokens
        self._forwarder = Forwarder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def refuse(error: OprinaError) -> None:
            await refusal(error)(scope, receive, send)

        try:
            match, forwarded = await self._admit(scope)
        except OprinaError as error:
            await refuse(error)
            return
        app = self._upstreams[match.function.name]
        await self._forwarder.forward(app, forwarded, receive, send, match.function.timeout_seconds, refuse)

    async def _admit(self, scope: Scope) -> tuple[Match, Scope]:
        if (too_large := refused_size(scope)) is not None:
            raise too_large
        match = self._table.find(scope["path"])
        if match is None:
            raise NotFound("There is nothing at this address.")
        headers = Headers(scope=scope)
        operation = match.operations.get(scope["method"])
        if operation is not None and operation.caller in BACKGROUND_CALLERS:
            # A path may hold such an operation beside others; to the gateway's callers there is none.
            raise NotFound("There is nothing at this address.")
        if operation is None:
            if _is_preflight(scope["method"], headers):
                return match, _forwarded_scope(scope, headers, None)
            raise MethodNotAllowed(f"This address takes {match.allowed}.", extra={"allow": match.allowed})
        claims = None
        if operation.caller in _WITH_TOKEN:
            claims = user_info(await self._tokens.claims(headers.get("authorization", "")))
        return match, _forwarded_scope(scope, headers, claims)


def _is_preflight(method: str, headers: Headers) -> bool:
    return method == "OPTIONS" and "access-control-request-method" in headers and "origin" in headers


def _forwarded_scope(scope: Scope, headers: Headers, claims: str | None) -> Scope:
    """The scope as a function sees it behind the gateway.

    The gateway puts its own identity into Authorization and the caller's into X-Forwarded-Authorization. On a laptop
    it has no identity to give, so Authorization is left out.
    """
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in {b"authorization", _FORWARDED.encode()} and not name.startswith(b"x-apigateway-")
    ]
    forwarded: Scope = {**scope, "headers": kept}
    new = MutableHeaders(scope=forwarded)
    if "authorization" in headers:
        new[_FORWARDED] = headers["authorization"]
    if claims is not None:
        new[_USER_INFO] = claims
    client = scope["client"][0] if scope.get("client") else "127.0.0.1"
    before = ", ".join(headers.getlist("x-forwarded-for"))
    new["x-forwarded-for"] = f"{before}, {client}" if before else client
    new["x-forwarded-proto"] = scope.get("scheme", "http")
    new["x-forwarded-host"] = headers.get("host", "")
    forwarded["headers"] = new.raw
    return forwarded


def refusal(error: OprinaError) -> ASGIApp:
    """A problem document, readable by pages of the allowed origins like the functions' own."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = begin_exchange(scope, None)
        response = problems.answer(Request(scope), error)
        response.headers["X-Request-Id"] = exchange.trace.request_id
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        await response(scope, receive, send)

    return CORSMiddleware(answer, allow_origins=load(HttpSettings).origins, expose_headers=["X-Request-Id"])
