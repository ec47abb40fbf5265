"""Where verifiers find the public keys: a file in a folder, or an object in Google Cloud Storage.

A write names the generation that it replaces, and is refused when something else was published meanwhile.
https://cloud.google.com/storage/docs/json_api/v1/objects/insert, https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote, urlsplit

import google.auth
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from infra.keys.rotation import Published

OBJECT: Final = ".well-known/jwks.json"
CACHE_CONTROL: Final = "public, max-age=300"
NOTHING: Final = "0"
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
_SECONDS: Final = 20


class PublicationFailed(Exception):
    """The document was not read or not written; the sentence says why. Running it again sets things right."""


class Publication(Protocol):
    """The place of the document."""

    def read(self) -> Published | None:
        """What is published; None when nothing is. Raises PublicationFailed."""

    def write(self, content: bytes, generation: str) -> None:
        """Replace what has this generation (NOTHING where there is nothing yet). Raises PublicationFailed."""


def publication(address: str, storage_endpoint: str) -> Publication:
    """The place that `file:/folder` or `gs://bucket[/folder]` names.

    Raises:
        ValueError: it names neither.
    """
    parts = urlsplit(address)
    if parts.scheme == "file" and parts.path and parts.netloc in {"", "localhost"}:
        return _File(Path(unquote(parts.path)) / OBJECT)
    if parts.scheme == "gs" and parts.netloc:
        folder = unquote(parts.path).strip("/")
        return _Object(parts.netloc, f"{folder}/{OBJECT}" if folder else OBJECT, storage_endpoint)
    raise ValueError(f"{address} is neither file:/folder nor gs://bucket")


class _File:
    """Its generation is what it holds; its time is when it was written."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> Published | None:
        try:
            with self._file.open("rb") as stream:
                content, written = stream.read(), os.fstat(stream.fileno()).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PublicationFailed(f"{self._file} cannot be read: {error.strerror}") from error
        return Published(content, datetime.fromtimestamp(written, UTC), hashlib.sha256(content).hexdigest())

    def write(self, content: bytes, generation: str) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                present = self.read()
                if (present.generation if present else NOTHING) != generation:
                    raise PublicationFailed(f"{self._file} was changed by somebody else just now.")
                self._replace(content)
        except OSError as error:
            raise PublicationFailed(f"{self._file} cannot be written: {error.strerror}") from error

    def _replace(self, content: bytes) -> None:
        """Whole or not at all."""
        fresh = self._file.with_name(f"{self._file.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(self._file)
        finally:
            fresh.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


class _Object:
    """An object of a bucket, over the JSON interface. No credentials go to a plain http address: never Google's."""

    def __init__(self, bucket: str, name: str, endpoint: str) -> None:
        self._bucket, self._name, self._endpoint = bucket, name, endpoint.rstrip("/")
        self._opened: requests.Session | None = None

    def read(self) -> Published | None:
        path = f"/storage/v1/b/{quote(self._bucket, safe='')}/o/{quote(self._name, safe='')}"
        answer = self._ask("GET", path)
        if answer.status_code == 404 and not _names_bucket(answer):
            return None
        about = _json(self._expect(answer))
        # Of this very generation, so that the content is that of the time beside it.
        content = self._expect(self._ask("GET", path, alt="media", generation=about["generation"])).content
        return Published(content, datetime.fromisoformat(about["timeCreated"]), str(about["generation"]))

    def write(self, content: bytes, generation: str) -> None:
        boundary = secrets.token_hex(16)
        about = {"name": self._name, "contentType": "application/json", "cacheControl": CACHE_CONTROL}
        parts = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
            f"--{boundary}\r\nContent-Type: application/json\r\n\r\n"
        )
        answer = self._ask(
            "POST",
            f"/upload/storage/v1/b/{quote(self._bucket, safe='')}/o",
            body=parts.encode() + content + f"\r\n--{boundary}--\r\n".encode(),
            content_type=f"multipart/related; boundary={boundary}",
            uploadType="multipart",
            ifGenerationMatch=generation,
        )
        if answer.status_code == 412:
            raise PublicationFailed(f"gs://{self._bucket}/{self._name} was changed by somebody else just now.")
        self._expect(answer)

    def _ask(
        self, method: str, path: str, *, body: bytes | None = None, content_type: str | None = None, **query: str
    ) -> requests.Response:
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            return self._session().request(
                method, self._endpoint + path, params=query, data=body, headers=headers, timeout=_SECONDS
            )
        except (requests.RequestException, GoogleAuthError) as error:
            raise PublicationFailed(f"Cloud Storage does not answer: {type(error).__name__}") from error

    def _session(self) -> requests.Session:
        if self._opened is None:
            self._opened = requests.Session() if self._endpoint.startswith("http://") else _authorized()
        return self._opened

    def _expect(self, answer: requests.Response) -> requests.Response:
        if answer.status_code != 200:
            raise PublicationFailed(f"Cloud Storage answered {answer.status_code} for gs://{self._bucket}/{self._name}")
        return answer


def _authorized() -> requests.Session:
    credentials, _ = google.auth.default(scopes=[_SCOPE])
    session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    return session


def _json(answer: requests.Response) -> dict[str, Any]:
    about: dict[str, Any] = answer.json()
    return about


def _names_bucket(answer: requests.Response) -> bool:
    """Whether a 404 is about the bucket and not about the object."""
    return "bucket does not exist" in answer.text
