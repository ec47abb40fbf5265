"""Which indexes there are, and whether a query has the ones it needs.

The file has the form of firebase's firestore.indexes.json
(https://firebase.google.com/docs/reference/firestore/indexes): composite indexes in `indexes`; exemptions from the
automatic single-field indexes, and TTL, in `fieldOverrides`. What needs which index follows
https://firebase.google.com/docs/firestore/query-data/index-overview; where the documents leave it open, the index is
asked for, since one too many does no harm and one too few fails in production.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from local.firestore import fields, filters
from local.firestore.fields import FieldPath
from local.firestore.filters import Leaf
from local.firestore.queries import Order, Query
from local.refusals import failed_precondition

log = logging.getLogger(__name__)

ASCENDING: Final = "ASCENDING"
DESCENDING: Final = "DESCENDING"
CONTAINS: Final = "CONTAINS"
AUTOMATIC: Final = frozenset({ASCENDING, DESCENDING, CONTAINS})
NO_MODES: Final[frozenset[str]] = frozenset()
COLLECTION: Final = "COLLECTION"
COLLECTION_GROUP: Final = "COLLECTION_GROUP"
_EVERY_FIELD: Final = "*"
_Scope = Literal["COLLECTION", "COLLECTION_GROUP"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    field_path: str = Field(alias="fieldPath")
    order: Literal["ASCENDING", "DESCENDING"] | None = None
    array_config: Literal["CONTAINS"] | None = Field(default=None, alias="arrayConfig")

    @model_validator(mode="after")
    def _one_mode(self) -> _Part:
        if (self.order is None) == (self.array_config is None):
            raise ValueError(f"{self.field_path} needs an order or an arrayConfig, not both.")
        return self

    @property
    def mode(self) -> str:
        return self.order or CONTAINS


class _Composite(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    collection_group: str = Field(alias="collectionGroup")
    query_scope: _Scope = Field(default="COLLECTION", alias="queryScope")
    parts: tuple[_Part, ...] = Field(alias="fields", min_length=2)


class _Single(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    order: Literal["ASCENDING", "DESCENDING"] | None = None
    array_config: Literal["CONTAINS"] | None = Field(default=None, alias="arrayConfig")
    query_scope: _Scope = Field(default="COLLECTION", alias="queryScope")


class _Override(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    collection_group: str = Field(alias="collectionGroup")
    field_path: str = Field(alias="fieldPath")
    ttl: bool = False
    # without a list the automatic indexes stay; an empty one switches them off
    indexes: tuple[_Single, ...] | None = None


class IndexFile(BaseModel):
    """What the file says."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    indexes: tuple[_Composite, ...] = ()
    overrides: tuple[_Override, ...] = Field(default=(), alias="fieldOverrides")

    @cached_property
    def expiring(self) -> dict[str, FieldPath]:
        """The field that says when a document expires, by collection group."""
        return {item.collection_group: fields.parse(item.field_path) for item in self.overrides if item.ttl}

    @cached_property
    def _single(self) -> dict[tuple[str, FieldPath], _Override]:
        return {
            (item.collection_group, _path(item.field_path)): item for item in self.overrides if item.indexes is not None
        }

    def modes(self, group: str, path: FieldPath, scope: str = COLLECTION) -> frozenset[str]:
        """The single-field indexes of a field. A map's override holds for what is in it, `*` for every field."""
        chosen = [(group, path[:length]) for length in range(len(path), 0, -1)]
        for key in (*chosen, (group, (_EVERY_FIELD,))):
            override = self._single.get(key)
            if override is not None and override.indexes is not None:
                return frozenset(item.order or CONTAINS for item in override.indexes if item.query_scope == scope)
        return AUTOMATIC if scope == COLLECTION else NO_MODES


class IndexBook:
    """The file at a path, read again whenever it has changed (one stat a look)."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError when the file is there and cannot be understood; without one nothing is declared."""
        self._path = path
        self._stamp = self._look()
        self._file = IndexFile() if self._stamp is None else self._load()

    def current(self) -> IndexFile:
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._file = IndexFile() if stamp is None else self._load()
            except ValueError as error:
                log.warning("the indexes stay as they were: %s", error)
        return self._file

    def _look(self) -> tuple[int, int] | None:
        try:
            seen = self._path.stat()
        except FileNotFoundError:
            return None
        return seen.st_mtime_ns, seen.st_size

    def _load(self) -> IndexFile:
        try:
            return IndexFile.model_validate_json(self._path.read_text(encoding="utf-8"))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{self._path.name} cannot be understood: {where}: {first['msg']}") from None


@dataclass(frozen=True)
class _Need:
    """What one disjunction asks of indexes: fields with one value each, then an order."""

    equalities: frozenset[FieldPath]
    contains: frozenset[FieldPath]
    orders: tuple[Order, ...]
    name_descending: bool

    @property
    def prefix(self) -> frozenset[FieldPath]:
        return self.equalities | self.contains

    @property
    def natural_direction(self) -> bool:
        return self.orders[-1].descending if self.orders else False


def check(query: Query, declared: IndexFile, aggregated: Sequence[FieldPath] = ()) -> None:
    """Refuse (FAILED_PRECONDITION, in words that name the index) a query that has no index to be answered from.

    `aggregated` are the fields that sums and averages read from the index.
    """
    for group in query.filter.disjunctions:
        need = _need(query, group, aggregated)
        if need is not None:
            _check(query, need, declared)


