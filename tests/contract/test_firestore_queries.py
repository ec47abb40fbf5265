"""The Firestore stand-in's queries, through Google's own clients: what is found, in which order, what is refused."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import And, FieldFilter, Or
from google.cloud.firestore_v1.types import document as document_types
from google.cloud.firestore_v1.vector import Vector

from tests.support.firestore import ROOT, SECONDS, Store, running_store

NAN = math.nan


def declared(group: str, *fields: tuple[str, str], scope: str = "COLLECTION") -> dict[str, Any]:
    """A composite index in the file's form."""
    parts = [{"fieldPath": path, "arrayConfig" if mode == "CONTAINS" else "order": mode} for path, mode in fields]
    return {"collectionGroup": group, "queryScope": scope, "fields": parts}


ASC, DESC = "ASCENDING", "DESCENDING"
INDEXES = {
    "indexes": [
        declared("cities", ("state", ASC), ("people", ASC)),
        declared("cities", ("state", ASC), ("people", DESC)),
        declared("cities", ("people", ASC), ("area", ASC)),
        declared("cities", ("area", ASC), ("people", ASC)),
        declared("cities", ("state", ASC), ("people", ASC), ("area", ASC)),
        declared("parts", ("n", ASC), ("__name__", DESC), scope="COLLECTION_GROUP"),
    ],
    "fieldOverrides": [
        {"collectionGroup": "parts", "fieldPath": "n", "indexes": [{"order": ASC, "queryScope": "COLLECTION_GROUP"}]}
    ],
}
CITIES: dict[str, dict[str, Any]] = {
    "bern": {"state": "BE", "people": 134, "area": 51.6, "tags": ["capital", "old"], "in": {"zone": "CET"}},
    "biel": {"state": "BE", "people": 55, "area": 21.2, "tags": ["watches"]},
    "zurich": {"state": "ZH", "people": 415, "area": 87.9, "tags": ["lake", "old"], "in": {"zone": "CET"}},
    "uster": {"state": "ZH", "people": 35, "area": None, "tags": []},
    "atlantis": {"people": None, "area": NAN},
}


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    async with running_store(tmp_path_factory.mktemp("queries"), indexes=INDEXES) as opened:
        for name, data in CITIES.items():
            await opened.client.document(f"cities/{name}").set(data)
        yield opened


@pytest.fixture
def cities(store: Store) -> Any:
    return store.client.collection("cities")


async def found(query: Any) -> list[str]:
    return [snapshot.id async for snapshot in query.stream()]


def where(path: str, operator: str, value: Any) -> FieldFilter:
    return FieldFilter(path, operator, value)


# filters


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (where("state", "==", "BE"), ["bern", "biel"]),
        (where("people", "<", 55), ["uster"]),
        (where("people", "<=", 55.0), ["uster", "biel"]),
        (where("people", ">", 134), ["zurich"]),
        (where("people", ">=", 134), ["bern", "zurich"]),
        (where("people", "!=", 55), ["uster", "bern", "zurich"]),
        (where("people", "not-in", [55, 35]), ["bern", "zurich"]),
        (where("people", "not-in", [55, None]), []),
        (where("people", "in", [55, 415.0, 1]), ["biel", "zurich"]),
        (where("people", "==", None), ["atlantis"]),
        (where("people", "!=", None), ["uster", "biel", "bern", "zurich"]),
        (where("area", "==", NAN), ["atlantis"]),
        (where("area", "!=", NAN), ["biel", "bern", "zurich"]),
        (where("area", "<", 1e9), ["atlantis", "biel", "bern", "zurich"]),
        (where("tags", "array_contains", "old"), ["bern", "zurich"]),
        (where("tags", "array_contains_any", ["old", "watches"]), ["bern", "biel", "zurich"]),
        (where("tags", "==", ["watches"]), ["biel"]),
        (where("in.zone", "==", "CET"), ["bern", "zurich"]),
        (where("in", "==", {"zone": "CET"}), ["bern", "zurich"]),
        (where("people", ">", "a"), []),
        (where("missing", "==", 1), []),
        (Or([where("state", "==", "ZH"), where("people", "==", 55)]), ["biel", "uster", "zurich"]),
        (And([where("state", "==", "ZH"), where("in.zone", "==", "CET")]), ["zurich"]),
        (
            And([where("state", "==", "BE"), Or([where("tags", "array_contains", "old"), where("area", "==", 21.2)])]),
            ["bern", "biel"],
        ),
    ],
)  # fmt: skip
async def test_filters_find_what_they_say(cities: Any, condition: Any, expected: list[str]) -> None:
    assert await found(cities.where(filter=condition)) == expected


