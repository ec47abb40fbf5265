"""What S3's lists answer: objects and their common prefixes, uploads and parts, a page at a time."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from local.storage.documents import Value, escaped
from local.storage.refusals import invalid
from local.storage.shelf import Kept, Shelf, Upload

MOST = 1000
# Sorts behind every key that begins as the text before it does.
_LAST = "\U0010ffff"


def objects(shelf: Shelf, bucket: str, query: Mapping[str, str]) -> dict[str, Value]:
    """The content of a `ListBucketResult`. Raises S3Refusal."""
    prefix, delimiter, encoding = query.get("prefix", ""), query.get("delimiter", ""), query.get("encoding-type")
    limit = _limit(query, "max-keys")
    start = _from_token(query["continuation-token"]) if "continuation-token" in query else query.get("start-after", "")
    entries, prefixes, last, more = _page(shelf, bucket, prefix, delimiter, start, limit)
    content: dict[str, Value] = {
        "Name": bucket,
        "Prefix": escaped(prefix, encoding),
        "KeyCount": len(entries) + len(prefixes),
        "MaxKeys": limit,
        "IsTruncated": more,
    }
    if delimiter:
        content["Delimiter"] = escaped(delimiter, encoding)
    if encoding:
        content["EncodingType"] = encoding
    if more:
        content["NextContinuationToken"] = _token(last)
    content["Contents"] = [_entry(kept, encoding) for kept in entries]
    content["CommonPrefixes"] = [{"Prefix": escaped(each, encoding)} for each in prefixes]
    return content


def _page(
    shelf: Shelf, bucket: str, prefix: str, delimiter: str, start: str, limit: int
) -> tuple[list[Kept], list[str], str, bool]:
    """Objects, common prefixes, where the next page begins, and whether there is one."""
    entries: list[Kept] = []
    prefixes: list[str] = []
    position = start
    while True:
        found = shelf.after(bucket, prefix, position, MOST)
        if not found:
            return entries, prefixes, position, False
        for kept in found:
            if prefixes and kept.key.startswith(prefixes[-1]):
                continue
            if len(entries) + len(prefixes) == limit:
                return entries, prefixes, position, limit > 0
            common = _common(kept.key, prefix, delimiter)
            if common is None:
                entries.append(kept)
                position = kept.key
            else:
                prefixes.append(common)
                position = common + _LAST
        position = max(position, found[-1].key, key=str.encode)


def _common(key: str, prefix: str, delimiter: str) -> str | None:
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if end == -1 else key[: end + len(delimiter)]


def _entry(kept: Kept, encoding: str | None) -> dict[str, Value]:
    return {
        "Key": escaped(kept.key, encoding),
        "LastModified": kept.modified_at,
        "ETag": f'"{kept.etag}"',
        "Size": kept.size,
        "StorageClass": "STANDARD",
    }


def uploads(shelf: Shelf, bucket: str, query: Mapping[str, str]) -> dict[str, Value]:
    """The content of a `ListMultipartUploadsResult`. Raises S3Refusal."""
    prefix, encoding = query.get("prefix", ""), query.get("encoding-type")
    limit = _limit(query, "max-uploads")
    marker = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
    begun = sorted(shelf.uploads(bucket, prefix), key=lambda upload: (upload.key.encode(), upload.id))
    # Without an upload's id the marker stands behind all uploads of its key.
    rest = [
        upload
        for upload in begun
        if upload.key.encode() > marker[0].encode() or (upload.key == marker[0] and marker[1] and upload.id > marker[1])
    ]
    page = rest[:limit]
    content: dict[str, Value] = {
        "Bucket": bucket,
        "Prefix": escaped(prefix, encoding),
        "KeyMarker": escaped(marker[0], encoding),
        "UploadIdMarker": marker[1],
        "MaxUploads": limit,
        "IsTruncated": len(rest) > limit,
    }
    if encoding:
        content["EncodingType"] = encoding
    if len(rest) > limit and page:
        content["NextKeyMarker"] = escaped(page[-1].key, encoding)
        content["NextUploadIdMarker"] = page[-1].id
    content["Upload"] = [
        {"Key": escaped(upload.key, encoding), "UploadId": upload.id, "Initiated": upload.begun_at} for upload in page
    ]
    return content


def parts(shelf: Shelf, upload: Upload, query: Mapping[str, str]) -> dict[str, Value]:
    """The content of a `ListPartsResult`. Raises S3Refusal."""
    limit, marker = _limit(query, "max-parts"), query.get("part-number-marker", "0")
    if not marker.isdecimal():
        raise invalid("part-number-marker must be a number")
    rest = [part for part in shelf.parts(upload.id) if part.number > int(marker)]
    page = rest[:limit]
    content: dict[str, Value] = {
        "Bucket": upload.bucket,
        "Key": upload.key,
        "UploadId": upload.id,
        "PartNumberMarker": int(marker),
        "MaxParts": limit,
        "IsTruncated": len(rest) > limit,
    }
    if len(rest) > limit and page:
        content["NextPartNumberMarker"] = page[-1].number
    content["Part"] = [
        {
            "PartNumber": part.number,
            "LastModified": part.modified_at,
            "ETag": f'"{part.etag}"',
            "Size": part.piece.size,
        }
        for part in page
    ]
    return content


def _limit(query: Mapping[str, str], name: str) -> int:
    raw = query.get(name, str(MOST))
    if not raw.isdecimal():
        raise invalid(f"{name} must be a number")
    return min(int(raw), MOST)


def _token(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        raise invalid("The continuation token provided is incorrect") from None
