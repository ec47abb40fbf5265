"""The new password that a mailed link sets."""

from __future__ import annotations

from shared.accounts import mails, passwords, store
from shared.accounts.models import PasswordReset, SignedInAnswer
from shared.accounts.sign_ins import answer, new_sign_in
from shared.operations import service as operations
from shared.runtime import ids
from shared.runtime.crypto import digest
from shared.runtime.visit import Visit


async def reset(visit: Visit, given: PasswordReset, user_agent: str | None) -> SignedInAnswer:
    """Set a new password with the token from a mail, once, and sign its person in. Every earlier sign-in ends.

    Raises:
        BadRequest: `token_invalid`: unknown, used or expired, which are not told apart.
        Unauthenticated: the person is not active.
        Unprocessable: `password_common`; the token stays good.
    """
    email = await store.find_password_reset(visit, digest(given.token))
    passwords.refuse_guessable("new_password", given.new_password, email)
    new, refresh_token = new_sign_in(visit, user_agent)
    outbox_id = ids.new_id()
    opened = await store.reset_password(
        visit,
        token_hash=digest(given.token),
        password_hash=await passwords.hashed(given.new_password),
        new=new,
        outbox_id=outbox_id,
        mail=mails.password_was_reset(email),
    )
    await operations.deliver_outbox([outbox_id])
    return answer(opened, refresh_token)
