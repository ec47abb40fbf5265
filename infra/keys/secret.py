"""The keyring in Secret Manager, through Google's client: versions are added and read, never changed.

https://cloud.google.com/secret-manager/docs/reference/rpc/google.cloud.secretmanager.v1
"""

from __future__ import annotations

from urllib.parse import urlsplit

import google_crc32c
import grpc
from google.api_core import exceptions
from google.cloud import secretmanager_v1 as secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

_SECONDS = 20.0


class SecretFailed(Exception):
    """Secret Manager does not have it, or does not answer; the sentence says what to do."""


class KeyringSecret:
    """One secret, whose newest enabled version is the truth."""

    def __init__(self, project: str, name: str, endpoint: str) -> None:
        self._name = f"projects/{project}/secrets/{name}"
        self._client = secretmanager.SecretManagerServiceClient(transport=_transport(endpoint))

    def newest(self) -> tuple[int, str] | None:
        """The number and the text of the newest enabled version; None when the secret has none.

        Raises:
            SecretFailed: there is no such secret, or it cannot be read.
        """
        request = {"parent": self._name, "filter": "state:ENABLED"}
        try:
            names = [str(version.name) for version in self._client.list_secret_versions(request, timeout=_SECONDS)]
        except exceptions.GoogleAPICallError as error:
            raise self._failed(error) from error
        numbers = [int(name.rpartition("/")[2]) for name in names]
        return (max(numbers), self.read(max(numbers))) if numbers else None

    def read(self, version: int) -> str:
        """Raises SecretFailed: there is no such version, it is not enabled, or it arrived damaged."""
        name = f"{self._name}/versions/{version}"
        try:
            payload = self._client.access_secret_version(name=name, timeout=_SECONDS).payload
        except exceptions.GoogleAPICallError as error:
            raise self._failed(error) from error
        data = bytes(payload.data)
        if payload.data_crc32c and payload.data_crc32c != google_crc32c.value(data):
            raise SecretFailed(f"Version {version} of {self._name} arrived damaged. Run it again.")
        return data.decode()

    def add(self, text: str) -> int:
        """Add a version and return its number.

        Raises:
            SecretFailed: it was not added, or nobody can tell; reading the newest version tells.
        """
        data = text.encode()
        payload = secretmanager.SecretPayload({"data": data, "data_crc32c": google_crc32c.value(data)})
        try:
            added = self._client.add_secret_version(parent=self._name, payload=payload, timeout=_SECONDS)
        except exceptions.GoogleAPICallError as error:
            raise self._failed(error) from error
        return int(str(added.name).rpartition("/")[2])

    def _failed(self, error: exceptions.GoogleAPICallError) -> SecretFailed:
        return SecretFailed(f"Secret Manager refused ({type(error).__name__}): {error.message}")


def _transport(endpoint: str) -> SecretManagerServiceGrpcTransport:
    address = urlsplit(endpoint)
    if address.scheme == "http":
        return SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(address.netloc))
    return SecretManagerServiceGrpcTransport(host=address.netloc)
