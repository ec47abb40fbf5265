"""The Firestore stand-in refuses queries that production would refuse for want of an index, and names the index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1 import FieldFilter, Or

from local.firestore.indexes import IndexBook
from local.firestore.server import INDEXES_FILE
from tests.support.firestore import running_store

ASC, DESC, CONTAINS = "ASCENDING", "DESCENDING", "CONTAINS"


def index(*fields: tuple[str, str], group: str = "c", scope: str = "COLLECTION") -> dict[str, Any]:
    parts = [{"fieldPath": path, "arrayConfig" if mode == CONTAINS else "order": mode} for path, mode in fields]
    return {"collectionGroup": group, "queryScope": scope, "fields": parts}


def override(path: str, *modes: str, group: str = "c", scope: str = "COLLECTION") -> dict[str, Any]:
    single = [{"arrayConfig" if mode == CONTAINS else "order": mode, "queryScope": scope} for mode in modes]
    return {"collectionGroup": group, "fieldPath": path, "indexes": single}


def where(query: Any, *conditions: tuple[str, str, Any]) -> Any:
    for path, operator, value in conditions:
        query = query.where(filter=FieldFilter(path, operator, value))
    return query


A, B, TAG = ("a", "==", 1), ("b", "==", 1), ("tags", "array_contains", "x")
RANGE = ("n", ">", 1)

# what the automatic indexes answer alone
AUTOMATIC = {
    "everything": lambda c: c,
    "one equality": lambda c: where(c, A),
    "equalities, merged": lambda c: where(c, A, B, ("d.e", "==", 1)),
    "equalities and an element, merged": lambda c: where(c, A, TAG),
    "in": lambda c: where(c, ("a", "in", [1, 2]), B),
    "a range": lambda c: where(c, RANGE, ("n", "<", 5)),
    "a range in its order": lambda c: where(c, RANGE).order_by("n", direction=DESC),
    "not equal": lambda c: where(c, ("a", "!=", 1)),
    "an order": lambda c: c.order_by("a"),
    "an order by a field with one value": lambda c: where(c, A).order_by("a"),
    "or": lambda c: c.where(filter=Or([FieldFilter(*A), FieldFilter(*B), FieldFilter(*TAG)])),
    "the name, downwards, after an equality": lambda c: where(c, A).order_by("__name__", direction=DESC),
    "a sum": lambda c: c.sum("n"),
    "a count": lambda c: where(c, A, B).count(),
}


@pytest.mark.parametrize("query", AUTOMATIC.values(), ids=AUTOMATIC.keys())
async def test_what_automatic_indexes_answer_needs_no_other(tmp_path: Path, query: Any) -> None:
    async with running_store(tmp_path) as store:
        await query(store.client.collection("c")).get()


# a query, what it lacks as the refusal writes it, and other declarations that answer it as well
LACKING: dict[str, tuple[Any, dict[str, Any], list[list[dict[str, Any]]]]] = {
    "equality and range": (
        lambda c: where(c, A, RANGE),
        index(("a", ASC), ("n", ASC)),
        [[index(("a", DESC), ("n", ASC))], [index(("a", ASC), ("n", ASC), ("__name__", ASC))]],
    ),
    "equality and order": (
        lambda c: where(c, A).order_by("n", direction=DESC),
        index(("a", ASC), ("n", DESC)),
        [],
    ),
    "equalities and order": (
        lambda c: where(c, A, B).order_by("n"),
        index(("a", ASC), ("b", ASC), ("n", ASC)),
        [
            [index(("b", ASC), ("a", ASC), ("n", ASC))],
            [index(("a", ASC), ("n", ASC)), index(("b", ASC), ("n", ASC))],
        ],
    ),
    "two orders": (
        lambda c: c.order_by("a").order_by("b", direction=DESC),
        index(("a", ASC), ("b", DESC)),
        [],
    ),
    "two ranges": (lambda c: where(c, RANGE, ("a", ">", 1)), index(("a", ASC), ("n", ASC)), []),
    "an element and an order": (
        lambda c: where(c, TAG).order_by("n"),
        index(("tags", CONTAINS), ("n", ASC)),
        [],
    ),
    "the name in another direction": (
        lambda c: c.order_by("n").order_by("__name__", direction=DESC),
        index(("n", ASC), ("__name__", DESC)),
        [],
    ),
    "a sum of what is filtered": (lambda c: where(c, A).sum("n"), index(("a", ASC), ("n", ASC)), []),
    "in and order": (lambda c: where(c, ("a", "in", [1, 2])).order_by("n"), index(("a", ASC), ("n", ASC)), []),
    "one side of or": (
        lambda c: where(c, ("n", "==", 1)).where(filter=Or([FieldFilter("n", "==", 1), FieldFilter("a", ">", 1)])),
        index(("n", ASC), ("a", ASC)),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("query", "lacking", "others"), LACKING.values(), ids=LACKING.keys())
async def test_a_missing_index_is_named_and_answers_once_it_is_declared(
    tmp_path: Path, query: Any, lacking: dict[str, Any], others: list[list[dict[str, Any]]]
) -> None:
    file = tmp_path / "indexes.json"
    async with running_store(tmp_path) as store:
        collection = store.client.collection("c")
        with pytest.raises(exceptions.FailedPrecondition, match="The query requires an index") as refused:
            await query(collection).get()
        assert json.dumps(lacking) in refused.value.message
        for declared in ([lacking], *others):
            file.write_text(json.dumps({"indexes": declared}))
            await query(collection).get()
            file.write_text(json.dumps({"indexes": [{**item, "collectionGroup": "other"} for item in declared]}))
            with pytest.raises(exceptions.FailedPrecondition):
                await query(collection).get()


async def test_an_index_in_the_other_direction_answers_nothing(tmp_path: Path) -> None:
    wrong = {"indexes": [index(("a", DESC), ("b", ASC)), index(("b", DESC), ("a", ASC))]}
    async with running_store(tmp_path, indexes=wrong) as store:
        with pytest.raises(exceptions.FailedPrecondition):
            await store.client.collection("c").order_by("a").order_by("b", direction=DESC).get()


async def test_groups_need_indexes_of_their_own_scope(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        group = store.client.collection_group("c")
        await group.get()
        with pytest.raises(exceptions.FailedPrecondition, match=r"COLLECTION_GROUP_ASC index .* c and field a"):
            await where(group, A).get()
        (tmp_path / "indexes.json").write_text(
            json.dumps({"fieldOverrides": [override("a", ASC, scope="COLLECTION_GROUP")]})
        )
        await where(group, A).get()
        with pytest.raises(exceptions.FailedPrecondition, match="COLLECTION_ASC"):
            await where(store.client.collection("c"), A).get()


async def test_an_exempted_field_cannot_be_asked_for(tmp_path: Path) -> None:
    every = override("*", DESC, group="d")
    exempted = {"fieldOverrides": [override("a"), override("m"), override("m.kept", ASC), every]}
    async with running_store(tmp_path, indexes=exempted) as store:
        c, d = store.client.collection("c"), store.client.collection("d")
        for query in (where(c, A), c.order_by("a"), where(c, ("m.x", "==", 1)), where(d, A), where(d, TAG)):
            with pytest.raises(exceptions.FailedPrecondition, match="index for collection"):
                await query.get()
        for query in (where(c, B), where(c, ("m.kept", "==", 1)), d.order_by("x", direction=DESC)):
            await query.get()
        await c.document("one").set({"a": 1})
        assert (await c.document("one").get()).exists


async def test_what_is_not_indexed_has_no_index_entries(tmp_path: Path) -> None:
    large = {"m": {f"f{number}": number for number in range(21_000)}}
    async with running_store(tmp_path, indexes={"fieldOverrides": [override("m")]}) as store:
        await store.client.document("c/one").set(large)
        with pytest.raises(exceptions.InvalidArgument, match="too many index entries"):
            await store.client.document("d/one").set(large)


def test_the_products_own_file_can_be_read() -> None:
    assert INDEXES_FILE.exists()
    IndexBook(INDEXES_FILE).current()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"indexes": [{"collectionGroup": "c", "fields": []}]}', "indexes.0.fields"),
        ('{"indexes": [{"collectionGroup": "c", "fields": [{"fieldPath": "a"}, {"fieldPath": "b"}]}]}', "an order or"),
        ('{"index": []}', "index"),
        ("{", "Invalid JSON"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_and_changes_nothing_later(
    tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "indexes.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=said):
        IndexBook(file)
    file.write_text(json.dumps({"fieldOverrides": [{"collectionGroup": "c", "fieldPath": "expires_at", "ttl": True}]}))
    book = IndexBook(file)
    file.write_text(content)
    assert book.current().expiring == {"c": ("expires_at",)}
    file.unlink()
    assert book.current().expiring == {}
