"""The storage stand-in answers as moto, an S3 of other people's making, wherever both know the operation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from tests.support.storage import BUCKET, KEYS, boto3_client, running_storage

KEYS_IN_BUCKET = ["a", "a/1", "a/2", "a/b/3", "a/b/4", "b", "c d+e%f", "übel/ß", "z/" + "k" * 900]
PART = 5 * 1024 * 1024


@dataclass(frozen=True)
class Both:
    """The stand-in and moto, filled alike."""

    ours: Any
    motos: Any

    async def answers(self, work: Callable[[Any], Any]) -> tuple[Any, Any]:
        """What each answers, or the code and status of its refusal."""
        first = await asyncio.to_thread(_outcome, self.ours, work)
        return first, await asyncio.to_thread(_outcome, self.motos, work)


def _outcome(client: Any, work: Callable[[Any], Any]) -> Any:
    try:
        return work(client)
    except ClientError as refused:
        return refused.response["Error"]["Code"], refused.response["ResponseMetadata"]["HTTPStatusCode"]


@contextlib.contextmanager
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    with moto() as motos:
        async with running_storage(tmp_path_factory.mktemp("as-s3")) as stand_in:
            pair = Both(stand_in.boto3(), boto3_client(motos))
            place = {"LocationConstraint": KEYS.region}
            await asyncio.to_thread(pair.motos.create_bucket, Bucket=BUCKET, CreateBucketConfiguration=place)
            await pair.answers(fill)
            yield pair


def fill(client: Any) -> None:
    for number, key in enumerate(KEYS_IN_BUCKET):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x" * number, ContentType="text/plain", Metadata={"n": "1"})


def listed(**options: Any) -> Callable[[Any], Any]:
    def work(client: Any) -> Any:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, **options)
        return [
            (
                [(each["Key"], each["Size"], each["ETag"]) for each in page.get("Contents", [])],
                [each["Prefix"] for each in page.get("CommonPrefixes", [])],
                page["KeyCount"],
                page["IsTruncated"],
            )
            for page in pages
        ]

    return work


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"Prefix": "a/"},
        {"Prefix": "a/b"},
        {"Prefix": "nothing"},
        {"Prefix": "ü"},
        {"Delimiter": "/"},
        {"Prefix": "a/", "Delimiter": "/"},
        {"StartAfter": "a/2"},
        {"PaginationConfig": {"PageSize": 2}},
        {"PaginationConfig": {"PageSize": 4}, "Prefix": "a"},
    ],
    ids=str,
)
async def test_lists_are_the_same(both: Both, options: dict[str, Any]) -> None:
    ours, motos = await both.answers(listed(**options))
    assert ours == motos


async def test_pages_of_common_prefixes_hold_each_prefix_once(both: Both) -> None:
    """moto repeats prefixes across pages; S3 does not."""
    ours, _ = await both.answers(listed(Delimiter="/", PaginationConfig={"PageSize": 1}))
    assert [prefix for page in ours for prefix in page[1]] == ["a/", "z/", "übel/"]
    assert [entry[0] for page in ours for entry in page[0]] == ["a", "b", "c d+e%f"]


def told(operation: str, *names: str, **parameters: Any) -> Callable[[Any], Any]:
    """Some members of an answer; a body is read."""

    def work(client: Any) -> Any:
        answer = getattr(client, operation)(Bucket=BUCKET, **parameters)
        if "Body" in answer:
            answer["Body"] = answer["Body"].read()
        return {name: answer.get(name) for name in names} | {"status": answer["ResponseMetadata"]["HTTPStatusCode"]}

    return work


@pytest.mark.parametrize(
    "work",
    [
        told("get_object", "Body", "ETag", "ContentLength", "ContentType", "Metadata", Key="übel/ß"),
        told("head_object", "ETag", "ContentLength", "ContentType", "Metadata", Key="c d+e%f"),
        told("get_object", "Body", "ContentRange", "ContentLength", Key="a/b/4", Range="bytes=1-2"),
        told("get_object", "Body", "ContentRange", "ContentLength", Key="a/b/4", Range="bytes=-1"),
        told("get_object", Key="a/b/4", Range="bytes=100-"),
        told("get_object", Key="missing"),
        told("head_object", Key="missing"),
        told("get_object", Key="a", IfMatch='"0123"'),
        told("head_object", Key="a/1", IfNoneMatch='"9dd4e461268c8034f5c8564e155c67a6"'),
        told("delete_object", Key="missing"),
        told("copy_object", CopySource=f"{BUCKET}/missing", Key="copy"),
        told("abort_multipart_upload", Key="a", UploadId="unknown"),
        told("list_parts", Key="a", UploadId="unknown"),
    ],
    ids=range(13),
)
async def test_answers_and_refusals_are_the_same(both: Both, work: Callable[[Any], Any]) -> None:
    ours, motos = await both.answers(work)
    assert ours == motos


def multipart(sizes: list[int], *, order: list[int] | None = None, etag: str | None = None) -> Callable[[Any], Any]:
    def work(client: Any) -> Any:
        named = {"Bucket": BUCKET, "Key": "multipart"}
        named["UploadId"] = client.create_multipart_upload(**named, ContentType="audio/wav")["UploadId"]
        parts = [
            {
                "PartNumber": number,
                "ETag": client.upload_part(**named, PartNumber=number, Body=bytes([number]) * size)["ETag"],
            }
            for number, size in enumerate(sizes, 1)
        ]
        seen = [(part["PartNumber"], part["Size"]) for part in client.list_parts(**named).get("Parts", [])]
        chosen = [parts[number - 1] | ({"ETag": etag} if etag else {}) for number in order or range(1, len(sizes) + 1)]
        done = client.complete_multipart_upload(**named, MultipartUpload={"Parts": chosen})
        found = client.head_object(Bucket=BUCKET, Key="multipart")
        return seen, done["ETag"], found["ContentLength"], found["ContentType"]

    return work


@pytest.mark.parametrize(
    "work",
    [
        multipart([10]),
        multipart([PART, PART, 3]),
        multipart([PART, 4, 3], order=[1, 3]),
        multipart([4, 3]),
        multipart([PART, 3], etag='"d41d8cd98f00b204e9800998ecf8427e"'),
    ],
    ids=["one", "three", "left out", "too small", "wrong tag"],
)
async def test_uploads_in_parts_end_the_same_way(both: Both, work: Callable[[Any], Any]) -> None:
    ours, motos = await both.answers(work)
    assert ours == motos


async def test_many_objects_are_deleted_at_once_and_their_keys_told(both: Both) -> None:
    def work(client: Any) -> Any:
        keys = [f"gone/{number}" for number in range(5)]
        for key in keys[:3]:
            client.put_object(Bucket=BUCKET, Key=key, Body=b"")
        wanted = {"Objects": [{"Key": key} for key in keys]}
        answer = client.delete_objects(Bucket=BUCKET, Delete=wanted)
        left = client.list_objects_v2(Bucket=BUCKET, Prefix="gone/")
        return sorted(each["Key"] for each in answer["Deleted"]), left["KeyCount"]

    ours, motos = await both.answers(work)
    assert ours == motos


async def test_a_copy_takes_the_type_along_or_gets_a_new_one(both: Both) -> None:
    def work(client: Any) -> Any:
        source = {"Bucket": BUCKET, "Key": "c d+e%f"}
        client.copy_object(Bucket=BUCKET, Key="copies/1", CopySource=source)
        client.copy_object(
            Bucket=BUCKET, Key="copies/2", CopySource=source, MetadataDirective="REPLACE", ContentType="audio/ogg"
        )
        heads = [client.head_object(Bucket=BUCKET, Key=f"copies/{number}") for number in (1, 2)]
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "copies/1"}, {"Key": "copies/2"}]})
        return [(head["ContentType"], head["ETag"], head["Metadata"]) for head in heads]

    ours, motos = await both.answers(work)
    assert ours == motos
