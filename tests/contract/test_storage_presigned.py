"""A presigned URL opens exactly what was signed, and only in time: this object, this type, this length."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4
from xml.etree import ElementTree

import httpx
import pytest
from botocore.exceptions import ClientError

from shared.clients import storage
from shared.clients.storage import Presigned, object_key
from shared.runtime import clock
from shared.runtime.errors import NotFound
from tests.support.storage import BUCKET, KEYS, MAX_OBJECT_BYTES, Storage, pointed_at, running_storage

BODY = b"RIFF and what a recording is made of"
ORIGIN = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Storage]:
    async with running_storage(tmp_path_factory.mktemp("presigned")) as stand_in:
        with pointed_at(stand_in.environment):
            yield stand_in


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, headers={"origin": ORIGIN}, timeout=20) as client:
        yield client


@pytest.fixture
def key() -> str:
    return object_key(uuid4(), "uploads", "recording")


async def upload_url(key: str, size_bytes: int = len(BODY), **changes: Any) -> Presigned:
    wanted: dict[str, Any] = {"content_type": "audio/wav", "size_bytes": size_bytes, "expires_seconds": 600}
    return await storage.presign_put(key, **(wanted | changes))


async def stored(key: str) -> bytes | None:
    try:
        return await storage.get(key)
    except NotFound:
        return None


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/xml"
    return ElementTree.fromstring(answer.content).findtext("Code") or ""  # noqa: S314 - our own answer


async def test_the_signed_upload_is_taken(running: Storage, browser: httpx.AsyncClient, key: str) -> None:
    link = await upload_url(key)
    answer = await browser.put(link.url, headers=link.headers, content=BODY)
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] in {"*", ORIGIN}
    assert "etag" in answer.headers["access-control-expose-headers"].lower()
    found = await storage.head(key)
    assert (found.size_bytes, found.content_type) == (len(BODY), "audio/wav")
    assert await stored(key) == BODY


async def test_a_signed_url_reaches_an_object_of_any_name(running: Storage, browser: httpx.AsyncClient) -> None:
    key = object_key(uuid4(), "exports", "übel & gut+50%='~#? 你好.txt")
    link = await upload_url(key)
    assert (await browser.put(link.url, headers=link.headers, content=BODY)).status_code == 200
    assert (await browser.get(await storage.presign_get(key, expires_seconds=60))).content == BODY


async def test_urls_name_the_endpoint_that_browsers_reach(running: Storage, key: str) -> None:
    with pointed_at({**running.environment, "STORAGE_PUBLIC_ENDPOINT": "https://files.oprina.test/storage/v1/s3"}):
        link = await upload_url(key)
        await storage.put(key, BODY, content_type="audio/wav")
        assert await stored(key) == BODY
    assert link.url.startswith(f"https://files.oprina.test/storage/v1/s3/{BUCKET}/{key}?")


async def test_an_upload_may_be_repeated_while_its_time_lasts(
    running: Storage, browser: httpx.AsyncClient, key: str
) -> None:
    link = await upload_url(key)
    for _ in range(2):
        assert (await browser.put(link.url, headers=link.headers, content=BODY)).status_code == 200
    assert await stored(key) == BODY


@pytest.fixture
def later() -> Iterator[Any]:
    with clock.held(datetime.now(UTC)) as move:
        yield lambda seconds: move(datetime.now(UTC) + timedelta(seconds=seconds))


@pytest.mark.parametrize(("seconds", "status"), [(590, 200), (601, 403), (86_400, 403), (-1_000, 403)])
async def test_a_late_upload_is_refused(
    running: Storage, browser: httpx.AsyncClient, key: str, later: Any, seconds: int, status: int
) -> None:
    link = await upload_url(key)
    later(seconds)
    answer = await browser.put(link.url, headers=link.headers, content=BODY)
    assert answer.status_code == status
    assert (await stored_at_once(key, later)) == (BODY if status == 200 else None)
    if status != 200:
        assert code(answer) == "AccessDenied"


async def stored_at_once(key: str, later: Any) -> bytes | None:
    later(0)
    return await stored(key)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "text/html"}, BODY),
        ({}, BODY),
        ({"content-type": "audio/wav"}, BODY + b"!"),
        ({"content-type": "audio/wav"}, BODY[:-1]),
        ({"content-type": "audio/wav"}, b""),
        ({"content-type": "audio/wav"}, bytes(3_000_000)),
        ({"content-type": "audio/wav", "x-amz-acl": "public-read"}, BODY),
        ({"content-type": "audio/wav", "x-amz-meta-note": "unsigned"}, BODY),
    ],
    ids=["type", "no type", "longer", "shorter", "empty", "much longer", "unsigned acl", "unsigned metadata"],
)
async def test_another_body_or_header_than_the_signed_one_is_refused(
    running: Storage, browser: httpx.AsyncClient, key: str, headers: dict[str, str], body: bytes
) -> None:
    link = await upload_url(key)
    answer = await browser.put(link.url, headers=headers, content=body)
    assert answer.status_code == 403
    assert code(answer) in {"SignatureDoesNotMatch", "AccessDenied"}
    assert await stored(key) is None


async def test_a_body_that_ends_early_is_not_stored(running: Storage, key: str) -> None:
    link, before = await upload_url(key, size_bytes=100_000), running.bodies()
    address = urlsplit(link.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        "Content-Type: audio/wav\r\nContent-Length: 100000\r\n\r\n"
    )
    writer.write(head.encode() + bytes(50_000))
    writer.write_eof()
    await reader.read()
    writer.close()
    assert await stored(key) is None
    assert running.bodies() == before


async def test_a_body_without_a_length_is_refused(running: Storage, browser: httpx.AsyncClient, key: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield BODY

    link = await upload_url(key)
    answer = await browser.put(link.url, headers=link.headers, content=pieces())
    assert answer.status_code in {403, 411}
    assert await stored(key) is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST"])
async def test_a_signed_upload_allows_no_other_method(
    running: Storage, browser: httpx.AsyncClient, key: str, method: str
) -> None:
    link = await upload_url(key)
    await browser.put(link.url, headers=link.headers, content=BODY)
    assert (await browser.request(method, link.url)).status_code in {403, 501}
    assert await stored(key) == BODY


async def test_a_signed_download_allows_no_upload(running: Storage, browser: httpx.AsyncClient, key: str) -> None:
    await storage.put(key, BODY, content_type="audio/wav")
    url = await storage.presign_get(key, expires_seconds=60)
    assert (await browser.put(url, content=b"overwritten")).status_code == 403
    assert await stored(key) == BODY


async def test_no_other_object_can_be_reached_with_a_signed_url(
    running: Storage, browser: httpx.AsyncClient, key: str
) -> None:
    other = object_key(uuid4(), "uploads", "recording")
    await storage.put(other, b"another person's", content_type="audio/wav")
    link, url = await upload_url(key), await storage.presign_get(key, expires_seconds=60)
    for address in (url.replace(key, other), url.replace(key, quote(f"{key}/../../../{other}"))):
        assert (await browser.get(address)).status_code == 403
    answer = await browser.put(link.url.replace(key, other), headers=link.headers, content=BODY)
    assert (answer.status_code, code(answer)) == (403, "SignatureDoesNotMatch")
    assert await stored(other) == b"another person's"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("X-Amz-Expires", "604800", "SignatureDoesNotMatch"),
        ("X-Amz-Expires", "604801", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires", "-1", "AuthorizationQueryParametersError"),
        ("X-Amz-Date", "yesterday", "AccessDenied"),
        ("X-Amz-SignedHeaders", "content-length;content-type", "AccessDenied"),
        ("X-Amz-SignedHeaders", "host", "SignatureDoesNotMatch"),
        ("X-Amz-Signature", "0" * 64, "SignatureDoesNotMatch"),
        ("X-Amz-Credential", "somebody/20260101/us-central1/s3/aws4_request", "InvalidAccessKeyId"),
        ("X-Amz-Algorithm", "none", "AuthorizationQueryParametersError"),
    ],
)
async def test_a_changed_parameter_breaks_the_signature(
    running: Storage, browser: httpx.AsyncClient, key: str, name: str, value: str, expected: str
) -> None:
    link = await upload_url(key)
    url = httpx.URL(link.url).copy_set_param(name, value)
    answer = await browser.put(url, headers=link.headers, content=BODY)
    if name == "X-Amz-Date":
        assert answer.status_code in {400, 403}
    else:
        assert code(answer) == expected
    assert await stored(key) is None


async def test_without_a_signature_nothing_is_answered(running: Storage, browser: httpx.AsyncClient, key: str) -> None:
    await storage.put(key, BODY, content_type="audio/wav")
    bare = f"{running.url}/{BUCKET}/{key}"
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert (await browser.request(method, bare)).status_code == 403
    assert (await browser.get(f"{running.url}/{BUCKET}?list-type=2")).status_code == 403
    assert (await browser.get(f"{running.url}/")).status_code == 403
    assert (await browser.get(bare, headers={"authorization": "Bearer a.person.token"})).status_code == 400
    assert await stored(key) == BODY


async def test_a_download_has_the_name_and_type_that_were_signed(
    running: Storage, browser: httpx.AsyncClient, key: str
) -> None:
    await storage.put(key, BODY, content_type="application/octet-stream")
    name = 'Müller "Interview"; 100%.srt'
    url = await storage.presign_get(key, expires_seconds=60, filename=name, content_type="application/x-subrip")
    answer = await browser.get(url)
    assert answer.content == BODY
    assert answer.headers["content-type"] == "application/x-subrip"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"M_ller _Interview_; 100%.srt\"; filename*=UTF-8''" + quote(name, safe="")
    )
    assert (await browser.get(url.replace("x-subrip", "html"))).status_code == 403


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        ("bytes=0-3", 206, BODY[:4]),
        ("bytes=5-", 206, BODY[5:]),
        ("bytes=-4", 206, BODY[-4:]),
        ("bytes=-1000", 206, BODY),
        ("bytes=0-100000", 206, BODY),
        ("nonsense", 200, BODY),
        ("bytes=100000-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-3", 416, None),
    ],
)
async def test_a_player_may_ask_for_a_part(
    running: Storage, browser: httpx.AsyncClient, key: str, header: str, status: int, expected: bytes | None
) -> None:
    await storage.put(key, BODY, content_type="audio/wav")
    answer = await browser.get(await storage.presign_get(key, expires_seconds=60), headers={"range": header})
    assert answer.status_code == status
    if expected is not None:
        assert answer.content == expected
        assert int(answer.headers["content-length"]) == len(expected)


async def test_a_browser_may_ask_before_it_uploads(running: Storage, browser: httpx.AsyncClient, key: str) -> None:
    link = await upload_url(key)
    wish = {"access-control-request-method": "PUT", "access-control-request-headers": "content-type"}
    answer = await browser.options(link.url, headers=wish)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in {"*", ORIGIN}
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()


async def test_an_object_beyond_the_limit_is_refused_before_it_is_sent(
    running: Storage, browser: httpx.AsyncClient, key: str
) -> None:
    link, before = await upload_url(key, size_bytes=MAX_OBJECT_BYTES + 1), running.bodies()
    answer = await browser.put(link.url, headers=link.headers, content=bytes(MAX_OBJECT_BYTES + 1))
    assert (answer.status_code, code(answer)) == (400, "EntityTooLarge")
    assert running.bodies() == before


class TestHeaderSigned:
    async def put(self, running: Storage, key: str, **changes: str) -> Any:
        return await asyncio.to_thread(running.boto3(**changes).put_object, Bucket=BUCKET, Key=key, Body=BODY)

    async def refusal(self, running: Storage, key: str, **changes: str) -> str:
        with pytest.raises(ClientError) as refused:
            await self.put(running, key, **changes)
        return str(refused.value.response["Error"]["Code"])

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"aws_secret_access_key": "guessed"}, "SignatureDoesNotMatch"),
            ({"aws_access_key_id": "nobody"}, "InvalidAccessKeyId"),
            ({"region_name": "eu-west-1"}, "AuthorizationHeaderMalformed"),
        ],
    )
    async def test_other_keys_than_the_servers_open_nothing(
        self, running: Storage, key: str, changes: dict[str, str], expected: str
    ) -> None:
        assert await self.refusal(running, key, **changes) == expected
        assert await stored(key) is None

    async def test_a_clock_that_is_off_is_told(self, running: Storage, key: str, later: Any) -> None:
        later(16 * 60)
        assert await self.refusal(running, key) == "RequestTimeTooSkewed"

    async def test_a_body_that_was_changed_on_its_way_is_refused(
        self, running: Storage, browser: httpx.AsyncClient, key: str
    ) -> None:
        sent: list[Any] = []
        client = running.boto3()
        client.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request))
        await asyncio.to_thread(client.put_object, Bucket=BUCKET, Key=key, Body=BODY)
        headers = {name: _text(value) for name, value in sent[0].headers.items()}
        answer = await browser.put(sent[0].url, headers=headers, content=BODY[::-1])
        assert (answer.status_code, code(answer)) == (400, "XAmzContentSHA256Mismatch")
        assert await stored(key) == BODY

    async def test_another_bucket_is_not_there(self, running: Storage, key: str) -> None:
        with pytest.raises(ClientError) as refused:
            await asyncio.to_thread(running.boto3().get_object, Bucket="another", Key=key)
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"

    async def test_a_client_with_its_default_checksums_is_served(self, running: Storage, key: str) -> None:
        import boto3
        from botocore.config import Config

        keys = {"aws_access_key_id": KEYS.access_key_id, "aws_secret_access_key": KEYS.secret_access_key}
        plain = boto3.session.Session().client(
            "s3",
            endpoint_url=running.url,
            region_name=KEYS.region,
            config=Config(s3={"addressing_style": "path"}),
            **keys,
        )
        await asyncio.to_thread(plain.put_object, Bucket=BUCKET, Key=key, Body=BODY)
        assert await stored(key) == BODY


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_the_keys_first_part_is_its_owner() -> None:
    owner = UUID("01890000-0000-7000-8000-000000000000")
    assert object_key(owner, "uploads", "a") == "01890000-0000-7000-8000-000000000000/uploads/a"