async def test_names_are_compared_as_references(store: Store, cities: Any) -> None:
    name = "__name__"
    at = cities.document
    assert await found(cities.where(filter=where(name, "==", at("bern")))) == ["bern"]
    assert await found(cities.where(filter=where(name, ">", at("biel")))) == ["uster", "zurich"]
    assert await found(cities.where(filter=where(name, "in", [at("uster"), at("bern"), at("none")]))) == [
        "bern",
        "uster",
    ]
    with pytest.raises(exceptions.InvalidArgument, match="references"):
        await found(raw_filter(store, "__name__", "EQUAL", {"string_value": "bern"}))


class RawQuery:
    """A query as it is on the wire, for what the friendly client refuses by itself."""

    def __init__(self, store: Store, query: dict[str, Any], parent: str = f"{ROOT}/documents") -> None:
        self._store, self._query, self._parent = store, query, parent

    async def stream(self) -> AsyncIterator[Any]:
        request = {"parent": self._parent, "structured_query": {"from_": [{"collection_id": "cities"}]} | self._query}
        async for answer in await self._store.api.run_query(request=request, timeout=SECONDS):
            if answer.document.name:
                yield type("Found", (), {"id": answer.document.name.rpartition("/")[2]})


def raw_filter(store: Store, path: str, operator: str, value: Any) -> RawQuery:
    return RawQuery(store, {"where": {"field_filter": {"field": {"field_path": path}, "op": operator, "value": value}}})


# order, cursors, limits


async def test_an_order_leaves_out_documents_without_the_field(cities: Any) -> None:
    assert await found(cities.order_by("people")) == ["atlantis", "uster", "biel", "bern", "zurich"]
    assert await found(cities.order_by("people", direction="DESCENDING")) == [
        "zurich",
        "bern",
        "biel",
        "uster",
        "atlantis",
    ]
    assert await found(cities.order_by("tags")) == ["uster", "bern", "zurich", "biel"]
    assert await found(cities.order_by("state")) == ["bern", "biel", "uster", "zurich"]
    assert await found(cities.order_by("state", direction="DESCENDING")) == ["zurich", "uster", "biel", "bern"]


async def test_an_inequality_orders_by_its_field_and_further_ones_follow(cities: Any) -> None:
    query = cities.where(filter=where("people", ">", 40)).where(filter=where("area", ">", 1))
    assert await found(query) == ["biel", "bern", "zurich"]
    assert await found(query.order_by("people").order_by("area")) == ["biel", "bern", "zurich"]


async def test_cursors_begin_and_end_where_they_say(cities: Any) -> None:
    ordered = cities.order_by("people")
    assert await found(ordered.start_at({"people": 55})) == ["biel", "bern", "zurich"]
    assert await found(ordered.start_after({"people": 55})) == ["bern", "zurich"]
    assert await found(ordered.end_at({"people": 134})) == ["atlantis", "uster", "biel", "bern"]
    assert await found(ordered.end_before({"people": 134})) == ["atlantis", "uster", "biel"]
    down = cities.order_by("people", direction="DESCENDING")
    assert await found(down.start_after({"people": 134})) == ["biel", "uster", "atlantis"]
    snapshot = await cities.document("biel").get()
    assert await found(cities.order_by("state").start_after(snapshot)) == ["uster", "zurich"]
    assert await found(cities.start_at(snapshot).limit(2)) == ["biel", "uster"]


