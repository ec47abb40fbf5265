"""Sending what transactions left in the outbox: right after commit, and by the sweep for whatever was missed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from shared.clients import mail
from shared.operations import letters, store
from shared.operations.models import MailPayload, OutboxEntry, WrittenMailPayload
from shared.runtime import logs
from shared.runtime.errors import OprinaError

_BATCH = 50


class Undelivered(Exception):
    """What an entry asks for is not done yet; it is tried again. The sentence holds nothing of anybody's."""


_MAIL: TypeAdapter[MailPayload | WrittenMailPayload] = TypeAdapter(MailPayload | WrittenMailPayload)


async def deliver(entry_ids: Sequence[UUID]) -> None:
    """Send these entries now. Failures are kept for the sweep and never reach the caller: the state is committed."""
    if not entry_ids:
        return
    try:
        for entry in await store.take_outbox(len(entry_ids), entry_ids):
            await _send(entry)
    except OprinaError:
        logs.logger().warning("the outbox could not be emptied right after commit; the sweep will")


async def sweep() -> int:
    """Send what is due, oldest first, until nothing is. Returns how many entries were tried."""
    # Whoever sweeps sends the news of every room, and loads what that takes.
    from shared.accounts import service as accounts

    accounts.join_outbox()
    tried = 0
    while entries := await store.take_outbox(_BATCH):
        for entry in entries:
            await _send(entry)
        tried += len(entries)
    return tried


async def _send(entry: OutboxEntry) -> None:
    """Send one entry. Whatever is wrong with it stays its own: the others are sent all the same."""
    try:
        await _senders[entry.kind](entry)
    except (mail.MailFailed, letters.Unwritable, Undelivered, ValidationError, KeyError) as failure:
        logs.logger().warning("an entry of the outbox was not sent", extra={"kind": entry.kind, "try": entry.attempts})
        reason = str(failure) if isinstance(failure, Undelivered) else type(failure).__name__
        await store.settle_outbox(entry.id, error=reason)
    else:
        await store.settle_outbox(entry.id)


async def _send_mail(entry: OutboxEntry) -> None:
    payload = _MAIL.validate_python(entry.payload)
    written = payload if isinstance(payload, WrittenMailPayload) else letters.write(payload.template, payload.values)
    await mail.send(
        mail.Mail(
            message_id=f"{entry.id}@outbox.oprina",
            to=payload.to,
            subject=written.subject,
            text=written.text,
            html=written.html,
            reply_to=payload.reply_to,
        )
    )


def on_kind(kind: str, sender: Callable[[OutboxEntry], Awaitable[None]]) -> None:
    """Say who sends entries of a kind. Rooms do so when they are imported; the sweep has them imported."""
    _senders[kind] = sender


_senders: dict[str, Callable[[OutboxEntry], Awaitable[None]]] = {"mail": _send_mail}
