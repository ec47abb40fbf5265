"""Says in a sentence what a machine lacks, before anything is installed. Runs on any Python 3.6, so it is plain."""

import sys

NEEDED = (3, 11)


def lacking() -> str:
    """The sentence; empty when nothing is lacking."""
    have = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info[:2] < NEEDED:
        return (
            f"This needs Python 3.11 or newer, and {sys.executable} is {have}. "
            "Install a newer one and name it: make dev PYTHON=/path/to/python3.11"
        )
    try:
        __import__("ensurepip")
        __import__("venv")
    except ImportError:
        return (
            f"This Python ({sys.executable}) cannot make virtual environments. "
            f"On Debian and Ubuntu: apt install python{have}-venv"
        )
    return ""


if __name__ == "__main__":
    sys.exit(lacking() or 0)
