"""What a document may be, by the documented sizes.

https://firebase.google.com/docs/firestore/storage-size and https://firebase.google.com/docs/firestore/quotas
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from local.firestore import fields, values
from local.firestore.fields import FieldPath
from local.refusals import invalid

MAX_DOCUMENT_BYTES: Final = 1_048_576
MAX_VALUE_BYTES: Final = MAX_DOCUMENT_BYTES - 89
MAX_DEPTH: Final = 20
MAX_INDEX_ENTRIES: Final = 40_000
MAX_VECTOR_DIMENSIONS: Final = 2_048
MAX_REQUEST_BYTES: Final = 10 * 1024 * 1024
MAX_TRANSFORMS: Final = 500
_NAME_OVERHEAD_BYTES: Final = 16
_DOCUMENT_OVERHEAD_BYTES: Final = 32
_FIXED_BYTES: Final = {
    "null_value": 1,
    "boolean_value": 1,
    "integer_value": 8,
    "double_value": 8,
    "timestamp_value": 8,
    "geo_point_value": 16,
}
# The automatic indexes of a field that are not switched off: some of ASCENDING, DESCENDING, CONTAINS.
Modes = Callable[[FieldPath], frozenset[str]]


def document_bytes(path: str, document: Any) -> int:
    """The size of a document with the path of its name.

    Raises a refusal when a field cannot be stored: its name, its nesting, its size, or an array in an array.
    """
    return _name_bytes(path) + _DOCUMENT_OVERHEAD_BYTES + sum(_field_bytes(document.fields, 1))


def check(path: str, document: Any, modes: Modes) -> None:
    """Refuse a document that is too large, or has fields that cannot be stored or too many index entries."""
    size = document_bytes(path, document)
    if size > MAX_DOCUMENT_BYTES:
        raise invalid(
            f"Document '{document.name}' cannot be written because its size ({size:,} bytes) exceeds the maximum "
            f"allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )
    # Every entry costs at least half a byte of the document: small ones need no counting.
    if size * 2 > MAX_INDEX_ENTRIES and sum(_index_entries(document.fields, (), modes)) > MAX_INDEX_ENTRIES:
        raise invalid(f"too many index entries for entity {document.name}: more than {MAX_INDEX_ENTRIES}.")


def normalize(value: Any) -> None:
    """Bring a value into the form it is stored in, in place: timestamps keep microseconds."""
    kind = value.WhichOneof("value_type")
    if kind == "timestamp_value":
        value.timestamp_value.nanos -= value.timestamp_value.nanos % 1000
    elif kind == "array_value":
        for item in value.array_value.values:
            normalize(item)
    elif kind == "map_value":
        for item in value.map_value.fields.values():
            normalize(item)


def _name_bytes(path: str) -> int:
    return sum(len(segment.encode()) + 1 for segment in path.split("/")) + _NAME_OVERHEAD_BYTES


def _field_bytes(held: Any, depth: int) -> Iterator[int]:
    for name, value in held.items():
        fields.check_name(name, reserved=depth > 1 and name == "__type__")
        size = _value_bytes(name, value, depth)
        if size > MAX_VALUE_BYTES:
            raise invalid(f'The value of property "{name}" is longer than {MAX_VALUE_BYTES} bytes.')
        yield len(name.encode()) + 1 + size


def _value_bytes(name: str, value: Any, depth: int) -> int:
    kind = value.WhichOneof("value_type")
    if kind in _FIXED_BYTES:
        return _FIXED_BYTES[kind]
    match kind:
        case "string_value":
            return len(value.string_value.encode()) + 1
        case "bytes_value":
            return len(value.bytes_value)
        case "reference_value":
            return _name_bytes(value.reference_value.partition("/documents/")[2])
        case "array_value":
            return _array_bytes(name, value.array_value.values, depth)
        case "map_value" if values.is_vector(value):
            return _vector_bytes(name, value)
        case "map_value":
            _check_depth(name, depth)
            return _DOCUMENT_OVERHEAD_BYTES + sum(_field_bytes(value.map_value.fields, depth + 1))
    raise invalid(f'The value of property "{name}" has no type that can be stored.')


def _array_bytes(name: str, items: Any, depth: int) -> int:
    _check_depth(name, depth)
    if any(item.WhichOneof("value_type") == "array_value" for item in items):
        raise invalid(f"Property {name} contains an invalid nested entity: an array cannot hold an array.")
    return sum(_value_bytes(name, item, depth + 1) for item in items)


def _vector_bytes(name: str, value: Any) -> int:
    held = value.map_value.fields
    items = held["value"].array_value.values if "value" in held else []
    if len(held) != 2 or not items or any(item.WhichOneof("value_type") != "double_value" for item in items):
        raise invalid(f"Property {name} is no vector: it needs an array of doubles as its value, and nothing else.")
    if len(items) > MAX_VECTOR_DIMENSIONS:
        raise invalid(f"Property {name} is a vector of more than {MAX_VECTOR_DIMENSIONS} dimensions.")
    return 8 * len(items)


def _check_depth(name: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise invalid(
            f"Property {name} contains an invalid nested entity: maps and arrays nest at most {MAX_DEPTH} deep."
        )


def _index_entries(held: Any, above: FieldPath, modes: Modes) -> Iterator[int]:
    """Entries of the automatic indexes: one for each order of a value, one for each element of an array."""
    for name, value in held.items():
        path = (*above, name)
        indexed = modes(path)
        yield len(indexed - {"CONTAINS"})
        kind = value.WhichOneof("value_type")
        if kind == "array_value" and "CONTAINS" in indexed:
            yield len({values.key(item) for item in value.array_value.values})
        elif kind == "map_value" and not values.is_vector(value):
            yield from _index_entries(value.map_value.fields, path, modes)
