"""Pages of documents and of collection ids, and the points at which a query can be cut into parts.

A page token holds the position after the last item, so that pages fit together while documents come and go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.cloud.firestore_v1.types import document as document_types
from google.cloud.firestore_v1.types import query as query_types
from google.protobuf.message import DecodeError

from local.firestore import fields, names, values
from local.firestore.queries import Query
from local.firestore.versions import Version, Versions
from local.refusals import Refusal, invalid

DEFAULT_PAGE: Final = 300
_Cursor: Any = query_types.Cursor.pb()
_Document: Any = document_types.Document.pb()
_StructuredQuery: Any = query_types.StructuredQuery.pb()
_DIRECTIONS: Final = {"": 1, "asc": 1, "desc": 2}


def query_of(request: Any) -> Any:
    """The StructuredQuery that ListDocuments stands for, starting after the page token and without a limit.

    Raises a refusal for a malformed order or token.
    """
    query = _StructuredQuery()
    selector = query.from_.add()
    if request.collection_id:
        selector.collection_id = names.check_collection_id(request.collection_id)
    else:
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "The local stand-in lists the documents of one collection only.")
    for part in filter(None, request.order_by.split(",")):
        words = part.split()
        if not 1 <= len(words) <= 2 or (direction := " ".join(words[1:]).lower()) not in _DIRECTIONS:
            raise invalid(f'order_by "{request.order_by}" is not of the form "field asc, field desc".')
        query.order_by.add(field={"field_path": words[0]}, direction=_DIRECTIONS[direction])
    if "__name__" not in [order.field.field_path for order in query.order_by]:
        last = query.order_by[-1].direction if query.order_by else 1
        query.order_by.add(field={"field_path": "__name__"}, direction=last)
    if request.page_token:
        query.start_at.CopyFrom(_cursor(request.page_token))
        query.start_at.before = False
    return query


def page_size(request: Any) -> int:
    """How many items a page may have. Raises a refusal when a negative number is asked for."""
    if request.page_size < 0:
        raise invalid("page_size may not be negative.")
    return min(request.page_size or DEFAULT_PAGE, DEFAULT_PAGE)


def token_after(query: Query, version: Version) -> str:
    """The token of the page that follows a document in the order of the query."""
    cursor = _Cursor()
    for order in query.orders:
        if order.path == fields.NAME:
            cursor.values.add(reference_value=version.document.name)
        else:
            cursor.values.add().CopyFrom(fields.get(version.document.fields, order.path))
    return _token(cursor)


def with_missing(versions: Versions, database: str, collection: str, at: int | None) -> list[Any]:
    """The documents of a collection by name; those that are missing but have documents below them without fields."""
    found = {version.path: version.document for version in versions.collection(collection, at)}
    prefix = f"{collection}/"
    for path in versions.collection_paths("", at):
        if path.startswith(prefix):
            identifier = path[len(prefix) :].partition("/")[0]
            found.setdefault(prefix + identifier, _Document(name=names.full(database, prefix + identifier)))
    return sorted(found.values(), key=lambda document: values.reference_key(document.name))


def page_by_name(documents: Sequence[Any], request: Any) -> tuple[list[Any], str]:
    """The page of documents in the order of their names that a request asks for, and the token of the next."""
    size = page_size(request)
    if request.page_token:
        cursor = _cursor(request.page_token)
        after = values.reference_key(cursor.values[0].reference_value)
        documents = [document for document in documents if values.reference_key(document.name) > after]
    page = list(documents[:size])
    more = len(documents) > size
    return page, _token(_Cursor(values=[values.Value(reference_value=page[-1].name)])) if more else ""


def collection_ids(versions: Versions, below: str, at: int | None) -> list[str]:
    """The ids of the collections directly below a document, or the root, in order."""
    start = len(below) + 1 if below else 0
    found = {path[start:].partition("/")[0] for path in versions.collection_paths(below, at)}
    return sorted(found, key=str.encode)


def page_of_ids(identifiers: Sequence[str], request: Any) -> tuple[list[str], str]:
    size = page_size(request)
    if request.page_token:
        cursor = _cursor(request.page_token)
        after = cursor.values[0].string_value.encode()
        identifiers = [identifier for identifier in identifiers if identifier.encode() > after]
    page = list(identifiers[:size])
    more = len(identifiers) > size
    return page, _token(_Cursor(values=[values.Value(string_value=page[-1])])) if more else ""


def partitions(documents: Sequence[Version], wanted: int) -> list[Any]:
    """Up to so many cursors that cut documents in the order of their names into parts of about the same size."""
    points = min(wanted, max(len(documents) - 1, 0))
    places = [(index + 1) * len(documents) // (points + 1) for index in range(points)]
    return [
        _Cursor(values=[values.Value(reference_value=documents[place].document.name)], before=True) for place in places
    ]


def page_of_partitions(cursors: Sequence[Any], request: Any) -> tuple[list[Any], str]:
    size = request.page_size or len(cursors)
    if request.page_size < 0:
        raise invalid("page_size may not be negative.")
    if request.page_token:
        after = values.reference_key(_cursor(request.page_token).values[0].reference_value)
        cursors = [cursor for cursor in cursors if values.reference_key(cursor.values[0].reference_value) > after]
    page = list(cursors[:size])
    return page, _token(page[-1]) if len(cursors) > size else ""


def _token(cursor: Any) -> str:
    return base64.urlsafe_b64encode(cursor.SerializeToString()).decode()


def _cursor(token: str) -> Any:
    try:
        cursor = _Cursor.FromString(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (DecodeError, ValueError, binascii.Error):
        raise invalid("page_token is not one that a list call gave.") from None
    if not cursor.values:
        raise invalid("page_token is not one that a list call gave.")
    return cursor
