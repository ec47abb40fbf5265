"""Changing a password that is known."""

from __future__ import annotations

from shared.accounts import mails, passwords, store
from shared.accounts.models import PasswordChange
from shared.operations import service as operations
from shared.runtime import ids
from shared.runtime.errors import Conflict, Forbidden
from shared.runtime.visit import Visit


async def change(visit: Visit, given: PasswordChange) -> None:
    """Set a new password. Every other sign-in ends, this one stays, and a mail tells the person.

    Raises:
        Forbidden: `password_wrong`.
        Conflict: `password_not_set`: there is none to be current, since the person signs in with Google.
        RateLimited: too many wrong passwords for this account.
        Unprocessable: `password_common`.
    """
    email = (await store.get_profile(visit)).email
    passwords.refuse_guessable("new_password", given.new_password, email)
    checked = await store.find_own_credentials(visit, email)
    right = await passwords.matches(given.current_password, checked.password_hash if checked else None)
    if checked is not None and checked.password_hash is None:
        raise Conflict("You have no password yet. Ask for a mail to set one.", code="password_not_set")
    if checked is None or not right:
        raise Forbidden("The current password is wrong.", code="password_wrong")
    outbox_id = ids.new_id()
    await store.change_password(
        visit,
        checked=checked,
        password_hash=await passwords.hashed(given.new_password),
        outbox_id=outbox_id,
        mail=mails.password_was_changed(email),
    )
    await operations.deliver_outbox([outbox_id])
