"""/v3/webhooks: endpoints, the types of events there are, and the events that were, for who has missed one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.responses import Response

from local.heygen.models import EVENT_TYPES, EndpointChange, NewEndpoint
from local.heygen.paging import Limit, listing, place
from local.heygen.webhooks import Webhooks


def webhook_router(webhooks: Webhooks) -> APIRouter:
    router = APIRouter(prefix="/v3/webhooks")
    api = _Webhooks(webhooks)
    router.add_api_route("/endpoints", api.register, methods=["POST"])
    router.add_api_route("/endpoints", api.endpoints, methods=["GET"])
    router.add_api_route("/endpoints/{endpoint_id}", api.change, methods=["PATCH"])
    router.add_api_route("/endpoints/{endpoint_id}", api.delete, methods=["DELETE"])
    router.add_api_route("/endpoints/{endpoint_id}/rotate-secret", api.rotate, methods=["POST"])
    router.add_api_route("/event-types", api.event_types, methods=["GET"])
    router.add_api_route("/events", api.events, methods=["GET"])
    return router


class _Webhooks:
    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def register(self, asked: NewEndpoint) -> Response:
        return _data(self._webhooks.register(asked))

    async def endpoints(self, limit: Limit = 10, token: str | None = None) -> Response:
        return listing(*self._webhooks.endpoints(limit, place(token) or 0))

    async def change(self, endpoint_id: str, change: EndpointChange) -> Response:
        return _data(self._webhooks.change(endpoint_id, change))

    async def delete(self, endpoint_id: str) -> Response:
        self._webhooks.delete(endpoint_id)
        return _data({"endpoint_id": endpoint_id, "deleted": True})

    async def rotate(self, endpoint_id: str) -> Response:
        return _data(self._webhooks.rotate(endpoint_id))

    async def event_types(self) -> Response:
        return JSONResponse({"data": [{"event_type": name} for name in EVENT_TYPES]})

    async def events(
        self, limit: Limit = 10, token: str | None = None, event_type: str | None = None, entity_id: str | None = None
    ) -> Response:
        return listing(*self._webhooks.events(limit, place(token), event_type, entity_id))


def _data(content: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"data": content})
