"""GET /.well-known/openid-configuration: who issues our access tokens, byte for byte as published."""

from __future__ import annotations

from fastapi import Response

from shared.accounts import service
from shared.http.declaration import Caller, Function

function = Function(
    name="accounts-openid",
    path="/.well-known/openid-configuration",
    settings=(service.PublicDocumentSettings,),
    timeout_seconds=10,
)


@function.get("Where verifiers find our keys", caller=Caller.EVERYONE, response_class=Response)
async def openid_configuration() -> Response:
    return Response(
        await service.openid_configuration(),
        media_type="application/json",
        headers={"Cache-Control": "public, max-age=300"},
    )


main = function.entry_point()
