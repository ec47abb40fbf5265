"""The rooms that join the registers of places and endings."""

from __future__ import annotations


def load() -> None:
    """Import every room that joins, so that no process erases or ends less than there is.

    A room that joins adds its import here, inside the function: only who erases or ends something pays for it. A test
    finds the modules that join and are not imported here.
    """
