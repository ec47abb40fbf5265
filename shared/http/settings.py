"""What the endpoint kit reads from the environment."""

from __future__ import annotations

from shared.runtime.services import ServiceSettings
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


class GoogleTokenSettings(Settings):
    """Where Google publishes the keys of its tokens, and whether only callers that the platform has checked get here.

    `platform_checks_callers` belongs to services without public invokers, and to no others.
    """

    google_certs_url: str = "https://www.googleapis.com/oauth2/v3/certs"
    platform_checks_callers: bool = False


class QueueSettings(Settings):
    """The service account whose tokens the queue attaches."""

    tasks_service_account: str


class SchedulerSettings(Settings):
    """The service account whose tokens the scheduler attaches."""

    scheduler_service_account: str


QUEUE_SETTINGS: tuple[type[Settings], ...] = (ServiceSettings, GoogleTokenSettings, QueueSettings)
SCHEDULER_SETTINGS: tuple[type[Settings], ...] = (ServiceSettings, GoogleTokenSettings, SchedulerSettings)
