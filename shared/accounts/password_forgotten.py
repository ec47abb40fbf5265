"""Asking for a new password: nobody but the reader of the mail learns whether the address is known."""

from __future__ import annotations

from shared.accounts import even_time, mails, rules, store
from shared.accounts.models import EmailOnly, ResetSent
from shared.runtime import clock, ids
from shared.runtime.crypto import digest
from shared.runtime.visit import Visit


async def forgot(visit: Visit, given: EmailOnly) -> ResetSent:
    """Mail a link that sets a new password to whoever has this address; links before it stop working."""
    started_ms = clock.monotonic_ms()
    token = ids.new_secret()
    outbox_id = await store.ask_password_reset(
        visit,
        email=given.email,
        token_hash=digest(token),
        token_expires_at=rules.reset_expiry(clock.now()),
        outbox_id=ids.new_id(),
        mail=mails.password_reset(given.email, token),
    )
    await even_time.send_quietly(outbox_id, started_ms)
    return ResetSent()
