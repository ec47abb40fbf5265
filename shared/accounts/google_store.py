"""What is kept of signing in with Google: flows under way, and which account opens which person, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime

from shared.accounts.google_models import GoogleAccount, GoogleFlow, GoogleSignIn
from shared.accounts.models import OpenedSignIn
from shared.clients import database
from shared.runtime.visit import Visit


async def begin(visit: Visit, *, state_hash: str, browser_hash: str, flow: GoogleFlow, expires_at: datetime) -> None:
    await database.serve(
        visit,
        "begin_google_sign_in",
        p_state_hash=state_hash,
        p_browser_hash=browser_hash,
        p_payload=flow.model_dump(),
        p_expires_at=expires_at.isoformat(),
    )


async def pass_callback(visit: Visit, state_hash: str) -> bool:
    """Take from the caller's rate. Returns whether there is such a flow."""
    return bool((await database.serve(visit, "pass_google_callback", p_state_hash=state_hash))["known"])


async def claim(visit: Visit, *, state_hash: str, browser_hash: str) -> GoogleFlow:
    """Use a flow's state up, which only the browser that began it can."""
    data = await database.serve(visit, "claim_google_sign_in", p_state_hash=state_hash, p_browser_hash=browser_hash)
    return GoogleFlow.model_validate(data)


async def release(state_hash: str) -> None:
    """Let the same state be used again."""
    await database.call("release_google_sign_in", p_state_hash=state_hash)


async def finish(
    visit: Visit, *, state_hash: str, account: GoogleAccount, profile: dict[str, str], new: GoogleSignIn
) -> OpenedSignIn:
    """Link, make or find the account's person, and open the sign-in, in one transaction."""
    data = await database.serve(
        visit.within(),
        "finish_google_sign_in",
        p_state_hash=state_hash,
        p_google=account.model_dump(),
        p_profile=profile,
        p_user_id=str(new.person_id),
        p_sign_in_id=str(new.sign_in_id),
        p_refresh_id=str(new.refresh_id),
        p_refresh_hash=new.refresh_hash,
        p_refresh_expires_at=new.refresh_expires_at.isoformat(),
        p_device=new.device.model_dump(mode="json"),
    )
    return OpenedSignIn.model_validate(data)
