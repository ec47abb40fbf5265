"""What a StructuredQuery means: which documents, in which order, from where to where.

Semantics: google.firestore.v1.StructuredQuery.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.cloud.firestore_v1.types import query as query_types

from local.firestore import fields, filters, names, values
from local.firestore.fields import FieldPath
from local.firestore.filters import NO_FILTER, Filter
from local.firestore.versions import Version, Versions
from local.refusals import Refusal, invalid

MAX_PARTS: Final = 100
_DESCENDING: Final = int(query_types.StructuredQuery.Direction.DESCENDING)


@dataclass(frozen=True)
class Order:
    path: FieldPath
    descending: bool = False


@dataclass(frozen=True)
class Cursor:
    """A position in the order: the values of its first fields, and whether it stands before or after them."""

    given: tuple[values.Key, ...]
    before: bool


@dataclass(frozen=True)
class Query:
    """`orders` is complete and ends in the name; `limit` None is none; `shown` None shows all fields."""

    parent: str
    collection_id: str
    all_descendants: bool
    filter: Filter
    orders: tuple[Order, ...]
    start: Cursor | None
    end: Cursor | None
    offset: int
    limit: int | None
    shown: tuple[FieldPath, ...] | None

    def run(self, versions: Versions, at: int | None = None) -> list[Version]:
        """The documents in order, the offset still among them; at most offset and limit together."""
        found = [version for version in self._scope(versions, at) if self.covers(version)]
        for order in reversed(self.orders):
            found.sort(key=lambda version: version.key(order.path) or (), reverse=order.descending)
        return found if self.limit is None else found[: self.offset + self.limit]

    def covers(self, version: Version) -> bool:
        """Whether a document of the right collection is in the result, where neither offset nor limit keeps it out."""
        if any(version.key(order.path) is None for order in self.orders) or not self.filter.matches(version):
            return False
        if self.start is not None and self._side(version, self.start) < (0 if self.start.before else 1):
            return False
        return self.end is None or self._side(version, self.end) < (0 if self.end.before else 1)

    def is_in_scope(self, path: str) -> bool:
        """Whether a document of this path is in a collection that is asked."""
        collection = path.rpartition("/")[0]
        if not self.all_descendants:
            return collection == names.child(self.parent, self.collection_id)
        below = not self.parent or path.startswith(f"{self.parent}/")
        return below and self.collection_id in {"", collection.rpartition("/")[2]}

    def is_before(self, version: Version, other: Version) -> bool:
        """Whether a document comes before another one in the order."""
        at = Cursor(tuple(other.key(order.path) or () for order in self.orders), before=True)
        return self._side(version, at) < 0

    def show(self, document: Any) -> Any:
        return document if self.shown is None else fields.projected(document, self.shown)

    def _scope(self, versions: Versions, at: int | None) -> Iterator[Version]:
        if self.all_descendants:
            return versions.group(self.collection_id, self.parent, at)
        return versions.collection(names.child(self.parent, self.collection_id), at)

    def _side(self, version: Version, cursor: Cursor) -> int:
        """Below zero before the cursor's values, above zero after them, zero at them."""
        for order, given in zip(self.orders, cursor.given, strict=False):
            held = version.key(order.path)
            if held is not None and held != given:
                return -1 if (held < given) != order.descending else 1
        return 0


def read(parent: str, message: Any) -> tuple[str, Query]:
    """The database and the meaning of a query with its parent's name. Raises a refusal when it is not allowed."""
    database, below = names.parent(parent)
    selector = _selector(message)
    if message.HasField("find_nearest"):
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "The local stand-in does not implement find_nearest.")
    chosen = filters.read(message.where, names.full(database, "")) if message.HasField("where") else NO_FILTER
    given = [Order(fields.parse(item.field.field_path), item.direction == _DESCENDING) for item in message.order_by]
    _check_orders(given)
    segments = below.count("/") + 1 if below else 0
    if chosen.leaves + len(given) + segments > MAX_PARTS:
        raise invalid(f"The sum of filters, sort orders and parent path segments may not exceed {MAX_PARTS}.")
    orders = _completed(given, chosen)
    if message.offset < 0:
        raise invalid("The offset may not be negative.")
    if message.HasField("limit") and message.limit.value < 0:
        raise invalid("The limit may not be negative.")
    return database, Query(
        parent=below,
        collection_id=selector.collection_id,
        all_descendants=selector.all_descendants,
        filter=chosen,
        orders=orders,
        start=_cursor(message, "start_at", orders, given),
        end=_cursor(message, "end_at", orders, given),
        offset=message.offset,
        limit=message.limit.value if message.HasField("limit") else None,
        shown=_shown(message),
    )


def _selector(message: Any) -> Any:
    selectors = message.from_
    if len(selectors) != 1:
        raise invalid("A query must have exactly one collection selector.")
    selector = selectors[0]
    if selector.collection_id:
        names.check_collection_id(selector.collection_id)
    elif not selector.all_descendants:
        raise invalid("A collection selector without an id must select all descendants.")
    return selector


def _check_orders(given: Sequence[Order]) -> None:
    paths = [order.path for order in given]
    if len(set(paths)) != len(paths):
        raise invalid("A field is ordered by more than once.")
    if fields.NAME in paths[:-1]:
        raise invalid("__name__ decides every order: nothing can be ordered by after it.")


def _completed(given: Sequence[Order], chosen: Filter) -> tuple[Order, ...]:
    """Every field with an inequality, then the name, in the direction of the last order that was given."""
    descending = given[-1].descending if given else False
    present = {order.path for order in given}
    orders = list(given)
    if fields.NAME not in present:
        missing = [path for path in chosen.inequality_fields if path not in present and path != fields.NAME]
        missing.sort(key=fields.written)
        orders += [Order(path, descending) for path in (*missing, fields.NAME)]
    elif any(path not in present for path in chosen.inequality_fields):
        raise invalid("A field with an inequality must be ordered by before __name__.")
    return tuple(orders)


def _cursor(message: Any, which: str, orders: Sequence[Order], given: Sequence[Order]) -> Cursor | None:
    if not message.HasField(which):
        return None
    cursor = getattr(message, which)
    # without an order of its own a query is ordered by inequality fields and the name, which cursors then follow
    if len(cursor.values) > len(given or orders):
        raise invalid("Cursor has too many values.")
    if not cursor.values:
        raise invalid("Cursor has no values.")
    for order, value in zip(orders, cursor.values, strict=False):
        if order.path == fields.NAME and value.WhichOneof("value_type") != "reference_value":
            raise invalid("Cursor value for __name__ must be a reference to a document.")
    return Cursor(tuple(values.key(value) for value in cursor.values), cursor.before)


def _shown(message: Any) -> tuple[FieldPath, ...] | None:
    if not message.HasField("select") or not message.select.fields:
        return None
    return tuple(fields.parse(item.field_path) for item in message.select.fields)
