"""Values, and the one order of all of them.

The order of types: null, booleans, numbers (NaN first), timestamps, strings, bytes, references, geographical points,
arrays, vectors, maps: https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from google.cloud.firestore_v1.types import document as document_types

# A value's place in the order: tuples of one rank hold parts of the same kinds, so that any two compare.
Key = tuple[Any, ...]

Value: Any = document_types.Value.pb()

NULL: Final = 0
NUMBER: Final = 2
REFERENCE: Final = 6
ARRAY: Final = 8
_VECTOR: Final = 9
_RANKS: Final = {
    "null_value": NULL,
    "boolean_value": 1,
    "integer_value": NUMBER,
    "double_value": NUMBER,
    "timestamp_value": 3,
    "string_value": 4,
    "bytes_value": 5,
    "reference_value": REFERENCE,
    "geo_point_value": 7,
    "array_value": ARRAY,
    "map_value": 10,
}
NAN: Final[Key] = (NUMBER, 0)
MAX_INTEGER: Final = 2**63 - 1
MIN_INTEGER: Final = -(2**63)
_VECTOR_TYPE: Final = "__vector__"
_NUMERIC_ID: Final = re.compile(r"__id(-?[0-9]+)__")


def key(value: Any) -> Key:
    """The place of a value among all values; equal values have equal keys, whether integer or double."""
    kind = value.WhichOneof("value_type") or "null_value"
    content = getattr(value, kind)
    match kind:
        case "null_value":
            return (NULL,)
        case "integer_value" | "double_value":
            return NAN if is_nan(content) else (NUMBER, 1, content)
        case "timestamp_value":
            return (_RANKS[kind], content.seconds, content.nanos)
        case "string_value":
            return (_RANKS[kind], content.encode())
        case "reference_value":
            return reference_key(content)
        case "geo_point_value":
            return (_RANKS[kind], content.latitude, content.longitude)
        case "array_value":
            return (ARRAY, tuple(key(item) for item in content.values))
        case "map_value":
            return _map_key(content.fields)
    return (_RANKS[kind], content)


def reference_key(name: str) -> Key:
    """The place of a reference: segment by segment, numeric ids before all others."""
    return (REFERENCE, *(_segment(segment) for segment in name.split("/")))


def elements(value_key: Key) -> tuple[Key, ...]:
    """The keys of an array's elements; none where the key is not an array's."""
    found: tuple[Key, ...] = value_key[1] if value_key[0] == ARRAY else ()
    return found


def is_vector(value: Any) -> bool:
    """Whether a value is a map that means a vector embedding."""
    fields = value.map_value.fields
    return "__type__" in fields and fields["__type__"].string_value == _VECTOR_TYPE


def number(value: Any | None) -> int | float | None:
    """What a numeric value says; None where there is no value or it is no number."""
    kind = None if value is None else value.WhichOneof("value_type")
    if value is None or kind not in {"integer_value", "double_value"}:
        return None
    found: int | float = getattr(value, kind)
    return found


def of_number(content: float) -> Any:
    """A value of a number; integers that are too large become the largest there is."""
    if isinstance(content, int):
        return Value(integer_value=max(MIN_INTEGER, min(MAX_INTEGER, content)))
    return Value(double_value=content)


def added(first: float, second: float) -> int | float:
    """The sum as `increment` makes it: integers saturate, a double makes both doubles."""
    if isinstance(first, int) and isinstance(second, int):
        return max(MIN_INTEGER, min(MAX_INTEGER, first + second))
    return float(first) + float(second)


def is_nan(content: float | None) -> bool:
    return content is not None and math.isnan(content)


def _segment(segment: str) -> tuple[int, Any]:
    numeric = _NUMERIC_ID.fullmatch(segment)
    return (0, int(numeric[1])) if numeric else (1, segment.encode())


def _map_key(fields: Any) -> Key:
    if "__type__" in fields and fields["__type__"].string_value == _VECTOR_TYPE and "value" in fields:
        numbers = fields["value"].array_value.values
        return (_VECTOR, len(numbers), tuple(key(item) for item in numbers))
    named = sorted((name.encode(), name) for name in fields)
    return (_RANKS["map_value"], tuple((encoded, key(fields[name])) for encoded, name in named))
