"""GET /.well-known/jwks.json: the public keys that check our access tokens, byte for byte as published."""

from __future__ import annotations

from fastapi import Response

from shared.accounts import service
from shared.http.declaration import Caller, Function

function = Function(
    name="accounts-jwks",
    path="/.well-known/jwks.json",
    settings=(service.PublicDocumentSettings,),
    timeout_seconds=10,
)


@function.get("The public keys of our access tokens", caller=Caller.EVERYONE, response_class=Response)
async def jwks() -> Response:
    return Response(
        await service.jwks(), media_type="application/json", headers={"Cache-Control": "public, max-age=300"}
    )


main = function.entry_point()
