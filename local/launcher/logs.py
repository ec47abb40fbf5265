"""The log of one process: a file that never grows beyond a bound, and its last lines."""

from __future__ import annotations

from collections import deque
from pathlib import Path

MAX_BYTES = 4 * 1024 * 1024
REMEMBERED_LINES = 12


class RollingLog:
    """Appends bytes to a file; at the bound the file becomes `NAME.log.1` and a new one begins."""

    def __init__(self, file: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = file
        self._max_bytes = max_bytes
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("ab", buffering=0)
        self._size = self._file.tell()
        self._last: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._unfinished = b""

    def write(self, data: bytes) -> None:
        if self._size + len(data) > self._max_bytes and self._size:
            self._roll()
        self._file.write(data)
        self._size += len(data)
        *lines, rest = (self._unfinished + data).split(b"\n")
        self._unfinished = rest[-self._max_bytes // 64 :]
        self._last.extend(line.decode(errors="replace") for line in lines if line.strip())

    def last_lines(self) -> list[str]:
        rest = self._unfinished.decode(errors="replace").strip()
        return [*self._last, *([rest] if rest else [])][-REMEMBERED_LINES:]

    def close(self) -> None:
        self._file.close()

    def _roll(self) -> None:
        self._file.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._file = self._path.open("ab", buffering=0)
        self._size = 0


def tail(file: Path, lines: int = 200, max_bytes: int = 128 * 1024) -> list[str]:
    """The last lines of a log file that another process writes; empty if there is none."""
    try:
        with file.open("rb") as opened:
            opened.seek(0, 2)
            opened.seek(max(0, opened.tell() - max_bytes))
            return opened.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []
