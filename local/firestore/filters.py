"""Filters: which documents match, and the disjunctions that a filter stands for.

Rules and limits: google.firestore.v1.StructuredQuery and
https://firebase.google.com/docs/firestore/query-data/queries#limitations
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from google.cloud.firestore_v1.types import query as query_types

from local.firestore import fields, values
from local.firestore.fields import FieldPath
from local.firestore.versions import Version
from local.refusals import invalid

Predicate = Callable[[Version], bool]

MAX_DISJUNCTIONS: Final = 30
MAX_NOT_IN: Final = 10
MAX_INEQUALITY_FIELDS: Final = 10

_Operator = query_types.StructuredQuery.FieldFilter.Operator
_Unary = query_types.StructuredQuery.UnaryFilter.Operator
_Composite = query_types.StructuredQuery.CompositeFilter.Operator

_RANGES: Final[dict[str, Callable[[values.Key, values.Key], bool]]] = {
    "LESS_THAN": lambda held, given: held < given,
    "LESS_THAN_OR_EQUAL": lambda held, given: held <= given,
    "GREATER_THAN": lambda held, given: held > given,
    "GREATER_THAN_OR_EQUAL": lambda held, given: held >= given,
}
_NEGATIONS: Final = frozenset({"NOT_EQUAL", "NOT_IN", "IS_NOT_NULL", "IS_NOT_NAN"})
_LISTS: Final = frozenset({"IN", "NOT_IN", "ARRAY_CONTAINS_ANY"})
# What a disjunction needs of an index: a value of the field, an element of it, or a range of it.
EQUALITY: Final = "equality"
CONTAINS: Final = "contains"
INEQUALITY: Final = "inequality"
_NULL_KEY: Final[values.Key] = (values.NULL,)


@dataclass(frozen=True)
class Leaf:
    """One comparison: `given` are the keys of the values compared with, one but for lists."""

    path: FieldPath
    operator: str
    given: tuple[values.Key, ...]

    @property
    def kind(self) -> str:
        if self.operator in _RANGES or self.operator in _NEGATIONS:
            return INEQUALITY
        return CONTAINS if self.operator.startswith("ARRAY_CONTAINS") else EQUALITY

    @property
    def disjunctions(self) -> int:
        return len(self.given) if self.operator in {"IN", "ARRAY_CONTAINS_ANY"} else 1

    def matches(self, version: Version) -> bool:
        held = version.key(self.path)
        if held is None:
            return False
        compare = _RANGES.get(self.operator)
        if compare is not None:
            # only values of the same type compare
            return held[0] == self.given[0][0] and compare(held, self.given[0])
        if self.operator in _NEGATIONS:
            # a list with null in it matches nothing
            never = self.operator == "NOT_IN" and _NULL_KEY in self.given
            return held != _NULL_KEY and held not in self.given and not never
        if self.kind == CONTAINS:
            return any(item in self.given for item in values.elements(held))
        return held in self.given


@dataclass(frozen=True)
class Filter:
    """`disjunctions` is the normal form: the query matches what matches every leaf of one of them."""

    matches: Predicate
    disjunctions: tuple[tuple[Leaf, ...], ...]
    leaves: int

    @property
    def inequality_fields(self) -> list[FieldPath]:
        found = {leaf.path for group in self.disjunctions for leaf in group if leaf.kind == INEQUALITY}
        return sorted(found)


NO_FILTER: Final = Filter(lambda _: True, ((),), 0)


def read(message: Any, prefix: str) -> Filter:
    """A filter of a query. `prefix` is the name of the query's root, which references to documents begin with.

    Raises a refusal for what Firestore does not take.
    """
    leaves: list[Leaf] = []
    matches, count = _compile(message, leaves, prefix)
    if count > MAX_DISJUNCTIONS:
        raise invalid(
            f"The query has {count} disjunctions in disjunctive normal form; at most {MAX_DISJUNCTIONS} are supported."
        )
    disjunctions = tuple(_expanded(message, iter(leaves)))
    _check(leaves, disjunctions, branches=_has_or(message))
    return Filter(matches, disjunctions, len(leaves))


def _compile(message: Any, leaves: list[Leaf], prefix: str) -> tuple[Predicate, int]:
    """The predicate of a filter and the number of its disjunctions; its leaves are appended in order."""
    if message.WhichOneof("filter_type") != "composite_filter":
        leaf = _leaf(message, prefix)
        leaves.append(leaf)
        return leaf.matches, leaf.disjunctions
    composite = message.composite_filter
    if not composite.filters:
        raise invalid("A composite filter must have at least one sub-filter.")
    parts = [_compile(inner, leaves, prefix) for inner in composite.filters]
    predicates = [predicate for predicate, _ in parts]
    if composite.op == _Composite.OR:
        return lambda version: any(each(version) for each in predicates), sum(count for _, count in parts)
    if composite.op != _Composite.AND:
        raise invalid("A composite filter has no operator.")
    total = 1
    for _, count in parts:
        total *= count
    return lambda version: all(each(version) for each in predicates), total


def _expanded(message: Any, leaves: Any) -> list[tuple[Leaf, ...]]:
    if message.WhichOneof("filter_type") != "composite_filter":
        leaf = next(leaves)
        if leaf.disjunctions == 1:
            return [(leaf,)]
        operator = "EQUAL" if leaf.operator == "IN" else "ARRAY_CONTAINS"
        return [(Leaf(leaf.path, operator, (given,)),) for given in leaf.given]
    parts = [_expanded(inner, leaves) for inner in message.composite_filter.filters]
    if message.composite_filter.op == _Composite.OR:
        return [group for part in parts for group in part]
    return [tuple(leaf for group in combination for leaf in group) for combination in product(*parts)]


def _has_or(message: Any) -> bool:
    if message.WhichOneof("filter_type") != "composite_filter":
        return False
    composite = message.composite_filter
    several = composite.op == _Composite.OR and len(composite.filters) > 1
    return several or any(_has_or(inner) for inner in composite.filters)


def _leaf(message: Any, prefix: str) -> Leaf:
    kind = message.WhichOneof("filter_type")
    if kind is None:
        raise invalid("A filter is empty.")
    if kind == "unary_filter":
        return _unary(message.unary_filter)
    comparison = message.field_filter
    path = fields.parse(comparison.field.field_path)
    operator = _Operator(comparison.op).name
    if operator == "OPERATOR_UNSPECIFIED":
        raise invalid("A field filter has no operator.")
    given = _given(operator, comparison.value)
    if path == fields.NAME:
        _check_references(operator, given, prefix)
    return Leaf(path, operator, tuple(values.key(value) for value in given))


def _unary(message: Any) -> Leaf:
    path = fields.parse(message.field.field_path)
    operator = _Unary(message.op).name
    if operator == "OPERATOR_UNSPECIFIED":
        raise invalid("A unary filter has no operator.")
    given = _NULL_KEY if operator.endswith("NULL") else values.NAN
    return Leaf(path, operator if operator in _NEGATIONS else "EQUAL", (given,))


def _given(operator: str, value: Any) -> Sequence[Any]:
    if operator not in _LISTS:
        return [value]
    if value.WhichOneof("value_type") != "array_value" or not value.array_value.values:
        raise invalid(f"'{operator}' requires a non-empty ArrayValue.")
    limit = MAX_NOT_IN if operator == "NOT_IN" else MAX_DISJUNCTIONS
    if len(value.array_value.values) > limit:
        raise invalid(f"'{operator}' supports up to {limit} comparison values.")
    given: Sequence[Any] = value.array_value.values
    return given


def _check_references(operator: str, given: Iterable[Any], prefix: str) -> None:
    if operator.startswith("ARRAY_CONTAINS"):
        raise invalid(f"'{operator}' cannot be used with __name__.")
    for value in given:
        if value.WhichOneof("value_type") != "reference_value":
            raise invalid("__key__ filter value must be a Key: __name__ compares with references to documents.")
        if not value.reference_value.startswith(f"{prefix}/"):
            raise invalid(f"A reference that __name__ is compared with is not below {prefix}.")


def _check(leaves: Sequence[Leaf], disjunctions: Iterable[Sequence[Leaf]], *, branches: bool) -> None:
    operators = [leaf.operator for leaf in leaves]
    if sum(operator in _NEGATIONS for operator in operators) > 1:
        raise invalid("Only one of NOT_EQUAL, NOT_IN, IS_NOT_NULL and IS_NOT_NAN is allowed in a query.")
    if "NOT_IN" in operators and (branches or {"IN", "ARRAY_CONTAINS_ANY"} & set(operators)):
        raise invalid("'NOT_IN' cannot be used in the same query with OR, 'IN' or 'ARRAY_CONTAINS_ANY'.")
    for group in disjunctions:
        if sum(leaf.kind == CONTAINS for leaf in group) > 1:
            raise invalid("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")
    if len({leaf.path for leaf in leaves if leaf.kind == INEQUALITY}) > MAX_INEQUALITY_FIELDS:
        raise invalid(f"A query cannot have range or inequality filters on more than {MAX_INEQUALITY_FIELDS} fields.")
