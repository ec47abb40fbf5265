"""Secret Manager v1 (google.cloud.secretmanager.v1) on one SQLite file.

What was answered is on disk: a killed process loses nothing. Methods that are not served here (updates, IAM, regional
secrets, topics, rotation) are refused in words. Semantics follow the client's types and
https://cloud.google.com/secret-manager/docs/reference/rpc/google.cloud.secretmanager.v1
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import google_crc32c
import grpc
from google.cloud.secretmanager_v1 import types
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.protobuf import empty_pb2

from local.faults import FaultBook
from local.grpc_server import GrpcServer, StandIn
from local.refusals import Refusal, failed_precondition, invalid, not_found

MAX_PAYLOAD_BYTES: Final = 65_536
MAX_PAGE: Final = 25_000
LATEST: Final = "latest"
_PROJECT: Final = re.compile(r"projects/[^/]+")
_SECRET: Final = re.compile(r"projects/[^/]+/secrets/[A-Za-z0-9_-]{1,255}")
_VERSION: Final = re.compile(r"(projects/[^/]+/secrets/[A-Za-z0-9_-]{1,255})/versions/(latest|[1-9][0-9]{0,17})")
_SECRET_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_STATE_FILTER: Final = re.compile(r"state\s*[:=]\s*\(?([A-Z]+(?:\s+OR\s+[A-Z]+)*)\)?")
_NAME_FILTER: Final = re.compile(r"name\s*:\s*([A-Za-z0-9_-]+)")
_State = types.SecretVersion.State

_SCHEMA: Final = """
create table if not exists secrets (
    ordinal integer primary key autoincrement, name text not null unique, project text not null, body blob not null
);
create table if not exists versions (
    secret text not null references secrets (name) on delete cascade,
    number integer not null, body blob not null, payload blob,
    primary key (secret, number)
);
"""


class SecretsServer:
    """The Secret Manager stand-in as a part of any asyncio process."""

    def __init__(self, database_path: Path, faults: FaultBook) -> None:
        """State is kept in `database_path`, whose folder is made when it is missing."""
        self._path = database_path
        self._faults = faults
        self._server: GrpcServer | None = None
        self._secrets: _Secrets | None = None

    async def start(self, port: int = 0) -> int:
        """Listen on the loopback interface; 0 takes a free port. Returns the port."""
        self._secrets = _Secrets(self._path)
        transport: Any = SecretManagerServiceGrpcTransport
        self._server = GrpcServer((StandIn("secrets", transport, self._secrets, self._faults),))
        return await self._server.start(port)

    async def stop(self) -> None:
        """Refuse new calls, let the running ones end, close the file."""
        if self._server is not None and self._secrets is not None:
            await self._server.stop()
            self._secrets.close()
            self._server = self._secrets = None


class _Secrets:
    """The API. A call is a few milliseconds of disk at most, so that calls are done on the event loop, in turn."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # secrets are no one else's to read, not even in a stand-in; SQLite gives its other files the same mode
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.execute("pragma foreign_keys = on")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    async def CreateSecret(self, request: Any) -> Any:  # noqa: N802 - named by the API
        _matching(_PROJECT, request.parent, "parent", "projects/{project}")
        if not _SECRET_ID.fullmatch(request.secret_id):
            raise invalid("Invalid value for field secret_id: up to 255 letters, digits, hyphens and underscores.")
        _check_new(request.secret)
        secret = types.Secret(
            name=f"{request.parent}/secrets/{request.secret_id}",
            replication=request.secret.replication,
            labels=dict(request.secret.labels),
            annotations=dict(request.secret.annotations),
            create_time=_now(),
        )
        secret.etag = _etag(secret)
        try:
            self._db.execute(
                "insert into secrets (name, project, body) values (?, ?, ?)",
                (secret.name, request.parent, types.Secret.serialize(secret)),
            )
        except sqlite3.IntegrityError:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"Secret [{secret.name}] already exists.") from None
        return secret

    async def GetSecret(self, request: Any) -> Any:  # noqa: N802 - named by the API
        return self._secret(request.name)

    async def ListSecrets(self, request: Any) -> Any:  # noqa: N802 - named by the API
        _matching(_PROJECT, request.parent, "parent", "projects/{project}")
        wanted = _filter(_NAME_FILTER, request.filter)
        rows = self._db.execute(
            "select ordinal, body from secrets where project = ? order by ordinal desc", (request.parent,)
        ).fetchall()
        secrets = [(ordinal, types.Secret.deserialize(body)) for ordinal, body in rows]
        chosen = [item for item in secrets if not wanted or wanted in item[1].name.rsplit("/", 1)[1]]
        page, token = _page(chosen, request)
        return types.ListSecretsResponse(secrets=page, next_page_token=token, total_size=len(chosen))

    async def DeleteSecret(self, request: Any) -> Any:  # noqa: N802 - named by the API
        _check_etag(request.etag, self._secret(request.name))
        self._db.execute("delete from secrets where name = ?", (request.name,))
        return empty_pb2.Empty()

    async def AddSecretVersion(self, request: Any) -> Any:  # noqa: N802 - named by the API
        secret = self._secret(request.parent)
        payload = _checked_payload(request.payload)
        number = self._newest(secret.name) + 1
        version = types.SecretVersion(
            name=f"{secret.name}/versions/{number}",
            create_time=_now(),
            state=_State.ENABLED,
            replication_status={"automatic": {}},
            client_specified_payload_checksum="data_crc32c" in request.payload,
        )
        version.etag = _etag(version)
        self._db.execute(
            "insert into versions (secret, number, body, payload) values (?, ?, ?, ?)",
            (secret.name, number, types.SecretVersion.serialize(version), payload),
        )
        return version

    async def GetSecretVersion(self, request: Any) -> Any:  # noqa: N802 - named by the API
        return self._version(request.name)

    async def ListSecretVersions(self, request: Any) -> Any:  # noqa: N802 - named by the API
        secret = self._secret(request.parent)
        wanted = _filter(_STATE_FILTER, request.filter)
        states = set(re.split(r"\s+OR\s+", wanted)) if wanted else set(_State.__members__)
        rows = self._db.execute(
            "select number, body from versions where secret = ? order by number desc", (secret.name,)
        ).fetchall()
        versions = [(number, types.SecretVersion.deserialize(body)) for number, body in rows]
        chosen = [item for item in versions if item[1].state.name in states]
        page, token = _page(chosen, request)
        return types.ListSecretVersionsResponse(versions=page, next_page_token=token, total_size=len(chosen))

    async def AccessSecretVersion(self, request: Any) -> Any:  # noqa: N802 - named by the API
        version = self._version(request.name)
        if version.state != _State.ENABLED:
            raise failed_precondition(f"Secret Version [{version.name}] is in {version.state.name} state.")
        secret, number = _parts(version.name)
        row = self._db.execute("select payload from versions where secret = ? and number = ?", (secret, number))
        data = bytes(row.fetchone()[0])
        payload = types.SecretPayload(data=data, data_crc32c=google_crc32c.value(data))
        return types.AccessSecretVersionResponse(name=version.name, payload=payload)

    async def EnableSecretVersion(self, request: Any) -> Any:  # noqa: N802 - named by the API
        return self._change(request, lambda version: setattr(version, "state", _State.ENABLED))

    async def DisableSecretVersion(self, request: Any) -> Any:  # noqa: N802 - named by the API
        return self._change(request, lambda version: setattr(version, "state", _State.DISABLED))

    async def DestroySecretVersion(self, request: Any) -> Any:  # noqa: N802 - named by the API
        def destroy(version: Any) -> None:
            version.state = _State.DESTROYED
            version.destroy_time = _now()

        return self._change(request, destroy)

    def _secret(self, name: str) -> Any:
        _matching(_SECRET, name, "name", "projects/{project}/secrets/{secret}")
        row = self._db.execute("select body from secrets where name = ?", (name,)).fetchone()
        if row is None:
            raise not_found(f"Secret [{name}] not found.")
        return types.Secret.deserialize(row[0])

    def _version(self, name: str) -> Any:
        secret, number = _parts(name)
        self._secret(secret)
        wanted = self._newest(secret) if number == LATEST else number
        found = self._db.execute(
            "select body from versions where secret = ? and number = ?", (secret, wanted)
        ).fetchone()
        if found is None:
            raise not_found(f"Secret Version [{name}] not found.")
        return types.SecretVersion.deserialize(found[0])

    def _newest(self, secret: str) -> int:
        found = self._db.execute("select coalesce(max(number), 0) from versions where secret = ?", (secret,)).fetchone()
        newest: int = found[0]
        return newest

    def _change(self, request: Any, change: Callable[[Any], None]) -> Any:
        version = self._version(request.name)
        _check_etag(request.etag, version)
        if version.state == _State.DESTROYED:
            raise failed_precondition(f"Secret Version [{version.name}] is in DESTROYED state.")
        change(version)
        version.etag = _etag(version)
        secret, number = _parts(version.name)
        kept = "null" if version.state == _State.DESTROYED else "payload"
        self._db.execute(
            f"update versions set body = ?, payload = {kept} where secret = ? and number = ?",  # noqa: S608 - two literals
            (types.SecretVersion.serialize(version), secret, number),
        )
        return version


