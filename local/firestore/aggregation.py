"""Counts, sums and averages over the documents of a query.

Semantics: google.firestore.v1.StructuredAggregationQuery. Aggregations of several fields consider only the documents
that have all of them, as https://firebase.google.com/docs/firestore/query-data/aggregation-queries says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from local.firestore import fields, values
from local.firestore.fields import FieldPath
from local.firestore.versions import Version
from local.refusals import invalid

MAX_AGGREGATIONS: Final = 5


@dataclass(frozen=True)
class Aggregation:
    """`kind` is count, sum or avg; `path` the field of the latter two, `up_to` where a count may stop."""

    alias: str
    kind: str
    path: FieldPath | None
    up_to: int | None

    def over(self, documents: Sequence[Version]) -> Any:
        """The result as a value."""
        if self.kind == "count" or self.path is None:
            return values.of_number(len(documents) if self.up_to is None else min(len(documents), self.up_to))
        found = (values.number(fields.get(version.document.fields, self.path)) for version in documents)
        numbers = [number for number in found if number is not None]
        if self.kind == "sum":
            return _sum(numbers)
        return values.of_number(_total(numbers) / len(numbers)) if numbers else values.Value(null_value=0)


def read(message: Any) -> list[Aggregation]:
    """The aggregations of a query. Raises a refusal when one is not allowed."""
    if not 1 <= len(message.aggregations) <= MAX_AGGREGATIONS:
        raise invalid(f"An aggregation query needs one to {MAX_AGGREGATIONS} aggregations.")
    unnamed = iter(range(1, MAX_AGGREGATIONS + 1))
    found = [_read(item, item.alias or f"field_{next(unnamed)}") for item in message.aggregations]
    if len({item.alias for item in found}) != len(found):
        raise invalid("An alias is used for more than one aggregation.")
    return found


def aggregated_fields(aggregations: Iterable[Aggregation]) -> tuple[FieldPath, ...]:
    """The fields that a document must have to count, each once, in order."""
    return tuple(dict.fromkeys(item.path for item in aggregations if item.path is not None))


def _read(item: Any, alias: str) -> Aggregation:
    fields.check_name(alias)
    kind = item.WhichOneof("operator")
    if kind is None:
        raise invalid("An aggregation has no operator.")
    if kind == "count":
        up_to = item.count.up_to.value if item.count.HasField("up_to") else None
        if up_to is not None and up_to <= 0:
            raise invalid("up_to must be greater than zero.")
        return Aggregation(alias, kind, None, up_to)
    path = fields.parse(getattr(item, kind).field.field_path)
    if path == fields.NAME:
        raise invalid(f"{kind} cannot be computed over __name__.")
    return Aggregation(alias, kind, path, None)


def _sum(numbers: Sequence[float]) -> Any:
    if all(isinstance(number, int) for number in numbers):
        total = sum(numbers)
        inside = values.MIN_INTEGER <= total <= values.MAX_INTEGER
        return values.of_number(total if inside else float(total))
    return values.of_number(_total(numbers))


def _total(numbers: Sequence[float]) -> float:
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        # infinities, or more than a double holds: what adding one by one gives
        total = 0.0
        for number in numbers:
            total += number
        return total