async def test_limits_and_offsets_cut_the_result(cities: Any) -> None:
    ordered = cities.order_by("people")
    assert await found(ordered.limit(2)) == ["atlantis", "uster"]
    assert await found(ordered.offset(3)) == ["bern", "zurich"]
    assert await found(ordered.offset(1).limit(2)) == ["uster", "biel"]
    assert await found(ordered.offset(9)) == []
    assert await found(ordered.limit(0)) == []
    last = await ordered.limit_to_last(2).get()
    assert [snapshot.id for snapshot in last] == ["bern", "zurich"]


async def test_a_projection_shows_only_the_fields_it_names(cities: Any) -> None:
    shown = [snapshot.to_dict() async for snapshot in cities.order_by("people").select(["in.zone", "people"]).stream()]
    assert shown[-1] == {"in": {"zone": "CET"}, "people": 415}
    assert shown[0] == {"people": None}
    assert [snapshot.to_dict() async for snapshot in cities.select([]).limit(1).stream()] == [{}]


async def test_a_group_is_all_collections_of_an_id_below_a_place(store: Store) -> None:
    root = store.collection("trees")
    for number, path in enumerate(("a/parts/1", "b/parts/2", "b/parts/2/parts/3")):
        await root.document(path.partition("/")[0]).set({})
        await store.client.document(f"{root.id}/{path}").set({"n": number})
    await store.client.document(f"{root.id}/a/other/4").set({"n": 9})
    group = store.client.collection_group("parts")
    assert await found(group) == ["1", "2", "3"]
    assert await found(group.where(filter=where("n", ">=", 1))) == ["2", "3"]
    under = {"from_": [{"collection_id": "parts", "all_descendants": True}]}
    assert await found(RawQuery(store, under, f"{ROOT}/documents/{root.id}/b")) == ["2", "3"]
    direct = {"from_": [{"collection_id": "parts"}]}
    assert await found(RawQuery(store, direct, f"{ROOT}/documents/{root.id}/b")) == ["2"]


async def test_a_group_can_be_cut_into_parts_that_make_up_the_whole(store: Store) -> None:
    group_id = f"cut{store.port}"
    for number in range(10):
        await store.client.document(f"owners/{number}/{group_id}/x").set({"n": number})
    group = store.client.collection_group(group_id)
    cuts = [part async for part in group.get_partitions(4)]
    assert len(cuts) == 5
    pieces = [[snapshot.reference.path async for snapshot in part.query().stream()] for part in cuts]
    assert all(pieces)
    assert [path for piece in pieces for path in piece] == [f"owners/{number}/{group_id}/x" for number in range(10)]


async def test_all_values_have_one_order(store: Store) -> None:
    """The documented order of types, and inside each type."""
    ordered = [
        None,
        False,
        True,
        NAN,
        -math.inf,
        -(2**63),
        -1,
        0,
        0.5,
        1,
        2**53,
        2**53 + 1,
        2**63 - 1,
        math.inf,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 0, 1, UTC),
        "",
        "A",
        "a",
        "aa",
        "é",
        "\uffff",
        "\U0001f399",
        b"",
        b"a",
        b"a\x00",
        b"\xff",
        store.client.document("a/b"),
        store.client.document("a/b/c/d"),
        store.client.document("a/c"),
        firestore.GeoPoint(-1, 5),
        firestore.GeoPoint(1, -5),
        firestore.GeoPoint(1, 5),
        [],
        [1],
        [1, "x"],
        ["a"],
        Vector([9.0]),
        Vector([1.0, 2.0]),
        Vector([1.0, 3.0]),
        {},
        {"a": 1},
        {"a": 1, "b": 1},
        {"a": 2},
        {"b": 0},
    ]
    kinds = store.collection("kinds")
    batch = store.client.batch()
    for index, value in enumerate(ordered):
        batch.set(kinds.document(f"{len(ordered) - index:03}"), {"v": value})
    await batch.commit()
    expected = [f"{len(ordered) - index:03}" for index in range(len(ordered))]
    assert await found(kinds.order_by("v")) == expected
    assert await found(kinds.order_by("v", direction="DESCENDING")) == expected[::-1]


