"""A stored object as a file that libraries read and seek in, by ranges, without holding it. It blocks: for threads."""

from __future__ import annotations

import io
from typing import Final

from shared.clients import storage
from shared.clients.storage import ObjectHead

# One request for this much: libraries that decode read a few kilobytes at a time.
_READ_AHEAD_BYTES: Final = 4 * 1024 * 1024


def opened(found: ObjectHead) -> io.BufferedReader:
    """The object that `head` has told of, for reading.

    Reading raises what `storage.get_range` does: ObjectChanged once it was replaced, NotFound, Unavailable.
    """
    return io.BufferedReader(_ObjectFile(found), _READ_AHEAD_BYTES)


class _ObjectFile(io.RawIOBase):
    def __init__(self, found: ObjectHead) -> None:
        self._found = found
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = min(len(buffer), max(self._found.size_bytes - self._position, 0))
        data = storage.read_range(self._found.key, self._position, length, etag=self._found.etag)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._found.size_bytes}
        position = starts[whence] + offset
        if position < 0:
            raise ValueError("a file has nothing before its beginning")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position
