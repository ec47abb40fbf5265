"""What a first start puts in place: secrets in Secret Manager, and the public half of the signing key.

It talks to the Secret Manager stand-in through Google's own client and makes what is missing. Like the platform, it
hands the functions pinned versions, as environment variables: the newest enabled one at the time of the start.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.api_core.exceptions import AlreadyExists, NotFound
from google.cloud import secretmanager_v1 as secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from local.launcher.environment import SECRET_VARIABLES
from local.places import HOST, PROJECT, Places
from shared.accounts.tokens import new_keyring, openid_configuration, public_jwks

PARENT = f"projects/{PROJECT}"
CALL_SECONDS = 10.0

# What a secret of the local cloud is made of, in the form in which each provider issues theirs.
MAKERS: Mapping[str, Callable[[], str]] = {
    "access-token-keyring": new_keyring,
    "backend-key": lambda: secrets.token_urlsafe(32),
    "google-client-secret": lambda: f"GOCSPX-{secrets.token_urlsafe(21)}",
    "heygen-api-key": lambda: f"sk_V2_hgu_{secrets.token_urlsafe(32)}",
    "liveavatar-api-key": lambda: str(uuid.uuid4()),
    "storage-access-key-id": lambda: secrets.token_hex(16),
    "storage-secret-access-key": lambda: secrets.token_hex(32),
    "supabase-publishable-key": lambda: f"sb_publishable_{secrets.token_urlsafe(24)}",
    "supabase-secret-key": lambda: f"sb_secret_{secrets.token_urlsafe(32)}",
}


class SecretStore:
    """The few calls of Secret Manager that a start needs."""

    def __init__(self, port: int) -> None:
        channel = grpc.insecure_channel(f"{HOST}:{port}")
        transport = SecretManagerServiceGrpcTransport(channel=channel)
        self._client = secretmanager.SecretManagerServiceClient(transport=transport)

    def pinned(self, name: str) -> str:
        """The value of the newest enabled version, read by its number; made first when the secret does not exist."""
        version = self._newest(name) or self._create(name)
        answer = self._client.access_secret_version(name=version, timeout=CALL_SECONDS)
        return bytes(answer.payload.data).decode()

    def _newest(self, name: str) -> str | None:
        request = {"parent": f"{PARENT}/secrets/{name}", "filter": "state:ENABLED"}
        try:
            versions = list(self._client.list_secret_versions(request=request, timeout=CALL_SECONDS))
        except NotFound:
            return None
        numbered = {int(str(version.name).rsplit("/", 1)[1]): str(version.name) for version in versions}
        return numbered[max(numbered)] if numbered else None

    def _create(self, name: str) -> str:
        secret = secretmanager.Secret({"replication": {"automatic": {}}})
        # A start that broke off between the two calls left the secret without a version.
        with contextlib.suppress(AlreadyExists):
            self._client.create_secret(parent=PARENT, secret_id=name, secret=secret, timeout=CALL_SECONDS)
        payload = secretmanager.SecretPayload({"data": MAKERS[name]().encode()})
        added = self._client.add_secret_version(
            parent=f"{PARENT}/secrets/{name}", payload=payload, timeout=CALL_SECONDS
        )
        return str(added.name)


def seed(places: Places) -> dict[str, str]:
    """Make what is missing. Returns the environment variables that hold secrets, also left in `environment_file`."""
    store = SecretStore(places.secrets_port)
    environment = {variable: store.pinned(name) for variable, name in SECRET_VARIABLES.items()}
    keyring = environment["ACCESS_TOKEN_KEYRING"]
    discovery = places.jwks_file.with_name("openid-configuration")
    _write(places.jwks_file, public_jwks(keyring), 0o644)
    _write(discovery, openid_configuration(places.token_issuer, places.jwks_url), 0o644)
    _write(places.environment_file, environment, 0o600)
    return environment


def _write(file: Path, content: Mapping[str, Any], mode: int) -> None:
    """Whole or not at all, and never with another mode than this one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:
        json.dump(content, stream, separators=(",", ":"))
    fresh.replace(file)
