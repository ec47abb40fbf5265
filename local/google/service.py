"""Google's accounts as a part of the local cloud: our own client registered, faults in front, this machine only."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from starlette.types import ASGIApp

from local.faults import FaultBook
from local.gateway.guard import LocalOnly
from local.google.application import create_application, open_accounts
from local.google.consent import Client
from local.http_faults import WithFaults
from local.launcher.environment import GOOGLE_CLIENT_ID
from local.places import Places

STAND_IN: Final = "google"
# Where Google may send people back to. Exact, as Google compares them.
_RETURN_PATHS: Final = ("/v1/auth/google/callback", "/v1/connections/google/callback")


def google(places: Places, client_secret: str, faults: FaultBook) -> ASGIApp:
    client = Client(GOOGLE_CLIENT_ID, client_secret, frozenset(places.gateway_url + path for path in _RETURN_PATHS))
    # Open for as long as the process lives; every statement has committed by itself.
    accounts = open_accounts(places.google_file, [client])
    return LocalOnly(WithFaults(create_application(accounts), STAND_IN, faults, method_of), places.google_port)


def method_of(scope: MutableMapping[str, Any]) -> str:
    """The last part of the path, as `auth`, `token`, `revoke`, `tokeninfo`, `userinfo` or `certs`."""
    return str(scope["path"]).rsplit("/", 1)[-1]
