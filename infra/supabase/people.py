"""Who administers. The first administrator is made here, with the project's server key; the interface cannot.

    python -m infra.supabase.people administrator ada@example.com
    python -m infra.supabase.people administrator ada@example.com --revoke

Reads SUPABASE_URL, SUPABASE_SECRET_KEY and BACKEND_KEY from the environment, as the functions do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import httpx
from supabase import Client, ClientOptions, PostgrestAPIError, create_client

from shared.clients.database import DatabaseSettings, ServerSettings
from shared.runtime.errors import ConfigurationError
from shared.runtime.settings import load


def connect(http: httpx.Client) -> Client:
    """The whole client of the project, with the server key, past the gate as our backend, over one HTTP/1.1 pool.

    Raises:
        ConfigurationError: a variable is missing.
    """
    settings, server = load(DatabaseSettings), load(ServerSettings)
    options = ClientOptions(
        headers={"X-Backend-Key": settings.backend_key.get_secret_value()},
        auto_refresh_token=False,
        persist_session=False,
        httpx_client=http,
    )
    return create_client(settings.supabase_url, server.supabase_secret_key.get_secret_value(), options)


def set_administrator(client: Client, email: str, *, administrator: bool) -> dict[str, Any]:
    """Make an active, verified person an administrator, or no longer one.

    Raises:
        PostgrestAPIError: nobody has this address, or the keys are not accepted.
    """
    parameters = {"p_email": email, "p_administrator": administrator}
    answer = client.rpc("set_administrator", parameters).execute().data
    assert isinstance(answer, dict)
    return answer


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.supabase.people", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    administrator = commands.add_parser("administrator", help="make a person an administrator")
    administrator.add_argument("email")
    administrator.add_argument("--revoke", action="store_true", help="no longer one")
    wanted = parser.parse_args(arguments)
    try:
        with httpx.Client(http2=False, timeout=10) as http:
            person = set_administrator(connect(http), wanted.email, administrator=not wanted.revoke)
    except ConfigurationError as missing:
        print(f"Not done: {missing}.", file=sys.stderr)
        return 2
    except PostgrestAPIError as refused:
        print(f"Not done: {refused.hint or refused.message}", file=sys.stderr)
        return 1
    print(f"{person['email']} {'administers' if person['is_admin'] else 'does not administer any more'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
