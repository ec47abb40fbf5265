"""Who may use the console: only this machine, and never another site's page."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_NAMES = ("127.0.0.1", "localhost", "[::1]")


class LocalOnly:
    """Refuses requests that did not begin on this machine at our own address.

    A page of another site can make a browser call us, and can even have its own name resolve to 127.0.0.1. So the Host
    must be one of ours (against rebinding), and what a browser says of where a request began must be here, or nowhere.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = frozenset(f"{name}:{port}" for name in _NAMES)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(Headers(scope=scope), scope["method"])
        if reason is not None:
            await PlainTextResponse(reason, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers, method: str) -> str | None:
        if headers.get("host", "") not in self._hosts:
            return "The console is only served at the address of this machine."
        if headers.get("origin") is not None and headers["origin"] not in self._origins:
            return "The console takes no requests from other sites."
        followed_link = method == "GET" and headers.get("sec-fetch-dest") == "document"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not followed_link:
            return "The console takes no requests from other sites."
        return None
