"""Exchanging the signing keys: nobody notices, and wherever it breaks off, the next run sets it right.

Google's own client speaks to the Secret Manager stand-in, and tokens are checked by the endpoint kit's own verifier.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from google.cloud import secretmanager_v1 as secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from infra.keys import __main__ as keys
from infra.keys import publication, secret
from infra.keys.rotation import Ring, RotationRefused
from local.faults import FaultBook
from local.public_objects import public_objects
from local.secrets import SecretsServer
from shared.accounts import tokens
from shared.clients.jwks import _keys
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.runtime import clock
from shared.runtime.settings import load
from tests.support.gateway import free_socket, served
from tests.support.google_storage import Storage, Stored

NAME = "access-token-keyring"
ISSUER = "https://tokens.oprina.test"
MINUTES = timedelta(minutes=1)
OBJECT = publication.OBJECT


@dataclass
class Cloud:
    """Secret Manager, a folder and a bucket that are public, and what a function reads."""

    monkeypatch: pytest.MonkeyPatch
    secrets: secretmanager.SecretManagerServiceClient
    servers: Servers
    name: str
    """Of the project, the folder and the bucket."""

    def use(self, place: str) -> None:
        """Publish to the `file` or the `object`, and read the keys there."""
        addresses = {"file": f"file:{self.folder}", "object": f"gs://{self.name}"}
        urls = {"file": self.servers.file_url, "object": self.servers.storage_url}
        self.set(PUBLIC_FOLDER=addresses[place], JWKS_URL=f"{urls[place]}/{self.name}/{OBJECT}")

    @property
    def folder(self) -> Path:
        return self.servers.public / self.name

    @property
    def storage(self) -> Storage:
        return self.servers.storage

    @property
    def faults(self) -> FaultBook:
        return self.servers.faults

    @property
    def objects(self) -> dict[str, Stored]:
        return self.storage.buckets[self.name]

    def set(self, **values: str) -> None:
        for name, value in values.items():
            self.monkeypatch.setenv(name, value)
        load.cache_clear()

    @property
    def parent(self) -> str:
        return f"projects/{self.name}/secrets/{NAME}"

    def text(self, version: int | str = "latest") -> str:
        answer = self.secrets.access_secret_version(name=f"{self.parent}/versions/{version}", timeout=10)
        return bytes(answer.payload.data).decode()

    def ring(self, version: int | str = "latest") -> Ring:
        return Ring.read(self.text(version))

    def versions(self) -> int:
        return len(list(self.secrets.list_secret_versions(parent=self.parent, timeout=10)))

    def add(self, text: str) -> None:
        self.secrets.add_secret_version(
            parent=self.parent, payload=secretmanager.SecretPayload({"data": text.encode()}), timeout=10
        )

    def published(self) -> list[str]:
        place = publication.publication(os.environ["PUBLIC_FOLDER"], self.servers.storage_url).read()
        return [] if place is None else kids(place.content)

    def age_file(self, minutes: int) -> None:
        """Let the published file be that old."""
        file = self.folder / OBJECT
        then = file.stat().st_mtime - minutes * 60
        os.utime(file, (then, then))


def kids(document: bytes) -> list[str]:
    return [key["kid"] for key in json.loads(document)["keys"]]


@dataclass(frozen=True)
class Servers:
    """What runs for all tests of this file, each of which has a project, a folder and a bucket of its own."""

    faults: FaultBook
    storage: Storage
    public: Path
    secrets_port: int
    file_url: str
    storage_url: str


@asynccontextmanager
async def _serving(root: Path) -> AsyncIterator[Servers]:
    faults, storage = FaultBook(root / "faults.json"), Storage()
    secrets = SecretsServer(root / "secrets.sqlite3", faults)
    port = await secrets.start()
    try:
        async with AsyncExitStack() as stack:
            files = await stack.enter_async_context(served(public_objects(root / "public"), free_socket()))
            objects = await stack.enter_async_context(served(storage.app(), free_socket()))
            yield Servers(faults, storage, root / "public", port, files, objects)
    finally:
        await secrets.stop()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """On a thread of their own: the tool is a command, and its clients block."""
    ready, end = threading.Event(), threading.Event()
    started: list[Servers] = []

    async def serve() -> None:
        async with _serving(tmp_path_factory.mktemp("keys")) as found:
            started.append(found)
            ready.set()
            await asyncio.to_thread(end.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield started[0]
    end.set()
    thread.join(20)


@pytest.fixture
def cloud(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    name = f"test-{uuid4().hex[:12]}"
    endpoint = f"http://127.0.0.1:{servers.secrets_port}"
    with grpc.insecure_channel(endpoint.removeprefix("http://")) as channel:
        transport = SecretManagerServiceGrpcTransport(channel=channel)
        client = secretmanager.SecretManagerServiceClient(transport=transport)
        made = secretmanager.Secret({"replication": {"automatic": {}}})
        client.create_secret(parent=f"projects/{name}", secret_id=NAME, secret=made, timeout=10)
        servers.storage.buckets[name] = {}
        servers.storage.seen.clear()
        cloud = Cloud(monkeypatch, client, servers, name)
        cloud.set(
            GOOGLE_CLOUD_PROJECT=name,
            SECRETS_ENDPOINT=endpoint,
            STORAGE_ENDPOINT=servers.storage_url,
            TOKEN_ISSUER=ISSUER,
            TOKEN_AUDIENCE="authenticated",
        )
        cloud.use("file")
        yield cloud
    servers.faults.write({})
    load.cache_clear()
    _keys.cache_clear()


async def command(*arguments: str) -> int:
    return await asyncio.to_thread(keys.main, list(arguments))


async def begun(cloud: Cloud) -> tuple[Ring, Ring]:
    """A first key, and a rotation that has published a second one. Returns the keyrings before and after."""
    assert await command("rotate") == 0
    first = cloud.ring()
    assert await command("rotate") == 0
    return first, cloud.ring()


def token(ring: Ring, cloud: Cloud) -> str:
    """An access token as a function signs it that was deployed with this keyring."""
    cloud.set(ACCESS_TOKEN_KEYRING=ring.text)
    return tokens.access_token(uuid4(), uuid4(), clock.now())


_verifier = Function(name="tests-verifier", path="/v1/tests")


@_verifier.get("Say who calls", caller=Caller.PERSON)
async def who(person: SignedIn) -> dict[str, str]:
    return {"person": str(person.person_id)}


async def accepts(signed: str) -> bool:
    """Whether a function that has just started lets the token in."""
    _keys.cache_clear()
    transport = httpx.ASGITransport(app=_verifier.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://oprina.test") as client:
        answer = await client.get("/v1/tests", headers={"Authorization": f"Bearer {signed}"})
    assert answer.status_code in {200, 401}, answer.text
    return answer.status_code == 200


# The way of a rotation


@dataclass
class Timeline:
    """What was published when, and which tokens are alive."""

    documents: list[tuple[datetime, bytes]] = field(default_factory=list)
    signed: list[tuple[datetime, str]] = field(default_factory=list)

    def could_be_cached(self, now: datetime, for_at_most: timedelta) -> list[bytes]:
        """What a cache may hold that keeps a document for so long: the one of now, and those replaced since."""
        replaced_at = [at for at, _ in self.documents[1:]] + [now]
        return [
            content for (_, content), end in zip(self.documents, replaced_at, strict=True) if end >= now - for_at_most
        ]


async def test_in_every_minute_of_a_rotation_every_cache_knows_the_key_of_every_living_token(cloud: Cloud) -> None:
    cloud.use("object")
    seen, deployed, deployed_version = Timeline(), Ring.first(), 1
    cloud.add(deployed.text)
    start = clock.now()
    steps: list[str] = []
    with clock.held(start) as move:
        for minute in range(0, 200, 5):
            now = start + minute * MINUTES
            move(now)
            arguments = ["rotate"] if minute < 120 or cloud.ring().rotation else ["status"]
            if cloud.ring().signs_with_new and deployed.active != cloud.ring().active and minute % 15 == 0:
                deployed_version = cloud.versions()
                deployed = cloud.ring(deployed_version)
                arguments = ["rotate", "--deployed", str(deployed_version)]
            assert await command(*arguments) == 0
            document = cloud.objects[OBJECT].content
            if not seen.documents or seen.documents[-1][1] != document:
                seen.documents.append((now, document))
                steps.append(f"{len(kids(document))} published")
            seen.signed.append((now, deployed.active))
            alive = {kid for at, kid in seen.signed if at > now - 15 * MINUTES}
            for cached in seen.could_be_cached(now, 35 * MINUTES):
                assert alive <= set(kids(cached)), f"minute {minute}"
    assert steps[:3] == ["1 published", "2 published", "1 published"]
    assert seen.signed[0][1] != seen.signed[-1][1]
    assert kids(seen.documents[-1][1]) == [seen.signed[-1][1]]


@pytest.mark.parametrize("place", ["file", "object"])
async def test_tokens_of_both_keys_are_accepted_until_the_old_one_is_withdrawn(cloud: Cloud, place: str) -> None:
    cloud.use(place)
    first, second = await begun(cloud)
    assert (second.active, len(second.kids)) == (first.active, 2)
    old, new = token(first, cloud), token(second.signing_with_new(), cloud)
    assert [await accepts(each) for each in (old, new)] == [True, True]

    assert await command("rotate", "--now") == 0

    last = cloud.ring()
    assert last.kids == [kid for kid in second.kids if kid != first.active]
    assert last.rotation is None
    assert cloud.published() == last.kids
    assert [await accepts(each) for each in (old, new, token(last, cloud))] == [False, True, True]


async def test_no_step_is_taken_before_its_time(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    first, _ = await begun(cloud)
    cloud.age_file(39)
    assert await command("rotate") == 0
    assert cloud.ring().active == first.active
    cloud.age_file(1)
    assert await command("rotate") == 0
    assert cloud.ring().active != first.active
    signing = cloud.versions()
    assert f"`rotate --deployed {signing}`" in capsys.readouterr().out
    # However late it is: as long as nobody says that it was deployed, functions may sign with the old key.
    with clock.held(clock.now() + timedelta(days=3)):
        assert await command("rotate") == 0
    assert cloud.versions() == signing

    assert await command("rotate", "--deployed", str(signing)) == 0
    noted = cloud.ring().deployed_at
    assert noted is not None
    for minutes, left in ((19, 2), (20, 1)):
        with clock.held(noted + minutes * MINUTES):
            assert await command("rotate") == 0
        assert len(cloud.ring().kids) == left
        assert len(cloud.published()) == left
    assert "nothing is under way any more" in capsys.readouterr().out


async def test_a_deployment_of_a_version_that_signs_with_the_old_key_is_not_believed(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    await begun(cloud)
    assert await command("rotate", "--deployed", "2") == 1
    assert "No version that signs with a new key" in capsys.readouterr().err
    cloud.age_file(40)
    assert await command("rotate") == 0
    for version in ("1", "2", "99"):
        assert await command("rotate", "--deployed", version) == 1
    assert cloud.ring().deployed_at is None
    assert await command("rotate", "--deployed", "3") == 0
    noted = cloud.ring().deployed_at
    assert await command("rotate", "--deployed", "3") == 0
    assert (cloud.ring().deployed_at, cloud.versions()) == (noted, 4)


async def test_a_run_that_ends_a_rotation_begins_no_other_and_the_next_one_does(cloud: Cloud) -> None:
    assert await command("rotate", "--now") == 0
    first = cloud.ring()
    assert (first.kids, cloud.versions()) == ([first.active], 1)
    for _ in range(2):
        before = cloud.ring().active
        assert await command("rotate", "--now") == 0
        assert cloud.ring().active != before
        assert cloud.ring().kids == [cloud.ring().active]


# Breaking off


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", ["file", "object"])
async def test_a_run_that_was_killed_around_any_step_is_finished_by_the_next(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, after: bool, place: str
) -> None:
    cloud.use(place)
    add, left = secret.KeyringSecret.add, [0]
    kind = publication._File if place == "file" else publication._Object
    write = kind.write

    def around(work: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and not after:
            raise Killed
        done = work()
        if left[0] == 0:
            raise Killed
        return done

    def add_watched(self: Any, text: str) -> Any:
        # Nothing may ever sign with a key that is not published.
        ring = Ring.read(text)
        assert ring.active in cloud.published() or cloud.published() == []
        return around(lambda: add(self, text))

    def write_watched(self: Any, content: bytes, generation: str) -> Any:
        # Nothing may ever be withdrawn that the newest keyring signs with.
        assert cloud.ring().active in kids(content)
        return around(lambda: write(self, content, generation))

    monkeypatch.setattr(secret.KeyringSecret, "add", add_watched)
    monkeypatch.setattr(kind, "write", write_watched)
    assert await command("rotate", "--now") == 0
    changes = 6  # new key, publish, sign, deployed, withdraw, publish
    for number in range(1, changes + 1):
        before = cloud.ring().active
        left[0] = number
        with pytest.raises(Killed):
            await command("rotate", "--now")
        left[0] = 0
        assert await command("rotate", "--now") == 0
        ring = cloud.ring()
        assert ring.rotation is None
        assert ring.kids == [ring.active] == cloud.published()
        assert ring.active != before
        assert await accepts(token(ring, cloud))
    assert number == changes


async def test_an_answer_of_secret_manager_that_is_lost_adds_no_second_key(cloud: Cloud) -> None:
    assert await command("rotate") == 0
    cloud.faults.write({"secrets": {"AddSecretVersion": {"lose_answer": True}}})
    assert await command("rotate") == 1
    cloud.faults.write({})
    assert (cloud.versions(), len(cloud.ring().kids), len(cloud.published())) == (2, 2, 1)
    assert await command("rotate") == 0
    assert (cloud.versions(), cloud.published()) == (2, cloud.ring().kids)


async def test_secret_manager_that_is_away_is_said_and_changes_nothing(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    await begun(cloud)
    before = (cloud.versions(), cloud.published())
    cloud.faults.write({"secrets": {"ListSecretVersions": {"status": "PERMISSION_DENIED"}}})
    assert await command("rotate", "--now") == 1
    assert "Secret Manager refused (PermissionDenied)" in capsys.readouterr().err
    cloud.faults.write({})
    assert (cloud.versions(), cloud.published()) == before


async def test_an_answer_of_cloud_storage_that_is_lost_is_found_out_by_the_next_run(cloud: Cloud) -> None:
    cloud.use("object")
    assert await command("rotate") == 0
    cloud.storage.lose_answers = 1
    assert await command("rotate") == 1
    written = cloud.objects[OBJECT].generation
    assert await command("rotate") == 0
    assert cloud.objects[OBJECT].generation == written
    assert cloud.published() == cloud.ring().kids


# Side by side


@pytest.mark.parametrize("place", ["file", "object"])
async def test_what_somebody_else_published_meanwhile_is_not_overwritten(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    cloud.use(place)
    first, _ = await begun(cloud)
    stale = keys.open_rotation(lambda _: None)
    state = stale.state()
    assert await command("rotate", "--now") == 0
    after = cloud.published()
    with pytest.raises(publication.PublicationFailed, match="somebody else"):
        stale._publish(state)
    assert cloud.published() == after
    assert first.active not in after


@pytest.mark.parametrize("place", ["file", "object"])
async def test_runs_side_by_side_leave_one_keyring_and_its_publication(cloud: Cloud, place: str) -> None:
    cloud.use(place)
    assert await command("rotate") == 0
    codes = await asyncio.gather(*(command("rotate") for _ in range(4)))
    assert set(codes) <= {0, 1}
    assert await command("rotate") == 0
    ring = cloud.ring()
    assert len(ring.kids) == 2
    assert cloud.published() == ring.kids


# Where the documents lie


async def test_the_object_is_stored_as_verifiers_should_get_it(cloud: Cloud) -> None:
    cloud.use("object")
    await begun(cloud)
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(os.environ["JWKS_URL"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert all("d" not in key for key in answer.json()["keys"])
    assert answer.json() == tokens.public_jwks(cloud.text())
    # Credentials never travel to an address that is not Google's.
    assert [headers for _, headers in cloud.storage.seen if "authorization" in headers] == []


async def test_a_folder_of_a_bucket_may_be_named(cloud: Cloud) -> None:
    cloud.set(PUBLIC_FOLDER=f"gs://{cloud.name}/issuer/")
    assert await command("rotate") == 0
    assert list(cloud.objects) == [f"issuer/{OBJECT}"]


async def test_a_bucket_that_is_not_there_is_no_empty_publication(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.set(PUBLIC_FOLDER="gs://nowhere")
    assert await command("rotate") == 1
    assert "404 for gs://nowhere" in capsys.readouterr().err
    assert cloud.versions() == 0


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_cloud_storage_that_refuses_is_said(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    cloud.use("object")
    await begun(cloud)
    cloud.storage.answers = [status]
    assert await command("rotate") == 1
    assert f"Cloud Storage answered {status}" in capsys.readouterr().err


async def test_the_file_is_readable_by_the_server_that_serves_it(cloud: Cloud) -> None:
    await begun(cloud)
    file = cloud.folder / OBJECT
    assert file.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("address", ["", "public", "https://storage.test/x", "gs:/x", "file:", "file://other/x"])
async def test_an_address_that_is_neither_folder_nor_bucket_is_refused(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    cloud.set(PUBLIC_FOLDER=address)
    assert await command("status") == 2
    assert "PUBLIC_FOLDER" in capsys.readouterr().err


# What is said, and what is refused


async def test_the_status_tells_where_it_stands_and_no_private_key(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("status") == 0
    assert "`rotate` makes the first key" in capsys.readouterr().out
    first, second = await begun(cloud)
    capsys.readouterr()
    assert await command("status") == 0
    said = capsys.readouterr().out
    assert f"{first.active}  signs" in said
    assert f"{second.kids[1]}  does not sign" in said
    assert "then `rotate` adds the version that signs with it" in said
    for key in json.loads(cloud.text())["keys"]:
        assert key["d"] not in said + repr(cloud.ring())


@pytest.mark.parametrize(
    "text", ["", "{}", "secret", json.dumps({"active": "x", "keys": [{"kid": "x", "kty": "EC", "d": "hunter2"}]})]
)
async def test_a_version_that_is_no_keyring_stops_everything(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    await begun(cloud)
    published = cloud.published()
    cloud.add(text or " ")
    assert await command("rotate", "--now") == 1
    complaint = capsys.readouterr().err
    assert "cannot be used" in complaint
    assert "hunter2" not in complaint
    assert cloud.published() == published


def test_a_keyring_of_several_keys_that_says_nothing_of_a_rotation_is_left_alone() -> None:
    ring = Ring.first().with_new_key()
    unsaid = {name: value for name, value in ring.document.items() if name != "rotation"}
    with pytest.raises(RotationRefused, match="several keys"):
        Ring.read(json.dumps(unsaid))
    assert Ring.read(ring.text).document == ring.document
