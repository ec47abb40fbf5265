"""People, by their addresses. The first administrator is made here, with the server key; the interface cannot.

    python -m infra.supabase.people administrator ada@example.com [--revoke]
    python -m infra.supabase.people suspend ada@example.com --reason "Spam"
    python -m infra.supabase.people restore ada@example.com
    python -m infra.supabase.people delete ada@example.com
    python -m infra.supabase.people erasures

What follows from a suspension or a deletion elsewhere is told through the outbox, whose sweep does it.

Reads SUPABASE_URL, SUPABASE_SECRET_KEY and BACKEND_KEY from the environment, as the functions do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import httpx
from supabase import Client, ClientOptions, PostgrestAPIError, create_client

from shared.accounts.mails import goodbye
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.runtime.errors import ConfigurationError
from shared.runtime.ids import new_id
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
    return _call(client, "set_administrator", p_email=email, p_administrator=administrator)


def suspend(client: Client, email: str, reason: str) -> dict[str, Any]:
    """Refuse a person everywhere. Raises PostgrestAPIError: nobody has this address, or the last administrator has."""
    return _call(client, "suspend_address", p_email=email, p_reason=reason, p_outbox_id=str(new_id()))


def restore(client: Client, email: str) -> dict[str, Any]:
    """Let a suspended person in again. Raises PostgrestAPIError: nobody has this address."""
    return _call(client, "restore_address", p_email=email)


def delete(client: Client, email: str) -> dict[str, Any]:
    """Delete a person, as they would themself. Raises PostgrestAPIError: nobody has this address."""
    ids = {"p_goodbye_id": str(new_id()), "p_erasure_id": str(new_id())}
    return _call(client, "delete_address", p_email=email, p_goodbye=goodbye(), **ids)


def _call(client: Client, function: str, **parameters: Any) -> dict[str, Any]:
    answer = client.rpc(function, parameters).execute().data
    assert isinstance(answer, dict)
    return answer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.supabase.people", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    administrator = commands.add_parser("administrator", help="make a person an administrator")
    administrator.add_argument("--revoke", action="store_true", help="no longer one")
    suspension = commands.add_parser("suspend", help="refuse a person everywhere")
    suspension.add_argument("--reason", required=True)
    others = [commands.add_parser("restore", help="let a suspended person in again"),
              commands.add_parser("delete", help="delete a person for good")]  # fmt: skip
    commands.add_parser("erasures", help="how many deleted people are not erased yet")
    for command in (administrator, suspension, *others):
        command.add_argument("email")
    return parser


def _carry_out(client: Client, wanted: argparse.Namespace) -> str:
    """Returns the sentence that tells what was done."""
    if wanted.command == "erasures":
        found = _call(client, "waiting_erasures")
        since = f", the oldest since {found['oldest_at']}" if found["oldest_at"] else ""
        return f"{found['waiting']} deleted people are not erased yet; for {found['failing']} it failed before{since}."
    if wanted.command == "administrator":
        person = set_administrator(client, wanted.email, administrator=not wanted.revoke)
        return f"{person['email']} {'administers' if person['is_admin'] else 'does not administer any more'}."
    if wanted.command == "suspend":
        suspend(client, wanted.email, wanted.reason)
        return f"{wanted.email} is suspended."
    if wanted.command == "restore":
        restore(client, wanted.email)
        return f"{wanted.email} may sign in again."
    delete(client, wanted.email)
    return f"{wanted.email} is deleted; what was kept of them is erased by the next sweep of the outbox."


def main(arguments: Sequence[str] | None = None) -> int:
    wanted = _parser().parse_args(arguments)
    try:
        with httpx.Client(http2=False, timeout=10) as http:
            said = _carry_out(connect(http), wanted)
    except ConfigurationError as missing:
        print(f"Not done: {missing}.", file=sys.stderr)
        return 2
    except PostgrestAPIError as refused:
        print(f"Not done: {refused.hint or refused.message}", file=sys.stderr)
        return 1
    print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