async def test_numeric_ids_come_before_all_others(store: Store) -> None:
    mixed = store.collection("mixed")
    for name in ("a", "__id10__", "__id9__", "_"):
        await mixed.document(name).set({})
    assert await found(mixed) == ["__id9__", "__id10__", "_", "a"]


# aggregation


async def aggregated(query: Any) -> dict[str, Any]:
    return {result.alias: result.value for row in await query.get() for result in row}


async def test_counts_sums_and_averages(cities: Any) -> None:
    assert await aggregated(cities.count("all")) == {"all": 5}
    assert await aggregated(cities.limit(3).count("all")) == {"all": 3}
    assert await aggregated(cities.offset(3).count("all")) == {"all": 2}
    assert await aggregated(cities.sum("people", "total").avg("people", "mean")) == {"total": 639, "mean": 159.75}
    state = cities.where(filter=where("state", "==", "BE"))
    assert await aggregated(state.count("n").sum("people", "total")) == {"n": 2, "total": 189}
    assert math.isnan((await aggregated(cities.sum("area", "total")))["total"])


async def test_only_documents_with_all_aggregated_fields_count(store: Store, cities: Any) -> None:
    await store.client.document("cities/zz").set({"state": "BE", "area": 5})
    try:
        state = cities.where(filter=where("state", "==", "BE"))
        both = state.count("n").sum("people", "p").avg("area", "a")
        assert await aggregated(both) == {"n": 2, "p": 189, "a": 36.4}
    finally:
        await store.client.document("cities/zz").delete()


async def test_an_empty_result_has_no_average_and_sums_outgrow_integers(store: Store) -> None:
    big = store.collection("big")
    # the client shows an average that is null as zero
    assert await aggregated(big.count("n").sum("x", "s").avg("x", "a")) == {"n": 0, "s": 0, "a": 0}
    for name in "ab":
        await big.document(name).set({"x": 2**63 - 1})
    assert await aggregated(big.sum("x", "s")) == {"s": float(2**64)}


async def test_a_count_stops_where_it_is_told(store: Store) -> None:
    async def count(*aggregations: dict[str, Any]) -> Any:
        query = {"structured_query": {"from_": [{"collection_id": "cities"}]}, "aggregations": list(aggregations)}
        request = {"parent": f"{ROOT}/documents", "structured_aggregation_query": query}
        answers = await store.api.run_aggregation_query(request=request, timeout=SECONDS)
        return (await anext(aiter(answers))).result.aggregate_fields

    fields = await count({"count": {"up_to": 3}}, {"count": {"up_to": 30}, "alias": "many"}, {"count": {}})
    assert {alias: value.integer_value for alias, value in fields.items()} == {"field_1": 3, "many": 5, "field_2": 5}
    twice: list[dict[str, Any]] = [{"count": {}, "alias": "a"}] * 2
    refused: list[list[dict[str, Any]]] = [[], [{"count": {"up_to": 0}}], [{}], twice, [{"count": {}}] * 6]
    for wrong in refused:
        with pytest.raises(exceptions.InvalidArgument):
            await count(*wrong)


# what is refused


def ref(path: str, operator: str, *values: int) -> dict[str, Any]:
    items = [{"integer_value": value} for value in values]
    value = {"array_value": {"values": items}} if operator in {"IN", "NOT_IN", "ARRAY_CONTAINS_ANY"} else items[0]
    return {"field_filter": {"field": {"field_path": path}, "op": operator, "value": value}}


def both(*filters: dict[str, Any], op: str = "AND") -> dict[str, Any]:
    return {"composite_filter": {"op": op, "filters": list(filters)}}


def unary(path: str, op: str) -> dict[str, Any]:
    return {"unary_filter": {"field": {"field_path": path}, "op": op}}


