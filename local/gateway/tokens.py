"""What API Gateway checks of an access token before a function is called."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import jwt

from shared.clients.jwks import KeysUnavailable, UnknownKey, signing_key
from shared.http.settings import TokenSettings
from shared.runtime.errors import Unauthenticated, Unavailable

# As documented for API Gateway: https://cloud.google.com/api-gateway/docs/authenticating-users-jwt
_REQUIRED = ["iss", "sub", "aud", "iat", "exp"]


@dataclass(frozen=True)
class TokenCheck:
    """Issuer, audience and keys as the gateway's description names them."""

    settings: TokenSettings

    async def claims(self, authorization: str) -> dict[str, Any]:
        """The claims of the bearer token in an Authorization header.

        Raises:
            Unauthenticated: no token, or one that is not valid here (`token_missing`, `token_expired`,
                `token_invalid`).
            Unavailable: the keys cannot be read.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated(
                "Sign in and send the access token as `Authorization: Bearer …`.", code="token_missing"
            )
        try:
            return await self._decoded(token.strip())
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The access token has expired. Refresh it.", code="token_expired") from None
        except KeysUnavailable:
            raise Unavailable("Tokens cannot be checked just now. Try again.", code="keys_unavailable") from None
        except (jwt.PyJWTError, UnknownKey):
            raise Unauthenticated("The access token is not valid here. Sign in again.") from None

    async def _decoded(self, token: str) -> dict[str, Any]:
        key = await signing_key(self.settings.jwks_url, token)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["ES256"],
            audience=self.settings.token_audience,
            issuer=self.settings.token_issuer,
            options={"require": _REQUIRED},
        )
        return claims


def user_info(claims: dict[str, Any]) -> str:
    """The value of X-Apigateway-Api-Userinfo: the claims as base64url JSON without padding."""
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
