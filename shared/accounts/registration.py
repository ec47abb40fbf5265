"""Becoming a person: registering, and the mail that proves the address. Nobody learns who is known already."""

from __future__ import annotations

from shared.accounts import even_time, mails, passwords, rules, store
from shared.accounts.models import EmailOnly, Registration, VerificationSent
from shared.operations import service as operations
from shared.runtime import clock, ids
from shared.runtime.crypto import digest
from shared.runtime.visit import Visit


async def register(visit: Visit, wanted: Registration) -> VerificationSent:
    """Register an address. Known or not, the password is hashed, one transaction runs and one mail leaves.

    Raises:
        Unprocessable: `password_common`.
    """
    passwords.refuse_guessable("password", wanted.password, wanted.email)
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
    started_ms = clock.monotonic_ms()
    token = ids.new_secret()
    outbox_id = await store.resend_verification(
        visit,
        email=wanted.email,
        token_hash=digest(token),
        token_expires_at=rules.verification_expiry(clock.now()),
        outbox_id=ids.new_id(),
        mail=mails.verification(wanted.email, token),
    )
    await even_time.send_quietly(outbox_id, started_ms)
    return VerificationSent()
