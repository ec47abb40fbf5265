"""Resource names: `projects/{project}/databases/{database}/documents/{path}`, and what their parts may be.

Inside this package a database is known by its whole name, a document by the path below `documents/`.
Limits: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from local.refusals import invalid

MAX_ID_BYTES: Final = 1_500
MAX_NAME_BYTES: Final = 6 * 1024
MAX_SUBCOLLECTION_DEPTH: Final = 100
DEFAULT_DATABASE: Final = "(default)"
_DATABASE: Final = re.compile(r"projects/[^/]+/databases/[^/]+")
_DOCUMENTS: Final = re.compile(r"(projects/[^/]+/databases/[^/]+)/documents(?:/(.+))?", re.DOTALL)
_RESERVED: Final = re.compile(r"__.*__", re.DOTALL)
# Entities that came from Datastore keep their numbers as names of this form.
_NUMERIC: Final = re.compile(r"__id-?[0-9]+__")


def check_database(name: str) -> str:
    """The name itself. Raises a refusal when it is not that of a database."""
    if not _DATABASE.fullmatch(name):
        raise invalid(f'Invalid database name "{name}": it is not of the form projects/{{project}}/databases/{{id}}.')
    return name


@lru_cache(maxsize=4096)
def document(name: str) -> tuple[str, str]:
    """The database and the path of a document's name. Raises a refusal when it is none."""
    database, path = _split(name)
    if not path or path.count("/") % 2 == 0:
        raise invalid(f'Document name "{name}" does not end in a document: collections and documents alternate.')
    return database, path


@lru_cache(maxsize=1024)
def parent(name: str) -> tuple[str, str]:
    """The database and the path of what collections hang from: a document, or nothing at the root.

    Raises a refusal when it is the name of neither.
    """
    database, path = _split(name)
    if path and path.count("/") % 2 == 0:
        raise invalid(f'Parent name "{name}" is that of a collection: it must be a document or the root.')
    return database, path


def check_collection_id(identifier: str) -> str:
    """The identifier itself. Raises a refusal when no collection may have it."""
    _check_id(identifier, "Collection id")
    if _RESERVED.fullmatch(identifier):
        raise invalid(f'Collection id "{identifier}" is invalid because it is reserved.')
    return identifier


def check_document_id(identifier: str) -> str:
    """The identifier itself. Raises a refusal when no document may have it."""
    _check_id(identifier, "Document id")
    if _RESERVED.fullmatch(identifier) and not _NUMERIC.fullmatch(identifier):
        raise invalid(f'Resource id "{identifier}" is invalid because it is reserved.')
    return identifier


def full(database: str, path: str) -> str:
    """The resource name of a document, or of the root where the path is empty."""
    return f"{database}/documents/{path}" if path else f"{database}/documents"


def child(parent_path: str, collection_id: str) -> str:
    """The path of a collection below a document, or below the root."""
    return f"{parent_path}/{collection_id}" if parent_path else collection_id


def _split(name: str) -> tuple[str, str]:
    found = _DOCUMENTS.fullmatch(name)
    if found is None:
        raise invalid(
            f'Invalid resource name "{name}": it is not of the form '
            "projects/{project}/databases/{database}/documents/{path}."
        )
    path = found[2] or ""
    if len(name.encode()) > MAX_NAME_BYTES:
        raise invalid(f"The name of a document is longer than {MAX_NAME_BYTES} bytes.")
    if path:
        segments = path.split("/")
        if len(segments) > 2 * MAX_SUBCOLLECTION_DEPTH + 1:
            raise invalid(f"Collections are nested deeper than {MAX_SUBCOLLECTION_DEPTH} levels.")
        for index, segment in enumerate(segments):
            (check_document_id if index % 2 else check_collection_id)(segment)
    return found[1], path


def _check_id(identifier: str, kind: str) -> None:
    if not identifier or "/" in identifier or identifier in {".", ".."}:
        raise invalid(f'{kind} "{identifier}" is invalid: it may not be empty, ".", "..", nor contain a slash.')
    if len(identifier.encode()) > MAX_ID_BYTES:
        raise invalid(f"{kind} is longer than {MAX_ID_BYTES} bytes.")