def _check_new(secret: Any) -> None:
    if "automatic" not in secret.replication and "user_managed" not in secret.replication:
        raise invalid("Invalid value for field secret.replication: a replication policy is needed.")
    asked = [
        name
        for name in ("topics", "rotation", "expire_time", "ttl", "version_aliases", "version_destroy_ttl")
        if name in secret
    ]
    if asked:
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f"The local stand-in does not implement secret.{asked[0]}.")


def _checked_payload(payload: Any) -> bytes:
    data: bytes = payload.data
    if not data:
        raise invalid("Invalid value for field payload.data: a secret's data may not be empty.")
    if len(data) > MAX_PAYLOAD_BYTES:
        raise invalid(f"Invalid value for field payload.data: it is longer than {MAX_PAYLOAD_BYTES} bytes.")
    if "data_crc32c" in payload and payload.data_crc32c != google_crc32c.value(data):
        raise invalid("Invalid value for field payload.data_crc32c: it does not match the data that arrived.")
    return data


def _matching(form: re.Pattern[str], value: str, field: str, shown: str) -> re.Match[str]:
    found = form.fullmatch(value)
    if found is None:
        raise invalid(f"Invalid resource field value in the request: {field} is not of the form {shown}.")
    return found


def _parts(version_name: str) -> tuple[str, int | str]:
    """The secret's name, and the version's number or `latest`."""
    found = _matching(_VERSION, version_name, "name", "projects/{project}/secrets/{secret}/versions/{version}")
    return found[1], LATEST if found[2] == LATEST else int(found[2])


