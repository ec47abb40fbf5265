"""The Firestore stand-in finds what a plain model of Firestore's rules finds, for documents and queries at random."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cmp_to_key
from typing import Any

import pytest
from google.cloud.firestore_v1 import And, FieldFilter, GeoPoint, Or
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.support.firestore import Store, running_store

ASC, DESC = "ASCENDING", "DESCENDING"
FIELDS = ("a", "b")


def declared(*parts: tuple[str, str]) -> dict[str, Any]:
    fields = [{"fieldPath": path, "order": order} for path, order in parts]
    return {"collectionGroup": "model", "queryScope": "COLLECTION", "fields": fields}


INDEXES = {
    "indexes": [
        declared((first, one), (second, two), ("__name__", name))
        for first, second in (("a", "b"), ("b", "a"))
        for one in (ASC, DESC)
        for two in (ASC, DESC)
        for name in (ASC, DESC)
    ]
    + [declared((path, order), ("__name__", name)) for path in FIELDS for order in (ASC, DESC) for name in (ASC, DESC)]
}

scalars = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(-3, 3),
    some.sampled_from([0.5, -0.0, 2.0, math.nan, math.inf, 2.0**53, 2**53 + 1]),
    some.sampled_from(["", "a", "b", "é", "\U0001f399", "\uffff"]),
    some.sampled_from([b"", b"a"]),
    some.sampled_from([datetime(2026, 1, 1, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC)]),
    some.sampled_from([GeoPoint(0, 1), GeoPoint(0, -1)]),
)
values = some.one_of(
    scalars, some.lists(scalars, max_size=2), some.dictionaries(some.sampled_from("xy"), scalars, max_size=2)
)
documents = some.lists(some.dictionaries(some.sampled_from(FIELDS), values), max_size=7)
RANGES = ("<", "<=", ">", ">=")
INEQUALITIES = {*RANGES, "!=", "not-in"}
# Lists of values that may be null or NaN are left out: the client sends those as filters of another kind.
plain = some.one_of(some.integers(-3, 3), some.sampled_from(["a", "b", True, 0.5, 2.0]))
lists = some.lists(plain, min_size=1, max_size=4)
conditions = some.one_of(
    some.tuples(some.sampled_from(FIELDS), some.sampled_from(("==", "!=")), values),
    some.tuples(some.sampled_from(FIELDS), some.sampled_from(RANGES), plain),
    some.tuples(some.sampled_from(FIELDS), some.sampled_from(("in", "not-in", "array_contains_any")), lists),
    some.tuples(some.sampled_from(FIELDS), some.just("array_contains"), plain),
)  # fmt: skip


# the model: values compared by type and then by value, as the documents say, on Python's own objects


def rank(value: Any) -> int:
    kinds: list[tuple[type | tuple[type, ...], int]] = [
        (type(None), 0), (bool, 1), ((int, float), 2), (datetime, 3), (str, 4), (bytes, 5), (GeoPoint, 7), (list, 8),
        (dict, 9),
    ]  # fmt: skip
    return next(number for kind, number in kinds if isinstance(value, kind))


def compared(one: Any, two: Any) -> int:
    if rank(one) != rank(two):
        return -1 if rank(one) < rank(two) else 1
    if isinstance(one, list):
        return by_parts(one, two)
    if isinstance(one, dict):
        return by_parts([part for name in sorted(one) for part in (name, one[name])],
                        [part for name in sorted(two) for part in (name, two[name])])  # fmt: skip
    if isinstance(one, float) and math.isnan(one):
        return 0 if isinstance(two, float) and math.isnan(two) else -1
    if isinstance(two, float) and math.isnan(two):
        return 1
    if isinstance(one, str):
        one, two = one.encode(), two.encode()
    if isinstance(one, GeoPoint):
        one, two = (one.latitude, one.longitude), (two.latitude, two.longitude)
    if one is None or one == two:
        return 0
    return -1 if one < two else 1


def by_parts(one: list[Any], two: list[Any]) -> int:
    for left, right in zip(one, two, strict=False):
        if different := compared(left, right):
            return different
    return (len(one) > len(two)) - (len(one) < len(two))


def holds(condition: tuple[str, str, Any], document: dict[str, Any]) -> bool:
    path, operator, given_value = condition
    if path not in document:
        return False
    held = document[path]

    def same(other: Any) -> bool:
        return compared(held, other) == 0

    match operator:
        case "==":
            return same(given_value)
        case "!=":
            return held is not None and not same(given_value)
        case "in":
            return any(same(other) for other in given_value)
        case "not-in":
            return held is not None and not any(same(other) for other in given_value)
        case "array_contains" | "array_contains_any":
            wanted = given_value if operator.endswith("any") else [given_value]
            return isinstance(held, list) and any(compared(item, other) == 0 for item in held for other in wanted)
    if rank(held) != rank(given_value):
        return False
    side = compared(held, given_value)
    return {"<": side < 0, "<=": side <= 0, ">": side > 0, ">=": side >= 0}[operator]


def ordered(found: dict[str, dict[str, Any]], orders: list[tuple[str, str]], last: str) -> list[str]:
    """The ids of documents that have every field ordered by, in the order, ties by their names."""

    def side(one: str, two: str) -> int:
        for path, direction in orders:
            if different := compared(found[one][path], found[two][path]):
                return different if direction == ASC else -different
        return (-1 if one < two else 1) * (1 if last == ASC else -1)

    complete = [name for name, document in found.items() if all(path in document for path, _ in orders)]
    return sorted(complete, key=cmp_to_key(side))


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    async with running_store(tmp_path_factory.mktemp("model"), indexes=INDEXES) as opened:
        yield opened


EXAMPLES = settings(max_examples=250, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def with_documents(client: Any, number: int, stored: list[dict[str, Any]]) -> tuple[Any, dict[str, dict[str, Any]]]:
    collection = client.collection(f"runs/{number}/model")
    batch = client.batch()
    by_id = {f"d{index}": document for index, document in enumerate(stored)}
    for name, document in by_id.items():
        batch.set(collection.document(name), document)
    batch.commit()
    return collection, by_id


async def test_filters_and_orders_find_what_the_model_finds(store: Store) -> None:
    def work(client: Any) -> None:
        number = 0

        @EXAMPLES
        @given(documents, conditions, some.sampled_from(("", "a", "b")), some.sampled_from((ASC, DESC)), some.data())
        def example(
            stored: list[dict[str, Any]], condition: tuple[str, str, Any], order: str, direction: str, data: Any
        ) -> None:
            nonlocal number
            number += 1
            collection, by_id = with_documents(client, number, stored)
            is_range = condition[1] in INEQUALITIES
            # an element with an order needs an index of its own, a range comes first in the order
            by = condition[0] if is_range and order else "" if condition[1].startswith("array") else order
            query = collection.where(filter=FieldFilter(*condition))
            orders = [(by, direction)] if by else [(condition[0], ASC)] if is_range else []
            last = direction if by else ASC
            if by:
                query = query.order_by(by, direction=direction)
            offset, limit = data.draw(some.integers(0, 3)), data.draw(some.integers(1, 8))
            found = {name: document for name, document in by_id.items() if holds(condition, document)}
            expected = ordered(found, orders, last)
            assert [snapshot.id for snapshot in query.stream()] == expected
            part = query.offset(offset).limit(limit)
            assert [snapshot.id for snapshot in part.stream()] == expected[offset : offset + limit]
            assert query.count().get()[0][0].value == len(expected)

        example()

    await store.in_thread(work)


async def test_two_orders_and_cursors_cut_where_the_model_cuts(store: Store) -> None:
    def work(client: Any) -> None:
        number = 1_000

        @EXAMPLES
        @given(documents, some.permutations(FIELDS), some.tuples(*[some.sampled_from((ASC, DESC))] * 2), some.data())
        def example(stored: list[dict[str, Any]], paths: list[str], directions: tuple[str, str], data: Any) -> None:
            nonlocal number
            number += 1
            collection, by_id = with_documents(client, number, stored)
            orders = list(zip(paths, directions, strict=True))
            query = collection
            for path, direction in orders:
                query = query.order_by(path, direction=direction)
            expected = ordered(by_id, orders, directions[1])
            assert [snapshot.id for snapshot in query.stream()] == expected
            if not expected:
                return
            place = data.draw(some.integers(0, len(expected) - 1))
            snapshot = collection.document(expected[place]).get()
            assert [found.id for found in query.start_at(snapshot).stream()] == expected[place:]
            assert [found.id for found in query.start_after(snapshot).stream()] == expected[place + 1 :]
            assert [found.id for found in query.end_before(snapshot).stream()] == expected[:place]
            assert [found.id for found in query.limit_to_last(place + 1).get()] == expected[-place - 1 :]

        example()

    await store.in_thread(work)


async def test_ands_and_ors_find_what_the_model_finds(store: Store) -> None:
    equalities = some.tuples(some.sampled_from(FIELDS), some.just("=="), values)

    def joined(inner: Any) -> Any:
        return some.tuples(some.sampled_from(("and", "or")), some.lists(inner, min_size=1, max_size=3))

    trees = some.recursive(equalities, joined, max_leaves=5)

    def is_tree(part: Any) -> bool:
        return part[0] in {"and", "or"}

    def built(part: Any) -> Any:
        if not is_tree(part):
            return FieldFilter(*part)
        return {"and": And, "or": Or}[part[0]](filters=[built(inner) for inner in part[1]])

    def satisfied(part: Any, document: dict[str, Any]) -> bool:
        if not is_tree(part):
            return holds(part, document)
        return {"and": all, "or": any}[part[0]](satisfied(inner, document) for inner in part[1])

    def work(client: Any) -> None:
        number = 2_000

        @EXAMPLES
        @given(documents, trees)
        def example(stored: list[dict[str, Any]], tree: Any) -> None:
            nonlocal number
            number += 1
            collection, by_id = with_documents(client, number, stored)
            expected = [name for name, document in by_id.items() if satisfied(tree, document)]
            assert [snapshot.id for snapshot in collection.where(filter=built(tree)).stream()] == expected

        example()

    await store.in_thread(work)
