"""Google's accounts as a part of the local cloud: our own client registered, faults in front, this machine only."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from starlette.types import ASGIApp

from local.faults import FaultBook
from local.gateway.guard import LocalOnly
from local.google.application import create_application, method_names, open_accounts
from local.google.consent import Client
from local.google.rest import failure
from local.http_faults import WithFaults
from local.launcher.environment import GOOGLE_CLIENT_ID
from local.places import Places

STAND_IN: Final = "google"
_NAMES: Final = method_names()
# Where Google may send people back to. Exact, as Google compares them.
_RETURN_PATHS: Final = ("/v1/auth/google/callback", "/v1/connections/google/callback")


def google(places: Places, client_secret: str, faults: FaultBook) -> ASGIApp:
    client = Client(GOOGLE_CLIENT_ID, client_secret, frozenset(places.gateway_url + path for path in _RETURN_PATHS))
    # Open for as long as the process lives; every statement has committed by itself.
    accounts = open_accounts(places.google_file, [client])
    return LocalOnly(WithFaults(create_application(accounts), STAND_IN, faults, method_of, failure), places.google_port)


def method_of(scope: MutableMapping[str, Any]) -> str:
    """A method's id as `gmail.users.messages.send`; of the accounts the last part of the path.

    They are `auth`, `token`, `revoke`, `tokeninfo`, `userinfo` and `certs`.
    """
    return _NAMES.of(scope) or str(scope["path"]).rsplit("/", 1)[-1]
