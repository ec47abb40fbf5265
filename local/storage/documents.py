"""The XML that S3 speaks: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree

from local.storage.refusals import S3Refusal, malformed

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
Value = str | int | bool | datetime | Mapping[str, "Value"] | Iterable["Value"]


def document(name: str, content: Mapping[str, Value]) -> bytes:
    """One element with everything in it; a list stands for an element that is repeated."""
    root = ElementTree.Element(name, {"xmlns": NAMESPACE})
    _fill(root, content)
    return _bytes(root)


def refusal_document(refusal: S3Refusal, resource: str, request_id: str) -> bytes:
    root = ElementTree.Element("Error")
    _fill(
        root,
        {"Code": refusal.code, "Message": refusal.sentence, "Resource": resource, "RequestId": request_id},
    )
    return _bytes(root)


def _bytes(root: ElementTree.Element) -> bytes:
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root)


def _fill(parent: ElementTree.Element, content: Mapping[str, Value]) -> None:
    for name, value in content.items():
        if isinstance(value, (str, bool, int, datetime, Mapping)):
            _add(parent, name, value)
        else:
            for each in value:
                _add(parent, name, each)


def _add(parent: ElementTree.Element, name: str, value: Value) -> None:
    child = ElementTree.SubElement(parent, name)
    if isinstance(value, Mapping):
        _fill(child, value)
    else:
        child.text = _text(value)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return iso(value)
    return str(value)


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def escaped(key: str, encoding: str | None) -> str:
    """A key as a list names it: percent-encoded where the caller asked for it, since XML cannot hold every one."""
    return quote(key, safe="/-_.~*") if encoding == "url" else key


def deletions(content: bytes) -> tuple[list[str], bool]:
    """The keys of a `Delete` document, and whether only failures are to be told. Raises S3Refusal."""
    root = _parsed(content, "Delete")
    keys = [_text_of(each, "Key") for each in _all(root, "Object")]
    if not 1 <= len(keys) <= 1000:
        raise malformed("A request deletes between 1 and 1000 objects.")
    return keys, (_optional(root, "Quiet") or "").lower() == "true"


def completed_parts(content: bytes) -> list[tuple[int, str]]:
    """Number and entity tag of each part of a `CompleteMultipartUpload` document, in its order. Raises S3Refusal."""
    root = _parsed(content, "CompleteMultipartUpload")
    parts = [(_text_of(each, "PartNumber"), _text_of(each, "ETag").strip('"')) for each in _all(root, "Part")]
    if not parts or not all(number.isdecimal() for number, _ in parts):
        raise malformed("The XML you provided was not well-formed or did not validate against our published schema")
    return [(int(number), etag) for number, etag in parts]


def _parsed(content: bytes, name: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - small, and Expat bounds what entities may grow to
    except ElementTree.ParseError:
        raise malformed("The XML you provided was not well-formed.") from None
    if _local(root) != name:
        raise malformed(f"The document must be a {name}.")
    return root


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(parent: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in parent if _local(child) == name]


def _optional(parent: ElementTree.Element, name: str) -> str | None:
    found = _all(parent, name)
    return (found[0].text or "") if found else None


def _text_of(parent: ElementTree.Element, name: str) -> str:
    text = _optional(parent, name)
    if text is None:
        raise malformed(f"{_local(parent)} needs {name}.")
    return text