def _filter(form: re.Pattern[str], text: str) -> str:
    if not text.strip():
        return ""
    found = form.fullmatch(text.strip())
    if found is None:
        raise invalid(f"Invalid filter: the local stand-in understands only filters like {form.pattern}.")
    return found[1]


def _page(items: list[tuple[int, Any]], request: Any) -> tuple[list[Any], str]:
    """The page after the one that the token stands for. A token is the last ordinal given; items come newest first."""
    if request.page_size < 0:
        raise invalid("Invalid value for field page_size: it may not be negative.")
    size = min(request.page_size or MAX_PAGE, MAX_PAGE)
    after = _token_value(request.page_token) if request.page_token else None
    rest = [item for item in items if after is None or item[0] < after]
    page = rest[:size]
    token = base64.urlsafe_b64encode(str(page[-1][0]).encode()).decode() if len(rest) > size else ""
    return [item for _, item in page], token


def _token_value(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error):
        raise invalid("Invalid value for field page_token: it is not one that a list call gave.") from None


def _etag(message: Any) -> str:
    """A quoted digest of everything else in the message, as the service forms its etags."""
    message.etag = ""
    return f'"{hashlib.sha256(type(message).serialize(message)).hexdigest()[:14]}"'


def _check_etag(given: str, message: Any) -> None:
    if given and given != message.etag:
        raise failed_precondition(f"The etag {given} is not the current one of [{message.name}].")


def _now() -> datetime:
    return datetime.now(UTC)
