"""The functions at their own addresses, where the queue and the scheduler reach them: `/{service}/{path}`.

In the cloud they call `https://SERVICE-PROJECTNUMBER.REGION.run.app`, past API Gateway. Here that is a port of its own
and not the gateway's: what is public stays apart from what is not, so that the gateway's port can be given to others,
and each function keeps a root of its own for its tokens. Only operations for the queue and the scheduler are served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from local.gateway.api import refusal
from local.gateway.passage import Forwarder, refused_size
from local.gateway.routing import RouteTable
from shared.http.declaration import BACKGROUND_CALLERS, Function
from shared.runtime.errors import MethodNotAllowed, NotFound, OprinaError


class Services:
    """An ASGI application over the functions that the queue and the scheduler call."""

    def __init__(self, functions: Sequence[Function], apps: Mapping[str, ASGIApp]) -> None:
        self._apps = apps
        self._tables = {function.name: RouteTable([function]) for function in functions}
        self._forwarder = Forwarder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def refuse(error: OprinaError) -> None:
            await refusal(error)(scope, receive, send)

        try:
            service, timeout_seconds, forwarded = self._admit(scope)
        except OprinaError as error:
            await refuse(error)
            return
        await self._forwarder.forward(self._apps[service], forwarded, receive, send, timeout_seconds, refuse)

    def _admit(self, scope: Scope) -> tuple[str, float, Scope]:
        if (too_large := refused_size(scope)) is not None:
            raise too_large
        service, _, rest = scope["path"].removeprefix("/").partition("/")
        table = self._tables.get(service)
        match = table.find(f"/{rest}") if table is not None else None
        if match is None:
            raise NotFound("There is nothing at this address.")
        served = {
            method: operation
            for method, operation in match.operations.items()
            if operation.caller in BACKGROUND_CALLERS
        }
        if not served:
            raise NotFound("There is nothing at this address.")
        if scope["method"] not in served:
            allowed = ", ".join(sorted(served))
            raise MethodNotAllowed(f"This address takes {allowed}.", extra={"allow": allowed})
        raw = scope["raw_path"].removeprefix(f"/{service}".encode())
        return service, match.function.timeout_seconds, {**scope, "path": f"/{rest}", "raw_path": raw}
