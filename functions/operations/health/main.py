"""GET /v1/health: whether the product can serve, and which part of it cannot."""

from __future__ import annotations

from fastapi import Response

from shared.clients.agent_runtime import AgentSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.declaration import Caller, Function
from shared.operations import health as dependencies
from shared.operations.models import Health

function = Function(
    name="operations-health",
    path="/v1/health",
    settings=(DatabaseSettings, ServerSettings, AgentSettings),
    server_calls=("ping",),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY"),
    timeout_seconds=10,
)


@function.get(
    "Whether the product can serve",
    caller=Caller.EVERYONE,
    responses={503: {"model": Health, "description": "It cannot: the part that is away says why."}},
)
async def health(response: Response) -> Health:
    found = await dependencies.health()
    if found.parts["database"].status != "ok":
        response.status_code = 503
    return found


main = function.entry_point()
