"""The Firestore stand-in, driven by Google's own clients: documents, writes, and what may not be written."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.cloud import firestore
from google.cloud.firestore_v1.types import document as document_types
from google.cloud.firestore_v1.types import write as write_types
from google.cloud.firestore_v1.vector import Vector

from tests.support.firestore import ROOT, SECONDS, Store, running_store

MAX_INTEGER = 2**63 - 1


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    async with running_store(tmp_path_factory.mktemp("documents")) as opened:
        yield opened


@pytest.fixture
def things(store: Store) -> Any:
    return store.collection("things")


async def stored(reference: Any) -> Any:
    return (await reference.get()).to_dict()


# reading and writing


async def test_every_type_comes_back_as_it_was_stored(store: Store, things: Any) -> None:
    values = {
        "null": None,
        "yes": True,
        "integer": -(2**63),
        "double": 1.5,
        "text": "Zoë 🎙",
        "bytes": b"\x00\xff",
        "moment": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
        "place": firestore.GeoPoint(47.4, 8.5),
        "reference": store.client.document("people/one"),
        "list": [1, "two", {"three": [3.0]}],
        "map": {"a": {"b": None}, "with.dot": 1},
        "vector": Vector([1.0, 2.0]),
    }
    await things.document("one").set(values)
    snapshot = await things.document("one").get()
    assert snapshot.to_dict() == values
    assert snapshot.create_time == snapshot.update_time


async def test_nanoseconds_are_rounded_down_to_microseconds(things: Any) -> None:
    fine = DatetimeWithNanoseconds(2026, 1, 2, tzinfo=UTC, nanosecond=123_456_789)  # type: ignore[no-untyped-call]
    await things.document("one").set({"at": fine})
    assert (await stored(things.document("one")))["at"].rfc3339() == "2026-01-02T00:00:00.123456Z"


async def test_what_is_missing_is_missing_and_what_is_deleted_is_gone(things: Any) -> None:
    one = things.document("one")
    assert not (await one.get()).exists
    await one.set({"a": 1})
    await one.delete()
    assert not (await one.get()).exists
    await one.delete()


async def test_a_mask_changes_only_what_it_names(things: Any) -> None:
    one = things.document("one")
    await one.set({"a": {"x": 1, "y": 2}, "b": 3})
    await one.update({"a.x": 10, "c`d.e": 5, "b": firestore.DELETE_FIELD})
    assert await stored(one) == {"a": {"x": 10, "y": 2}, "c`d": {"e": 5}}
    await one.set({"a": {"y": 20}}, merge=True)
    assert await stored(one) == {"a": {"x": 10, "y": 20}, "c`d": {"e": 5}}
    await one.set({"a": {"y": 21}}, merge=["a"])
    assert await stored(one) == {"a": {"y": 21}, "c`d": {"e": 5}}


async def test_reads_show_the_fields_that_were_asked_for(store: Store, things: Any) -> None:
    await things.document("one").set({"a": {"x": 1, "y": 2}, "b": 3})
    snapshot = await things.document("one").get(field_paths=["a.x", "missing"])
    assert snapshot.to_dict() == {"a": {"x": 1}}


async def test_many_are_read_at_one_moment_each_once(store: Store, things: Any) -> None:
    await things.document("one").set({"a": 1})
    wanted = [things.document("one"), things.document("two"), things.document("one")]
    found = [snapshot async for snapshot in store.client.get_all(wanted)]
    assert sorted((snapshot.id, snapshot.exists) for snapshot in found) == [("one", True), ("two", False)]
    assert len({snapshot.read_time for snapshot in found}) == 1


async def test_a_write_that_changes_nothing_keeps_the_update_time(things: Any) -> None:
    one = things.document("one")
    first = await one.set({"a": 1})
    assert (await one.set({"a": 1})).update_time == first.update_time
    assert (await one.get()).update_time == first.update_time
    assert (await one.set({"a": 2})).update_time > first.update_time


# preconditions


async def test_only_one_creates(things: Any) -> None:
    await things.document("one").create({"a": 1})
    with pytest.raises(exceptions.AlreadyExists):
        await things.document("one").create({"a": 2})
    assert await stored(things.document("one")) == {"a": 1}


async def test_updating_needs_a_document(things: Any) -> None:
    with pytest.raises(exceptions.NotFound, match="No document to update"):
        await things.document("none").update({"a": 1})


async def test_an_update_time_must_be_the_last_one(store: Store, things: Any) -> None:
    one = things.document("one")
    first = (await one.set({"a": 1})).update_time
    last = (await one.set({"a": 2})).update_time
    stale = store.client.write_option(last_update_time=first)
    with pytest.raises(exceptions.FailedPrecondition):
        await one.update({"a": 3}, option=stale)
    with pytest.raises(exceptions.FailedPrecondition):
        await one.delete(option=stale)
    await one.update({"a": 3}, option=store.client.write_option(last_update_time=last))
    with pytest.raises(exceptions.NotFound):
        await things.document("none").delete(option=stale)
    with pytest.raises(exceptions.NotFound):
        await things.document("none").delete(option=store.client.write_option(exists=True))


# transforms


async def test_transforms_reckon_on_the_server(things: Any) -> None:
    one = things.document("one")
    await one.set({"n": 1, "d": 1.5, "text": "x", "list": [1, 2, 2, "x"], "top": MAX_INTEGER, "low": 3, "high": 3})
    await one.update(
        {
            "n": firestore.Increment(2),
            "d": firestore.Increment(1),
            "text": firestore.Increment(7),
            "new": firestore.Increment(-1),
            "top": firestore.Increment(5),
            "low": firestore.Minimum(2.5),
            "high": firestore.Maximum(2),
            "at": firestore.SERVER_TIMESTAMP,
            "also": firestore.SERVER_TIMESTAMP,
            "list": firestore.ArrayUnion([2.0, "y", "y"]),
        }
    )
    after = await stored(one)
    assert after.pop("at") == after.pop("also")
    assert after == {
        "n": 3, "d": 2.5, "text": 7, "new": -1, "top": MAX_INTEGER, "low": 2.5, "high": 3, "list": [1, 2, 2, "x", "y"],
    }  # fmt: skip
    assert isinstance(after["text"], int)
    await one.update({"list": firestore.ArrayRemove([2]), "text": firestore.ArrayRemove([1])})
    assert (await stored(one))["list"] == [1, "x", "y"]
    assert (await stored(one))["text"] == []


async def test_equal_operands_and_nan_follow_the_rules_of_maximum_and_minimum(things: Any) -> None:
    one = things.document("one")
    await one.set({"same": 3, "nan": 1, "low": -(2**63)})
    await one.update(
        {"same": firestore.Maximum(3.0), "nan": firestore.Minimum(math.nan), "low": firestore.Increment(-1)}
    )
    after = await stored(one)
    assert isinstance(after["same"], int)
    assert math.isnan(after["nan"])
    assert after["low"] == -(2**63)


async def test_a_transform_alone_makes_a_document_and_its_result_is_told(store: Store, things: Any) -> None:
    name = f"{ROOT}/documents/{things.id}/one"
    write = write_types.Write(
        {
            "transform": {
                "document": name,
                "field_transforms": [
                    {"field_path": "n", "increment": {"integer_value": 4}},
                    {"field_path": "n", "increment": {"integer_value": 4}},
                    {"field_path": "tags", "append_missing_elements": {"values": [{"string_value": "a"}]}},
                ],
            }
        }
    )
    answer = await store.api.commit(request={"database": ROOT, "writes": [write]}, timeout=SECONDS)
    results = answer.write_results[0].transform_results
    assert [result.integer_value for result in results[:2]] == [4, 8]
    assert "null_value" in results[2]
    assert await stored(things.document("one")) == {"n": 8, "tags": ["a"]}


# several writes


async def test_a_batch_is_done_as_a_whole_or_not_at_all(store: Store, things: Any) -> None:
    batch = store.client.batch()
    batch.set(things.document("one"), {"a": 1})
    batch.update(things.document("none"), {"a": 1})
    batch.set(things.document("two"), {"a": 1})
    with pytest.raises(exceptions.NotFound):
        await batch.commit()
    assert [snapshot async for snapshot in things.stream()] == []


async def test_writes_of_a_batch_see_the_ones_before_them(store: Store, things: Any) -> None:
    batch = store.client.batch()
    one = things.document("one")
    batch.create(one, {"a": 1})
    batch.update(one, {"b": firestore.Increment(2)})
    batch.delete(one)
    batch.create(one, {"c": 3})
    await batch.commit()
    assert await stored(one) == {"c": 3}


async def test_more_than_five_hundred_writes_are_one_commit(store: Store, things: Any) -> None:
    batch = store.client.batch()
    for number in range(600):
        batch.set(things.document(str(number)), {"n": number})
    await batch.commit()
    assert len([reference async for reference in things.list_documents(page_size=250)]) == 600


async def test_a_bulk_writer_is_told_of_each_write_by_itself(store: Store, things: Any) -> None:
    await things.document("taken").set({"a": 1})
    failed: list[str] = []

    def give_up(failure: Any, _: Any) -> bool:
        failed.append(failure.operation.reference.id)
        return False

    def work(client: Any) -> None:
        writer = client.bulk_writer()
        writer.on_write_error(give_up)
        collection = client.collection(things.id)
        for name in ("one", "taken", "two"):
            writer.create(collection.document(name), {"a": 2})
        writer.close()

    await store.in_thread(work)
    assert failed == ["taken"]
    assert {snapshot.id: snapshot.to_dict()["a"] async for snapshot in things.stream()} == {
        "one": 2,
        "taken": 1,
        "two": 2,
    }


async def test_a_batch_write_takes_each_document_once(store: Store, things: Any) -> None:
    write = {"delete": f"{ROOT}/documents/{things.id}/one"}
    with pytest.raises(exceptions.InvalidArgument, match="more than once"):
        await store.api.batch_write(request={"database": ROOT, "writes": [write, write]}, timeout=SECONDS)


async def test_a_verified_precondition_guards_the_other_writes(store: Store, things: Any) -> None:
    """Clients of other languages send Write.verify, which the Python types leave out (field 5)."""
    name = f"{ROOT}/documents/{things.id}/guard".encode()
    guard = write_types.Write.pb()()
    guard.ParseFromString(b"\x2a" + bytes([len(name)]) + name)
    guard.current_document.exists = True
    other = {"update": {"name": f"{ROOT}/documents/{things.id}/one"}}
    request = {"database": ROOT, "writes": [write_types.Write.wrap(guard), write_types.Write(other)]}
    with pytest.raises(exceptions.NotFound):
        await store.api.commit(request=request, timeout=SECONDS)
    assert not (await things.document("one").get()).exists
    await things.document("guard").set({})
    await store.api.commit(request=request, timeout=SECONDS)
    assert (await things.document("one").get()).exists


# the plain methods of the interface


async def test_the_plain_methods_do_what_the_friendly_ones_do(store: Store, things: Any) -> None:
    parent = f"{ROOT}/documents"
    fields = {"a": document_types.Value(integer_value=1), "b": document_types.Value(integer_value=2)}
    made = await store.api.create_document(
        request={"parent": parent, "collection_id": things.id, "document_id": "one", "document": {"fields": fields}},
        timeout=SECONDS,
    )
    assert made.name == f"{parent}/{things.id}/one"
    with pytest.raises(exceptions.AlreadyExists):
        await store.api.create_document(
            request={"parent": parent, "collection_id": things.id, "document_id": "one"}, timeout=SECONDS
        )
    named = await store.api.create_document(request={"parent": parent, "collection_id": things.id}, timeout=SECONDS)
    assert len(named.name.rpartition("/")[2]) == 20
    changed = await store.api.update_document(
        request={
            "document": {"name": made.name, "fields": {"a": document_types.Value(integer_value=5)}},
            "update_mask": {"field_paths": ["a"]},
            "mask": {"field_paths": ["b"]},
        },
        timeout=SECONDS,
    )
    assert list(changed.fields) == ["b"]
    read = await store.api.get_document(request={"name": made.name, "mask": {"field_paths": ["a"]}}, timeout=SECONDS)
    assert read.fields["a"].integer_value == 5
    await store.api.delete_document(request={"name": made.name}, timeout=SECONDS)
    with pytest.raises(exceptions.NotFound):
        await store.api.get_document(request={"name": made.name}, timeout=SECONDS)


async def test_documents_are_listed_in_pages_that_hold_while_others_come(store: Store, things: Any) -> None:
    for name in "abcde":
        await things.document(name).set({"n": ord(name), "m": 0})
    request = {
        "parent": f"{ROOT}/documents",
        "collection_id": things.id,
        "page_size": 2,
        "mask": {"field_paths": ["n"]},
    }
    first = await store.api.list_documents(request=request, timeout=SECONDS)
    page = await anext(aiter(first.pages))
    assert [list(document.fields) for document in page.documents] == [["n"], ["n"]]
    await things.document("aa").set({})
    await things.document("cc").set({})
    rest = await store.api.list_documents(request=request | {"page_token": page.next_page_token}, timeout=SECONDS)
    assert [document.name.rpartition("/")[2] async for document in rest] == ["c", "cc", "d", "e"]
    ordered = await store.api.list_documents(request=request | {"order_by": "n desc"}, timeout=SECONDS)
    assert [document.name.rpartition("/")[2] async for document in ordered] == ["e", "d", "c", "b", "a"]
    for wrong in ({"page_token": "mine"}, {"page_size": -1}, {"order_by": "n down"}, {"collection_id": "a/b"}):
        with pytest.raises(exceptions.InvalidArgument):
            await store.api.list_documents(request=request | wrong, timeout=SECONDS)


async def test_documents_that_are_missing_above_others_are_shown_when_asked(store: Store, things: Any) -> None:
    await things.document("ghost").collection("parts").document("one").set({"a": 1})
    await things.document("real").set({"a": 1})
    assert [reference.id async for reference in things.list_documents()] == ["ghost", "real"]
    assert [snapshot.id async for snapshot in things.stream()] == ["real"]


async def test_collections_are_listed_at_every_level(store: Store, things: Any) -> None:
    await things.document("a").collection("x").document("1").collection("deep").document("1").set({})
    await things.document("a").collection("b").document("1").set({})
    assert [collection.id async for collection in things.document("a").collections()] == ["b", "x"]
    assert things.id in [collection.id async for collection in store.client.collections()]
    first = await store.api.list_collection_ids(
        request={"parent": f"{ROOT}/documents/{things.id}/a", "page_size": 1}, timeout=SECONDS
    )
    assert [identifier async for identifier in first] == ["b", "x"]


async def test_a_document_is_deleted_with_everything_below_it(store: Store, things: Any) -> None:
    for number in range(3):
        await things.document("a").collection("x").document(str(number)).set({})
    await things.document("a").set({})
    await things.document("b").set({})
    # the asynchronous client's own blocks the loop that serves it here
    deleted = await store.in_thread(lambda client: client.recursive_delete(client.document(f"{things.id}/a")))
    assert deleted == 4
    assert [reference.id async for reference in things.list_documents()] == ["b"]


async def test_what_is_not_served_is_refused_in_words(store: Store) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="ExecutePipeline"):
        await store.api.execute_pipeline(request={"database": ROOT}, timeout=SECONDS)
