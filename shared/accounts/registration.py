"""Becoming a person: registering, and the mail that proves the address. Nobody learns who is known already."""

from __future__ import annotations

import asyncio
from typing import Final

from shared.accounts import mails, passwords, rules, store
from shared.accounts.models import EmailOnly, Registration, VerificationSent
from shared.operations import service as operations
from shared.runtime import clock, ids
from shared.runtime.crypto import digest
from shared.runtime.visit import Visit

# Longer than handing a mail to a server that is well, so that the time does not tell whether one was handed over.
_RESEND_MS: Final = 1_000


async def register(visit: Visit, wanted: Registration) -> VerificationSent:
    """Register an address. Known or not, the password is hashed, one transaction runs and one mail leaves."""
    token = ids.new_secret()
    outbox_id = await store.register(
        visit,
        person_id=ids.new_id(),
        email=wanted.email,
        password_hash=await passwords.hashed(wanted.password),
        profile=wanted.model_dump(mode="json", exclude={"email", "password"}),
        token_hash=digest(token),
        token_expires_at=rules.verification_expiry(clock.now()),
        outbox_id=ids.new_id(),
        mail=mails.verification(wanted.email, token),
        known_mail=mails.already_registered(wanted.email),
    )
    await operations.deliver_outbox([outbox_id])
    return VerificationSent()


async def resend(visit: Visit, wanted: EmailOnly) -> VerificationSent:
    """Send a fresh verification mail to an address that waits for one; the links before it stop working."""
    started = clock.monotonic_ms()
    token = ids.new_secret()
    outbox_id = await store.resend_verification(
        visit,
        email=wanted.email,
        token_hash=digest(token),
        token_expires_at=rules.verification_expiry(clock.now()),
        outbox_id=ids.new_id(),
        mail=mails.verification(wanted.email, token),
    )
    if outbox_id is not None:
        await operations.deliver_outbox([outbox_id])
    await asyncio.sleep(max(0.0, _RESEND_MS - (clock.monotonic_ms() - started)) / 1000)
    return VerificationSent()
