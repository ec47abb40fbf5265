"""The Firestore stand-in refuses what Firestore cannot store, at the documented limits and not before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.api_core import exceptions

from tests.support.firestore import ROOT, SECONDS, Store, running_store


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    async with running_store(tmp_path_factory.mktemp("limits")) as opened:
        yield opened


@pytest.fixture
def things(store: Store) -> Any:
    return store.collection("things")


async def test_the_size_of_a_document_is_the_documented_one(store: Store) -> None:
    """1,048,576 bytes: the name, 32 bytes, and for each field its name and its value."""
    sized = store.client.collection("sized").document("d")
    name = (len("sized") + 1) + (len("d") + 1) + 16
    room = 1_048_576 - name - 32
    first, second = 1_000_000, room - 1_000_000 - 4 - 2
    await sized.set({"a": "x" * first, "b": "x" * second})
    with pytest.raises(exceptions.InvalidArgument, match="1,048,577 bytes"):
        await sized.set({"a": "x" * first, "b": "x" * (second + 1)})
    with pytest.raises(exceptions.InvalidArgument, match="longer than 1048487 bytes"):
        await sized.set({"a": b"x" * 1_048_488})


def nested(depth: int) -> Any:
    return {"m": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"__reserved__": 1}, "reserved"),
        ({"a": {"__x__": 1}}, "reserved"),
        ({"x" * 1501: 1}, "1500 bytes"),
        ({"a": [[1]]}, "nested entity"),
        (nested(22), "20 deep"),
        ({f"f{number}": number for number in range(20_001)}, "too many index entries"),
    ],
)
async def test_documents_that_cannot_be_stored_are_refused(things: Any, data: dict[str, Any], said: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=said):
        await things.document("one").set(data)
    assert not (await things.document("one").get()).exists


async def test_documents_at_the_limits_are_stored(things: Any) -> None:
    await things.document("x" * 1500).set(nested(21))
    await things.document("__id12__").set({f"f{number}": number for number in range(20_000)})


@pytest.mark.parametrize("path", ["__x__", ".", "..", "x" * 1501])
async def test_documents_with_names_that_are_not_allowed_are_refused(store: Store, path: str) -> None:
    for name in (f"{ROOT}/documents/things/{path}", f"{ROOT}/documents/{path}/one"):
        with pytest.raises(exceptions.InvalidArgument):
            await store.api.get_document(request={"name": name}, timeout=SECONDS)


@pytest.mark.parametrize(
    "name", ["things/one", f"{ROOT}/documents/things", f"{ROOT}/documents//x", f"{ROOT}/documents"]
)
async def test_names_that_are_not_those_of_documents_are_refused(store: Store, name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await store.api.get_document(request={"name": name}, timeout=SECONDS)


@pytest.mark.parametrize("path", ["a-b", "a..b", ".a", "a.", "`a", "`a`b", "1a", "", "__x__", "__name__", "a.__y__.b"])
async def test_field_paths_that_cannot_be_read_are_refused(store: Store, things: Any, path: str) -> None:
    write = {"update": {"name": f"{ROOT}/documents/{things.id}/one"}, "update_mask": {"field_paths": [path]}}
    with pytest.raises(exceptions.InvalidArgument):
        await store.api.commit(request={"database": ROOT, "writes": [write]}, timeout=SECONDS)


async def test_five_hundred_transforms_of_a_document_are_enough(store: Store, things: Any) -> None:
    def writes(count: int) -> list[dict[str, Any]]:
        transforms = [{"field_path": "n", "increment": {"integer_value": 1}}] * count
        return [{"update": {"name": f"{ROOT}/documents/{things.id}/one"}, "update_transforms": transforms}]

    with pytest.raises(exceptions.InvalidArgument, match="500 field transformations"):
        await store.api.commit(request={"database": ROOT, "writes": writes(250) + writes(251)}, timeout=SECONDS)
    await store.api.commit(request={"database": ROOT, "writes": writes(250)}, timeout=SECONDS)
    assert (await things.document("one").get()).to_dict() == {"n": 250}


async def test_a_request_of_more_than_ten_mebibytes_is_refused(store: Store, things: Any) -> None:
    batch = store.client.batch()
    for number in range(11):
        batch.set(things.document(str(number)), {"a": b"x" * 1_000_000})
    with pytest.raises(exceptions.InvalidArgument, match="payload size"):
        await batch.commit()


@pytest.mark.parametrize(
    "write",
    [
        {},
        {"delete": "NAME", "update_mask": {"field_paths": ["a"]}},
        {"transform": {"document": "NAME"}},
        {"transform": {"document": "NAME", "field_transforms": [{"field_path": "a"}]}},
        {
            "transform": {
                "document": "NAME",
                "field_transforms": [{"field_path": "a", "increment": {"boolean_value": True}}],
            }
        },
        {"delete": "projects/other/databases/(default)/documents/a/b"},
        {"delete": "NAME", "current_document": {"update_time": {"nanos": 1}}},
    ],
)
async def test_writes_that_make_no_sense_are_refused(store: Store, things: Any, write: dict[str, Any]) -> None:
    name = f"{ROOT}/documents/{things.id}/one"

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: filled(value) for key, value in part.items()}
        return name if part == "NAME" else part

    with pytest.raises(exceptions.InvalidArgument):
        await store.api.commit(request={"database": ROOT, "writes": [filled(write)]}, timeout=SECONDS)
