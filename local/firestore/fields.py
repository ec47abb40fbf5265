"""Field paths and masks: reading, setting and projecting the fields of a document.

A path is a tuple of field names. On the wire it is dotted, with names quoted in backticks where they are not plain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from google.cloud.firestore_v1.types import document as document_types

from local.refusals import invalid

FieldPath = tuple[str, ...]
NAME: Final[FieldPath] = ("__name__",)
MAX_FIELD_BYTES: Final = 1_500
_SEGMENT: Final = re.compile(r"([a-zA-Z_][a-zA-Z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_PLAIN: Final = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*")
_RESERVED: Final = re.compile(r"__.*__", re.DOTALL)

_Document: Any = document_types.Document.pb()


@lru_cache(maxsize=4096)
def parse(path: str) -> FieldPath:
    """Read a path as it is written on the wire.

    Raises a refusal when it is malformed, too long or contains a reserved name; `__name__` alone is allowed.
    """
    names: list[str] = []
    position = 0
    while (found := _SEGMENT.match(path, position)) is not None:
        names.append(found[1] or _ESCAPED.sub(r"\1", found[2]))
        position = found.end()
        if position == len(path):
            return _checked(tuple(names), path)
        if path[position] != ".":
            break
        position += 1
    raise invalid(
        f'Invalid property path "{path}". Unquoted property names must match regex ([a-zA-Z_][a-zA-Z_0-9]*), and '
        "quoted property names must match regex (`(?:[^`\\\\]|(?:\\\\.))+`)"
    )


def written(path: FieldPath) -> str:
    """The path as it is written on the wire."""
    return ".".join(name if _PLAIN.fullmatch(name) else _quoted(name) for name in path)


def parse_writable(path: str) -> FieldPath:
    """As `parse`, for a path that a write names: the document's name is no field."""
    parsed = parse(path)
    if parsed == NAME:
        raise invalid('Invalid property path "__name__": the name of a document cannot be written.')
    return parsed


def get(fields: Any, path: FieldPath) -> Any | None:
    """The value at a path of a map of fields; None where there is none."""
    *ancestors, last = path
    for name in ancestors:
        if name not in fields:
            return None
        value = fields[name]
        if value.WhichOneof("value_type") != "map_value":
            return None
        fields = value.map_value.fields
    return fields.get(last)


def put(fields: Any, path: FieldPath, value: Any | None) -> None:
    """Set a value in place, making maps on the way as they are needed; None removes it."""
    *ancestors, last = path
    for name in ancestors:
        held = name in fields and fields[name].WhichOneof("value_type") == "map_value"
        if not held:
            if value is None:
                return
            fields[name].map_value.SetInParent()
        fields = fields[name].map_value.fields
    if value is None:
        if last in fields:
            del fields[last]
    else:
        fields[last].CopyFrom(value)


def projected(document: Any, paths: Iterable[FieldPath]) -> Any:
    """A copy of a document with the fields at these paths alone."""
    kept = _Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
    for path in paths:
        value = None if path == NAME else get(document.fields, path)
        if value is not None:
            put(kept.fields, path, value)
    return kept


def masked(document: Any, mask: Any | None) -> Any:
    """The document as a DocumentMask shows it; itself where there is no mask."""
    return document if mask is None else projected(document, [parse(path) for path in mask.field_paths])


def check_name(name: str, *, reserved: bool = False) -> None:
    """Refuse what no field may be called. `reserved` names are those the database gives meaning to itself."""
    if not name:
        raise invalid("A field name is empty.")
    if len(name.encode()) > MAX_FIELD_BYTES:
        raise invalid(f"A field name is longer than {MAX_FIELD_BYTES} bytes.")
    if not reserved and name.startswith("__") and _RESERVED.fullmatch(name):
        raise invalid(f'Field name "{name}" is reserved: it matches __.*__.')


def _checked(names: FieldPath, path: str) -> FieldPath:
    if len(path.encode()) > MAX_FIELD_BYTES:
        raise invalid(f"A field path is longer than {MAX_FIELD_BYTES} bytes.")
    if names != NAME:
        for name in names:
            check_name(name)
    return names


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
