"""The connection to the S3 endpoint: settings, one client for each process, threads to block on, errors as ours.

Error codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from shared.runtime.errors import Conflict, NotFound, OprinaError, TooLarge, Unavailable, UpstreamFailed
from shared.runtime.settings import SecretStr, Settings, load

_THREADS: Final = 16
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 3, 30, 3
_MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "404", "NotFound"})
_CHANGED = frozenset({"PreconditionFailed", "412"})
_TOO_LARGE = frozenset({"EntityTooLarge", "413"})

T = TypeVar("T")


class StorageSettings(Settings):
    """The S3 endpoint with its path, and a server's key pair: it opens every object, so it never leaves the server.

    `storage_public_endpoint` is the endpoint as browsers reach it, where that is another address.
    """

    storage_endpoint: str
    storage_region: str
    storage_bucket: str
    storage_access_key_id: SecretStr
    storage_secret_access_key: SecretStr
    storage_public_endpoint: str | None = None


class ObjectChanged(Conflict):
    """The object is no longer the one that was being read."""


class StorageRefused(UpstreamFailed):
    """The storage refused for a reason that lies with us: keys, bucket, or a request that it does not serve."""


class BehindTheEnd(Exception):
    """A range began behind the object's last byte."""


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """botocore's errors as ours."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {"InvalidRange", "416"}:
            raise BehindTheEnd from error
        raise _translated(error.response) from error
    except (BotoCoreError, HTTPClientError) as error:
        raise Unavailable(
            "The file storage does not answer just now. Try again in a moment.",
            code="storage_unavailable",
            retry_after_seconds=1,
        ) from error


_pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="storage")
_clients: dict[tuple[StorageSettings, str], Any] = {}
_making = threading.Lock()


async def call(operation: str, **parameters: Any) -> Any:
    """One operation of S3 in our bucket, by its name in boto3. Raises OprinaError."""
    return await in_thread(lambda: getattr(client(), operation)(Bucket=bucket(), **parameters))


async def in_thread(work: Callable[[], T]) -> T:
    """Blocking work with the storage, on a thread of ours. Raises OprinaError."""

    def translated() -> T:
        with translating():
            return work()

    return await asyncio.get_running_loop().run_in_executor(_pool, translated)


def bucket() -> str:
    name: str = load(StorageSettings).storage_bucket
    return name


def client() -> Any:
    return _client_for(load(StorageSettings).storage_endpoint)


def public_client() -> Any:
    settings = load(StorageSettings)
    return _client_for(settings.storage_public_endpoint or settings.storage_endpoint)


def _client_for(endpoint: str) -> Any:
    """One client for each process and endpoint. boto3 is loaded here, so that no cold start pays for it unused."""
    settings = load(StorageSettings)
    with _making:
        if (settings, endpoint) not in _clients:
            import boto3
            from botocore.config import Config

            _clients[settings, endpoint] = boto3.session.Session().client(
                "s3",
                endpoint_url=endpoint,
                region_name=settings.storage_region,
                aws_access_key_id=settings.storage_access_key_id.get_secret_value(),
                aws_secret_access_key=settings.storage_secret_access_key.get_secret_value(),
                config=Config(
                    signature_version="s3v4",
                    s3={"addressing_style": "path"},
                    # Checksums beyond the signature are an addition that not every S3 endpoint takes.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_READ_SECONDS,
                    max_pool_connections=_THREADS,
                ),
            )
        return _clients[settings, endpoint]


def _translated(answer: Mapping[str, Any]) -> OprinaError:
    """The error for the answer that botocore's ClientError carries. Its own words go to the log, not to the caller."""
    said = answer.get("Error", {})
    code, status = str(said.get("Code", "")), int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    error = _error(code, status)
    error.add_note(f"{status} {code}: {said.get('Message', '')}")
    return error


def _error(code: str, status: int) -> OprinaError:
    if code in _MISSING:
        return NotFound("This file does not exist, or not any more.", code="object_missing")
    if code in _CHANGED:
        return ObjectChanged("This file was replaced while it was being read. Try again.", code="object_changed")
    if code in _TOO_LARGE:
        return TooLarge("This file is larger than can be stored.", code="object_too_large")
    if status >= 500 or status == 429:
        return Unavailable(
            "The file storage cannot do this just now. Try again in a moment.",
            code="storage_unavailable",
            retry_after_seconds=1,
        )
    return StorageRefused("The file storage refused this.", code="storage_refused", retryable=False)
