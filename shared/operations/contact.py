"""Writing to the people behind the product: stored first, then mailed to them and confirmed to the sender.

The confirmation goes to an address that nobody has proven. It repeats nothing that was typed into the form but that
address, and an address gets three of them a day at most.
"""

from __future__ import annotations

from typing import Any

from shared.operations import outbox, store
from shared.operations.models import ContactCase, ContactRequest
from shared.runtime import ids
from shared.runtime.crypto import digest
from shared.runtime.settings import Settings, load
from shared.runtime.visit import Visit


class SupportSettings(Settings):
    """`support_address`: where messages of the contact form go."""

    support_address: str


async def write(visit: Visit, request: ContactRequest) -> ContactCase:
    """Keep a message and send its two mails; one that the server does not take is sent by the sweep.

    Raises:
        Replay: this sender's key has made a case within a day.
        Unprocessable: the key was used for another message (`idempotency_key_reused`).
    """
    support_id, confirmation_id = ids.new_id(), ids.new_id()
    case_id = await store.open_contact_case(
        visit,
        case=request.model_dump(mode="json"),
        # The sender is who they say they are: a key of theirs is good from wherever they send it again.
        key_hash=digest(f"{request.email.lower()}\n{visit.key}") if visit.key is not None else None,
        support=(support_id, _to_support(request)),
        confirmation=(confirmation_id, {"to": request.email, "template": "contact_received", "values": {}}),
    )
    await outbox.deliver([support_id, confirmation_id])
    return ContactCase(case_id=case_id)


def _to_support(request: ContactRequest) -> dict[str, Any]:
    settings: SupportSettings = load(SupportSettings)
    return {
        "to": settings.support_address,
        "reply_to": request.email,
        "template": "contact_case",
        "values": request.model_dump(mode="json"),
    }
