"""What the accounts room keeps: people, credentials and sign-ins, in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.accounts.mails import MailContent
from shared.accounts.models import Device, OpenedSignIn, Profile, StoredCredentials
from shared.clients import database
from shared.runtime.visit import Entry, Visit


async def register(
    visit: Visit,
    *,
    person_id: UUID,
    email: str,
    password_hash: str,
    profile: dict[str, Any],
    token_hash: str,
    token_expires_at: datetime,
    outbox_id: UUID,
    mail: MailContent,
    known_mail: MailContent,
) -> UUID:
    """Keep a new person, or leave a known one untouched. Returns the outbox entry of the mail that tells them."""
    data = await database.serve(
        visit,
        "register_person",
        p_user_id=str(person_id),
        p_email=email,
        p_password_hash=password_hash,
        p_profile=profile,
        p_token_hash=token_hash,
        p_token_expires_at=token_expires_at.isoformat(),
        p_outbox_id=str(outbox_id),
        p_mail=mail,
        p_known_mail=known_mail,
    )
    return UUID(data["outbox_id"])


async def resend_verification(
    visit: Visit,
    *,
    email: str,
    token_hash: str,
    token_expires_at: datetime,
    outbox_id: UUID,
    mail: MailContent,
) -> UUID | None:
    """Exchange an unverified person's token. Returns the outbox entry; None where nobody waits for a mail."""
    data = await database.serve(
        visit,
        "resend_verification",
        p_email=email,
        p_token_hash=token_hash,
        p_token_expires_at=token_expires_at.isoformat(),
        p_outbox_id=str(outbox_id),
        p_mail=mail,
    )
    return UUID(data["outbox_id"]) if data["outbox_id"] else None


async def verify_email(visit: Visit, token_hash: str) -> UUID:
    """Use a verification token up. Returns whose it was."""
    return UUID((await database.serve(visit, "verify_email", p_token_hash=token_hash))["user_id"])


async def find_credentials(visit: Visit, email: str) -> StoredCredentials | None:
    data = await database.serve(visit, "find_credentials", p_email=email)
    return None if data is None else StoredCredentials.model_validate(data)


async def open_sign_in(
    visit: Visit,
    *,
    person_id: UUID,
    sign_in_id: UUID,
    refresh_id: UUID,
    refresh_hash: str,
    refresh_expires_at: datetime,
    device: Device,
) -> OpenedSignIn:
    # The call before this one has taken from the address' rate already.
    admitted = replace(visit, rate=None, entry=Entry())
    data = await database.serve(
        admitted,
        "open_sign_in",
        p_user_id=str(person_id),
        p_sign_in_id=str(sign_in_id),
        p_refresh_id=str(refresh_id),
        p_refresh_hash=refresh_hash,
        p_refresh_expires_at=refresh_expires_at.isoformat(),
        p_device=device.model_dump(mode="json"),
    )
    return OpenedSignIn.model_validate(data)


async def rotate_refresh(
    visit: Visit, *, old_hash: str, new_id: UUID, new_hash: str, expires_at: datetime
) -> OpenedSignIn | str:
    """Exchange a refresh token for the next one. Returns the code of the refusal where it is refused.

    A refusal is an answer and no error, because what it does (ending the whole family) must be committed.
    """
    data = await database.serve(
        visit,
        "rotate_refresh",
        p_old_hash=old_hash,
        p_new_id=str(new_id),
        p_new_hash=new_hash,
        p_expires_at=expires_at.isoformat(),
    )
    return str(data["refused"]) if data.get("refused") else OpenedSignIn.model_validate(data)


async def end_sign_in(visit: Visit) -> None:
    await database.serve(visit, "end_sign_in")


async def get_profile(visit: Visit) -> Profile:
    return Profile.model_validate(await database.serve(visit, "get_me"))


async def update_profile(visit: Visit, changes: dict[str, Any]) -> Profile:
    return Profile.model_validate(await database.serve(visit, "update_me", p_changes=changes))
