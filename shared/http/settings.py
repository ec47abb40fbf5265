"""What the endpoint kit reads from the environment."""

from __future__ import annotations

from shared.runtime.settings import Settings


class HttpSettings(Settings):
    """`allowed_origins`: comma-separated origins for CORS. `trusted_hops`: how many proxies of ours append to
    X-Forwarded-For, so that the client's address is the one that many places from the right."""

    allowed_origins: str = ""
    trusted_hops: int = 1

    @property
    def origins(self) -> list[str]:
        return [origin.strip() for origin in self.allowed_origins.split(",") if origin.strip()]


class TokenSettings(Settings):
    """How access tokens are checked: issuer and audience to demand, and where the issuer's public keys are."""

    token_issuer: str
    token_audience: str = "authenticated"  # noqa: S105 - an audience, no secret
    jwks_url: str