ORDER_NAME = {"field": {"field_path": "__name__"}}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"where": ref("a", "IN", *range(31))}, "up to 30"),
        ({"where": both(ref("a", "IN", *range(6)), ref("b", "IN", *range(6)))}, "36 disjunctions"),
        ({"where": both(*[ref("a", "EQUAL", n) for n in range(31)], op="OR")}, "31 disjunctions"),
        ({"where": ref("a", "IN")}, "non-empty"),
        ({"where": ref("a", "NOT_IN", *range(11))}, "up to 10"),
        ({"where": both(ref("a", "NOT_EQUAL", 1), unary("b", "IS_NOT_NULL"))}, "Only one of"),
        ({"where": both(ref("a", "NOT_IN", 1), ref("b", "IN", 1))}, "'NOT_IN' cannot"),
        ({"where": both(ref("a", "NOT_IN", 1), both(ref("b", "EQUAL", 1), ref("c", "EQUAL", 1), op="OR"))}, "OR"),
        ({"where": both(ref("a", "ARRAY_CONTAINS", 1), ref("b", "ARRAY_CONTAINS", 1))}, "A maximum of 1"),
        ({"where": both()}, "at least one"),
        ({"where": {}}, "empty"),
        ({"where": both(ref("a", "EQUAL", 1), op="OPERATOR_UNSPECIFIED")}, "no operator"),
        ({"where": ref("a", "OPERATOR_UNSPECIFIED", 1)}, "no operator"),
        ({"where": unary("a", "OPERATOR_UNSPECIFIED")}, "no operator"),
        ({"where": ref("a-b", "EQUAL", 1)}, "property path"),
        ({"where": both(*[ref(f"f{n}", "LESS_THAN", 1) for n in range(11)])}, "more than 10 fields"),
        ({"where": both(*[ref("a", "EQUAL", 1)] * 101)}, "100"),
        ({"order_by": [{"field": {"field_path": "a"}}] * 2}, "more than once"),
        ({"order_by": [ORDER_NAME, {"field": {"field_path": "a"}}]}, "__name__"),
        ({"limit": {"value": -1}}, "limit"),
        ({"offset": -1}, "offset"),
        ({"start_at": {"values": [{"integer_value": 1}]}}, "reference"),
        ({"order_by": [ORDER_NAME], "start_at": {"values": [{"integer_value": 1}] * 2}}, "too many"),
        ({"from_": []}, "exactly one"),
        ({"from_": [{"collection_id": "a"}, {"collection_id": "b"}]}, "exactly one"),
        ({"from_": [{"collection_id": "__a__"}]}, "reserved"),
        ({"from_": [{}]}, "descendants"),
    ],
)
async def test_queries_that_firestore_does_not_take_are_refused(store: Store, query: dict[str, Any], said: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=said):
        await found(RawQuery(store, query))


async def test_the_largest_queries_are_taken(store: Store) -> None:
    assert await found(RawQuery(store, {"where": ref("people", "IN", 55, *range(1000, 1029))})) == ["biel"]
    assert await found(RawQuery(store, {"where": both(ref("a", "IN", *range(6)), ref("b", "IN", *range(5)))})) == []
    assert await found(RawQuery(store, {"where": ref("people", "NOT_IN", *range(10))})) != []


async def test_an_empty_result_tells_when_it_was_read(store: Store) -> None:
    request = {"parent": f"{ROOT}/documents", "structured_query": {"from_": [{"collection_id": "nothing"}]}}
    answers = [answer async for answer in await store.api.run_query(request=request, timeout=SECONDS)]
    assert len(answers) == 1
    assert answers[0].read_time
    assert answers[0].document == document_types.Document()


async def test_what_is_not_served_is_refused_in_words(store: Store, cities: Any) -> None:
    from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
    from google.cloud.firestore_v1.query_profile import ExplainOptions

    nearest = cities.find_nearest("v", Vector([1.0]), 1, distance_measure=DistanceMeasure.COSINE)
    with pytest.raises(exceptions.MethodNotImplemented, match="find_nearest"):
        [snapshot async for snapshot in nearest.stream()]
    with pytest.raises(exceptions.MethodNotImplemented, match="explain_options"):
        [snapshot async for snapshot in cities.stream(explain_options=ExplainOptions(analyze=True))]
