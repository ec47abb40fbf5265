"""What the accounts room keeps: people, credentials and sign-ins, in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.accounts.mails import MailContent
from shared.accounts.models import NewSignIn, OpenedSignIn, Profile, SignIn, StoredCredentials
from shared.clients import database
from shared.runtime.visit import Visit

Cursor = dict[str, Any] | None


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


async def note_failed_sign_in(visit: Visit, person_id: UUID | None) -> None:
    """Leave a trace of a wrong password. Also called where nobody has the address, so that it takes as long."""
    await database.serve(visit.within(), "note_failed_sign_in", p_user_id=str(person_id) if person_id else None)


async def open_sign_in(visit: Visit, person_id: UUID, new: NewSignIn, how: dict[str, Any]) -> OpenedSignIn:
    """Store a sign-in. `how` the person has shown who they are: `by`, and what `StoredCredentials.proof` says."""
    # The call before this one has taken from the address' rate already.
    data = await database.serve(
        visit.within(), "open_sign_in", p_user_id=str(person_id), p_how=how, **_new_sign_in(new)
    )
    return OpenedSignIn.model_validate(data)


def _new_sign_in(new: NewSignIn) -> dict[str, Any]:
    return {f"p_{name}": value for name, value in new.model_dump(mode="json").items()}


async def renew_password_hash(visit: Visit, person_id: UUID, *, old_hash: str, new_hash: str) -> None:
    """Keep the same password under another hash; nothing happens where the password was changed meanwhile."""
    await database.serve(
        visit.within(), "renew_password_hash", p_user_id=str(person_id), p_old_hash=old_hash, p_new_hash=new_hash
    )


async def ask_password_reset(
    visit: Visit,
    *,
    email: str,
    token_hash: str,
    token_expires_at: datetime,
    outbox_id: UUID,
    mail: MailContent,
) -> UUID | None:
    """Exchange a person's reset token. Returns the outbox entry; None where no mail is to be sent."""
    data = await database.serve(
        visit,
        "ask_password_reset",
        p_email=email,
        p_token_hash=token_hash,
        p_token_expires_at=token_expires_at.isoformat(),
        p_outbox_id=str(outbox_id),
        p_mail=mail,
    )
    return UUID(data["outbox_id"]) if data["outbox_id"] else None


async def find_password_reset(visit: Visit, token_hash: str) -> str:
    """The address of the person whose reset token this is, which stays good."""
    return str((await database.serve(visit, "find_password_reset", p_token_hash=token_hash))["email"])


async def reset_password(
    visit: Visit, *, token_hash: str, password_hash: str, new: NewSignIn, outbox_id: UUID, mail: MailContent
) -> OpenedSignIn:
    """Use a reset token up: a new password, every sign-in ended, and a new one opened."""
    data = await database.serve(
        visit.within(),
        "reset_password",
        p_token_hash=token_hash,
        p_password_hash=password_hash,
        p_outbox_id=str(outbox_id),
        p_mail=mail,
        **_new_sign_in(new),
    )
    return OpenedSignIn.model_validate(data)


async def find_own_credentials(visit: Visit, email: str) -> StoredCredentials | None:
    """What a signed-in person's password is checked against; an attempt is taken as if they were signing in.

    No person's token reads a hash, not even their own, so this goes with the server key.
    """
    return await find_credentials(replace(visit.within(), token=None), email)


async def change_password(
    visit: Visit, *, checked: StoredCredentials, password_hash: str, outbox_id: UUID, mail: MailContent
) -> None:
    """Set a new password where the current one is still that which was checked; every other sign-in ends."""
    known = checked.proof()
    await database.serve(
        visit.within(),
        "change_password",
        p_password_set_at=known["password_set_at"],
        p_attempt=known["attempt"],
        p_password_hash=password_hash,
        p_outbox_id=str(outbox_id),
        p_mail=mail,
    )


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


async def end_all_sign_ins(visit: Visit) -> None:
    await database.serve(visit, "end_all_sign_ins")


async def list_sign_ins(visit: Visit, *, limit: int, after: Cursor) -> tuple[list[SignIn], Cursor]:
    data = await database.serve(visit, "list_sign_ins", p_limit=limit, p_cursor=after)
    return [SignIn.model_validate(item) for item in data["items"]], data["next"]


async def end_one_sign_in(visit: Visit, sign_in_id: UUID) -> None:
    await database.serve(visit, "end_one_sign_in", p_sign_in_id=str(sign_in_id))


async def get_profile(visit: Visit) -> Profile:
    return Profile.model_validate(await database.serve(visit, "get_me"))


async def update_profile(visit: Visit, changes: dict[str, Any]) -> Profile:
    return Profile.model_validate(await database.serve(visit, "update_me", p_changes=changes))
