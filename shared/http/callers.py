"""Callers that are no people: the task queue and the scheduler, each proven by an OIDC token that Google signed.

https://cloud.google.com/tasks/docs/creating-http-target-tasks#token: both put the token into Authorization.
X-Serverless-Authorization is never read: only Cloud Run's own check uses it, and neither of the two sets it.

A service that only invokers may call (Cloud Run's IAM) gets the token after the platform has checked it, with
`SIGNATURE_REMOVED_BY_GOOGLE` in place of the signature (https://cloud.google.com/run/docs/troubleshooting). Such a
token is taken only where the settings say that the platform checks every caller; anywhere else anybody could write one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from fastapi import Depends, Request

from shared.clients.jwks import KeysUnavailable, UnknownKey, signing_key
from shared.http.exchange import exchange_of
from shared.runtime.errors import BadRequest, Forbidden, Unauthenticated, Unavailable
from shared.runtime.services import ServiceSettings, root_of
from shared.runtime.settings import Settings, load

_ISSUERS = ["https://accounts.google.com", "accounts.google.com"]
_REQUIRED_CLAIMS = ["iss", "aud", "sub", "iat", "exp", "email", "email_verified"]
_REMOVED_SIGNATURE = "SIGNATURE_REMOVED_BY_GOOGLE"
_LEEWAY_SECONDS = 5


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


@dataclass(frozen=True)
class Delivery:
    """A task that the queue delivers. `retries` counts the deliveries before this one, answered or not."""

    queue: str
    task: str
    retries: int


@dataclass(frozen=True)
class Tick:
    """One time of a schedule. Every delivery of it, retries and duplicates, has the same `message_id`."""

    job: str
    scheduled_at: str

    @property
    def message_id(self) -> str:
        return f"{self.job}@{self.scheduled_at}"


async def _claims(request: Request) -> dict[str, Any]:
    """The checked claims of the caller's token.

    Raises:
        Unauthenticated: `token_missing`, `token_expired`, `token_invalid`.
        Unavailable: `keys_unavailable`.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("This address is for the queue and the scheduler.", code="token_missing")
    try:
        return await _decoded(token.strip(), root_of(exchange_of(request).service))
    except jwt.ExpiredSignatureError:
        raise Unauthenticated("The token has expired.", code="token_expired") from None
    except KeysUnavailable:
        raise Unavailable("Tokens cannot be checked just now. Try again.", code="keys_unavailable") from None
    except (jwt.PyJWTError, UnknownKey, ValueError):
        raise Unauthenticated("The token is not valid here.") from None


async def _decoded(token: str, audience: str) -> dict[str, Any]:
    settings = load(GoogleTokenSettings)
    options: Any = {"require": _REQUIRED_CLAIMS}
    if settings.platform_checks_callers and token.rpartition(".")[2] == _REMOVED_SIGNATURE:
        key: Any = None
        checks = ("verify_exp", "verify_iat", "verify_nbf", "verify_aud", "verify_iss")
        options |= {"verify_signature": False, **dict.fromkeys(checks, True)}
    else:
        key = await signing_key(settings.google_certs_url, token)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=audience,
        issuer=_ISSUERS,
        options=options,
        leeway=_LEEWAY_SECONDS,
    )
    return claims


async def _demand(request: Request, account: str) -> None:
    """Raises Forbidden where the token is somebody else's, beside what `_claims` raises."""
    claims = await _claims(request)
    if claims["email"] != account or claims["email_verified"] is not True:
        raise Forbidden("This address is not for this service account.", code="wrong_service_account")


def _header(request: Request, name: str) -> str:
    value = request.headers.get(name)
    if not value:
        raise BadRequest(f"The header {name} is missing.", code="delivery_header_missing")
    return value


async def _from_queue(request: Request) -> Delivery:
    await _demand(request, load(QueueSettings).tasks_service_account)
    retries = _header(request, "X-CloudTasks-TaskRetryCount")
    return Delivery(
        _header(request, "X-CloudTasks-QueueName"),
        _header(request, "X-CloudTasks-TaskName"),
        int(retries) if retries.isdecimal() else 0,
    )


async def _from_scheduler(request: Request) -> Tick:
    await _demand(request, load(SchedulerSettings).scheduler_service_account)
    return Tick(_header(request, "X-CloudScheduler-JobName"), _header(request, "X-CloudScheduler-ScheduleTime"))


FromQueue = Annotated[Delivery, Depends(_from_queue)]
FromScheduler = Annotated[Tick, Depends(_from_scheduler)]


def only(caller: str) -> Any:
    """The dependency that lets in the caller of this name (`queue` or `scheduler`) and nobody else."""
    return Depends({"queue": _from_queue, "scheduler": _from_scheduler}[caller])
