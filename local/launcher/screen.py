"""What the launcher says: one line for each thing it does, with the seconds since it began."""

from __future__ import annotations

import sys
import time


class Screen:
    """Plain lines, the same on a terminal and in a log. Errors go to standard error."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def say(self, what: str, about: str = "") -> None:
        print(f"{self.seconds:6.1f} s  {about:<14} {what}".rstrip(), flush=True)

    def plain(self, text: str = "") -> None:
        print(text, flush=True)

    def complain(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
