"""Pure decisions about avatar time. What holds of seconds is decided where they are kept, in one statement each."""

from __future__ import annotations

from typing import Final

GRANT_MAX_SECONDS: Final = 1_000_000