def _need(query: Query, group: Iterable[Leaf], aggregated: Sequence[FieldPath]) -> _Need | None:
    leaves = list(group)
    equalities = frozenset(leaf.path for leaf in leaves if leaf.kind == filters.EQUALITY)
    if fields.NAME in equalities:
        # one document at most: no index is looked at
        return None
    orders = [order for order in query.orders if order.path not in equalities]
    name = orders.pop() if orders and orders[-1].path == fields.NAME else Order(fields.NAME)
    held = equalities | {order.path for order in orders}
    orders += [Order(path) for path in aggregated if path not in held]
    contains = frozenset(leaf.path for leaf in leaves if leaf.kind == filters.CONTAINS)
    return _Need(equalities, contains, tuple(orders), name.descending)


def _check(query: Query, need: _Need, declared: IndexFile) -> None:
    if not query.collection_id or (not need.prefix and not need.orders and not need.name_descending):
        return
    single = _single_fields(need)
    scope = COLLECTION_GROUP if query.all_descendants else COLLECTION
    if single is not None:
        missing = [item for item in single if item[1] not in declared.modes(query.collection_id, item[0], scope)]
        if not missing:
            return
        if len(single) == 1:
            raise _missing_single(query.collection_id, scope, *missing[0])
    if not _has_composite(query.collection_id, scope, need, declared):
        raise _missing_composite(query.collection_id, scope, need)


def _single_fields(need: _Need) -> list[tuple[FieldPath, str]] | None:
    """The single-field indexes that answer it, merged by name where there are several; None where none can."""
    natural = need.natural_direction == need.name_descending
    if not need.prefix and len(need.orders) == 1 and natural:
        return [(need.orders[0].path, DESCENDING if need.orders[0].descending else ASCENDING)]
    if need.prefix and not need.orders and not (need.contains and need.name_descending):
        direction = DESCENDING if need.name_descending else ASCENDING
        return [
            *((path, direction) for path in sorted(need.equalities)),
            *((path, CONTAINS) for path in sorted(need.contains)),
        ]
    return None


def _has_composite(group: str, scope: str, need: _Need, declared: IndexFile) -> bool:
    """Whether declared indexes, merged where several are needed, cover the equalities and share the order."""
    covered: set[FieldPath] = set()
    found = False
    for index in declared.indexes:
        if index.collection_group == group and index.query_scope == scope:
            prefix = _served_prefix(index, need)
            if prefix is not None:
                covered |= prefix
                found = True
    return found and covered >= need.prefix


def _served_prefix(index: _Composite, need: _Need) -> set[FieldPath] | None:
    """The fields with one value that an index covers, when it is ordered as needed after them; None when it is not."""
    parts = [(_path(part.field_path), part.mode) for part in index.parts]
    directional = [mode for path, mode in parts if path != fields.NAME]
    last = directional[-1] if directional else ASCENDING
    name = parts.pop()[1] if parts[-1][0] == fields.NAME else (DESCENDING if last == DESCENDING else ASCENDING)
    count = len(need.orders)
    split = len(parts) - count
    if split < 0 or (name == DESCENDING) != need.name_descending:
        return None
    suffix = [(order.path, DESCENDING if order.descending else ASCENDING) for order in need.orders]
    if parts[split:] != suffix:
        return None
    prefix = parts[:split]
    fits = all(path in (need.contains if mode == CONTAINS else need.equalities) for path, mode in prefix)
    return {path for path, _ in prefix} if fits else None


def _missing_single(group: str, scope: str, path: FieldPath, mode: str) -> Exception:
    kind = {ASCENDING: "ASC", DESCENDING: "DESC", CONTAINS: "CONTAINS"}[mode]
    single = {"arrayConfig": CONTAINS} if mode == CONTAINS else {"order": mode}
    override = {
        "collectionGroup": group,
        "fieldPath": fields.written(path),
        "indexes": [{**single, "queryScope": scope}],
    }
    return failed_precondition(
        f"The query requires a {scope}_{kind} index for collection {group} and field {fields.written(path)}. "
        f"Declare it in infra/firestore/indexes.json, in fieldOverrides: {json.dumps(override)}"
    )


def _missing_composite(group: str, scope: str, need: _Need) -> Exception:
    parts: list[dict[str, Any]] = [
        {"fieldPath": fields.written(path), "order": ASCENDING} for path in sorted(need.equalities)
    ]
    parts += [{"fieldPath": fields.written(path), "arrayConfig": CONTAINS} for path in sorted(need.contains)]
    parts += [
        {"fieldPath": fields.written(order.path), "order": DESCENDING if order.descending else ASCENDING}
        for order in need.orders
    ]
    if len(parts) < 2 or need.name_descending != need.natural_direction:
        parts.append({"fieldPath": "__name__", "order": DESCENDING if need.name_descending else ASCENDING})
    index = {"collectionGroup": group, "queryScope": scope, "fields": parts}
    return failed_precondition(
        f"The query requires an index. Declare it in infra/firestore/indexes.json, in indexes: {json.dumps(index)}"
    )


def _path(written: str) -> FieldPath:
    return (_EVERY_FIELD,) if written == _EVERY_FIELD else fields.parse(written)
