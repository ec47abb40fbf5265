"""What a write makes of a document: preconditions, masks, transforms.

Semantics: google.firestore.v1.Write, DocumentTransform and Precondition.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.cloud.firestore_v1.types import document as document_types
from google.cloud.firestore_v1.types import write as write_types
from google.protobuf import timestamp_pb2
from google.protobuf.unknown_fields import UnknownFieldSet

from local.firestore import fields, limits, names, values
from local.refusals import Refusal, failed_precondition, invalid, not_found

_Document: Any = document_types.Document.pb()
_Transform: Any = write_types.DocumentTransform.FieldTransform.pb()
_WriteResult: Any = write_types.WriteResult.pb()
_REQUEST_TIME: Final = int(write_types.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME)
# Write.verify: a document whose precondition must hold, which the Python client's types leave out.
_VERIFY_NUMBER: Final = 5
_NULL: Final = values.Value(null_value=0)


@dataclass(frozen=True)
class Change:
    """One write of a request: which document, and the message that says what to do with it."""

    path: str
    kind: str
    message: Any


@dataclass
class Staged:
    """What a list of writes would leave behind: documents by path (None: deleted), and a result for each write."""

    documents: dict[str, Any | None] = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)


def read(messages: Iterable[Any], database: str) -> list[Change]:
    """The writes of a request. Raises a refusal for what does not depend on what is stored."""
    changes = [_read(message, database) for message in messages]
    transforms = Counter[str]()
    for change in changes:
        transforms[change.path] += len(_transforms(change))
    if transforms and max(transforms.values()) > limits.MAX_TRANSFORMS:
        raise invalid(f"Cannot perform more than {limits.MAX_TRANSFORMS} field transformations on a single document.")
    return changes


def stage(
    changes: Iterable[Change],
    current: Callable[[str], Any | None],
    moment: timestamp_pb2.Timestamp,
    check: Callable[[str, Any], None],
) -> Staged:
    """Apply writes in order to copies.

    `current` gives the stored document of a path, `moment` becomes the time of the commit, and `check` refuses
    documents that may not be stored. Raises the refusal of the first write that cannot be applied.
    """
    staged = Staged()
    for change in changes:
        before = staged.documents[change.path] if change.path in staged.documents else current(change.path)
        _check_precondition(change, before)
        result = _WriteResult()
        if change.kind == "delete":
            if before is not None:
                staged.documents[change.path] = None
        elif change.kind == "verify":
            result.update_time.CopyFrom(moment if before is None else before.update_time)
        else:
            _write(change, before, moment, staged, result, check)
        staged.results.append(result)
    return staged


def _write(
    change: Change,
    before: Any | None,
    moment: timestamp_pb2.Timestamp,
    staged: Staged,
    result: Any,
    check: Callable[[str, Any], None],
) -> None:
    after = _updated(change, before)
    for transform in _transforms(change):
        result.transform_results.append(_transform(after.fields, transform, moment))
    if before is not None:
        after.create_time.CopyFrom(before.create_time)
        after.update_time.CopyFrom(before.update_time)
        if after == before:
            result.update_time.CopyFrom(before.update_time)
            return
    else:
        after.create_time.CopyFrom(moment)
    after.update_time.CopyFrom(moment)
    check(change.path, after)
    result.update_time.CopyFrom(moment)
    staged.documents[change.path] = after


def _read(message: Any, database: str) -> Change:
    kind = message.WhichOneof("operation")
    if kind is None:
        verified = [item.data for item in UnknownFieldSet(message) if item.field_number == _VERIFY_NUMBER]
        if not verified:
            raise invalid("A write has no operation.")
        kind, name = "verify", verified[0].decode()
    else:
        content = getattr(message, kind)
        name = {"update": lambda: content.name, "transform": lambda: content.document}.get(kind, lambda: content)()
    _check_form(message, kind)
    home, path = names.document(name)
    if home != database:
        raise invalid(f'Document name "{name}" is not in the database "{database}" of the request.')
    condition = message.current_document
    if condition.WhichOneof("condition_type") == "update_time" and condition.update_time.nanos % 1000:
        raise invalid("The update_time of a precondition must be microsecond aligned.")
    return Change(path, kind, message)


def _check_form(message: Any, kind: str) -> None:
    if kind != "update":
        if message.HasField("update_mask") or message.update_transforms:
            raise invalid(f"A {kind} may have neither an update mask nor update transforms.")
        if kind == "transform" and not message.transform.field_transforms:
            raise invalid("A transform has no field transforms.")
    for path in message.update_mask.field_paths:
        fields.parse_writable(path)


def _transforms(change: Change) -> Any:
    if change.kind == "update":
        return change.message.update_transforms
    return change.message.transform.field_transforms if change.kind == "transform" else ()


def _check_precondition(change: Change, before: Any | None) -> None:
    condition = change.message.current_document
    kind = condition.WhichOneof("condition_type")
    must_exist = kind == "update_time" or (kind == "exists" and condition.exists)
    if must_exist and before is None:
        raise not_found(f"No document to update: {_name(change)}")
    if before is None or kind is None:
        return
    if kind == "exists" and not condition.exists:
        raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"Document already exists: {before.name}")
    if kind == "update_time" and before.update_time != condition.update_time:
        raise failed_precondition(
            f"the stored version ({before.update_time.ToMicroseconds()}) does not match the required base version "
            f"({condition.update_time.ToMicroseconds()})"
        )


def _name(change: Change) -> str:
    message: Any = change.message
    written = {"update": message.update.name, "delete": message.delete, "transform": message.transform.document}
    return str(written.get(change.kind) or change.path)


def _updated(change: Change, before: Any | None) -> Any:
    """The document as the write leaves it before its transforms; times are not set."""
    if change.kind == "transform":
        after = _Document(name=change.message.transform.document)
        if before is not None:
            after.CopyFrom(before)
        return after
    message = change.message
    after = _Document(name=message.update.name)
    if not message.HasField("update_mask"):
        after.fields.MergeFrom(message.update.fields)
    else:
        if before is not None:
            after.fields.MergeFrom(before.fields)
        for path in message.update_mask.field_paths:
            parsed = fields.parse_writable(path)
            fields.put(after.fields, parsed, fields.get(message.update.fields, parsed))
    for value in after.fields.values():
        limits.normalize(value)
    return after


def _transform(held: Any, transform: Any, moment: timestamp_pb2.Timestamp) -> Any:
    """Change a field in place and return what the result says of it."""
    path = fields.parse_writable(transform.field_path)
    kind = transform.WhichOneof("transform_type")
    before = fields.get(held, path)
    if kind == "set_to_server_value":
        after = _server_value(transform.set_to_server_value, moment)
    elif kind in _ARITHMETIC:
        after = _reckoned(kind, before, getattr(transform, kind))
    elif kind in _ARRAYS:
        after = _ARRAYS[kind](before, getattr(transform, kind).values)
    else:
        raise invalid("A field transform says nothing to do.")
    limits.normalize(after)
    fields.put(held, path, after)
    return _NULL if kind in _ARRAYS else after


def _server_value(which: int, moment: timestamp_pb2.Timestamp) -> Any:
    if which != _REQUEST_TIME:
        raise invalid("set_to_server_value names no server value.")
    value = values.Value(timestamp_value=moment)
    # with millisecond precision, as the interface says
    value.timestamp_value.nanos -= value.timestamp_value.nanos % 1_000_000
    return value


def _reckoned(kind: str, before: Any | None, operand: Any) -> Any:
    given = values.number(operand)
    if given is None:
        raise invalid(f"The operand of {kind} must be an integer or a double.")
    held = values.number(before)
    if held is None:
        return values.of_number(given)
    return values.of_number(_ARITHMETIC[kind](held, given))


def _larger(held: float, given: float) -> float:
    if values.is_nan(held) or values.is_nan(given):
        return math.nan
    return max(held, given)


def _smaller(held: float, given: float) -> float:
    if values.is_nan(held) or values.is_nan(given):
        return math.nan
    return min(held, given)


_ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "increment": values.added,
    "maximum": _larger,
    "minimum": _smaller,
}


def _appended(before: Any | None, given: Iterable[Any]) -> Any:
    after = _array(before)
    present = {values.key(item) for item in after.array_value.values}
    for item in given:
        if values.key(item) not in present:
            present.add(values.key(item))
            after.array_value.values.append(item)
    return after


def _removed(before: Any | None, given: Iterable[Any]) -> Any:
    unwanted = {values.key(item) for item in given}
    kept = [item for item in _array(before).array_value.values if values.key(item) not in unwanted]
    after = _array(None)
    after.array_value.values.extend(kept)
    return after


def _array(before: Any | None) -> Any:
    after = values.Value()
    after.array_value.SetInParent()
    if before is not None and before.WhichOneof("value_type") == "array_value":
        after.CopyFrom(before)
    return after


_ARRAYS: Final[Mapping[str, Callable[[Any | None, Iterable[Any]], Any]]] = {
    "append_missing_elements": _appended,
    "remove_all_from_array": _removed,
}
