"""Audio in requests: as the raw body, or as the part `audio` of a multipart form. Limits hold while reading."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from shared.runtime.errors import BadRequest, TooLarge, UnsupportedMedia

# What multipart adds around the audio.
FORM_OVERHEAD_BYTES = 64 * 1024


def is_multipart(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


def bare_media_type(content_type: str) -> str:
    """The media type of a Content-Type header without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def audio_too_large(limit_bytes: int, hint: str) -> TooLarge:
    return TooLarge(f"The audio is larger than {limit_bytes // (1024 * 1024)} MiB. {hint}", code="audio_too_large")


async def read_audio(
    request: Request, *, media_types: frozenset[str], limit_bytes: int, too_large: Callable[[], TooLarge]
) -> bytes:
    """The bytes of the audio in a request.

    Raises:
        TooLarge: what `too_large` makes, as soon as the limit is passed.
        UnsupportedMedia: neither audio of a known type nor a form.
        BadRequest: a form without the part `audio`, or the client went away in the middle (`client_gone`).
    """
    try:
        if is_multipart(request):
            return await _from_form(request, media_types, limit_bytes, too_large)
        _check_type(request.headers.get("content-type", ""), media_types)
        return await _from_body(request, limit_bytes, too_large)
    except ClientDisconnect:
        raise BadRequest("The upload broke off.", code="client_gone") from None
    except HTTPException as refused:
        if refused.status_code == 413:
            raise too_large() from None
        raise BadRequest("The form could not be read.", code="body_unreadable") from None


async def _from_body(request: Request, limit_bytes: int, too_large: Callable[[], TooLarge]) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit_bytes:
            raise too_large()
    return bytes(data)


async def _from_form(
    request: Request, media_types: frozenset[str], limit_bytes: int, too_large: Callable[[], TooLarge]
) -> bytes:
    async with request.form(max_files=1, max_fields=8) as form:
        part = form.get("audio")
        if not isinstance(part, UploadFile):
            raise BadRequest("The form has no file part named `audio`.", code="audio_missing")
        _check_type(part.content_type or "", media_types)
        data = await part.read()
    if len(data) > limit_bytes:
        raise too_large()
    return data


def _check_type(content_type: str, media_types: frozenset[str]) -> None:
    if bare_media_type(content_type) not in media_types:
        raise UnsupportedMedia(
            f"Content-Type {content_type or '(none)'} is not taken here. Send JSON, a form with a part `audio`, or "
            "audio as audio/webm, audio/ogg, audio/mp4, audio/wav, audio/flac or audio/mpeg."
        )
