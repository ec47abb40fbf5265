"""POST /v1/contact: write to the people behind the product."""

from __future__ import annotations

from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.mail import MailSettings
from shared.http.bearer import Visitor
from shared.http.declaration import KIB, Caller, Function
from shared.http.settings import TokenSettings
from shared.operations import contact
from shared.operations.contact import SupportSettings
from shared.operations.models import ContactCase, ContactRequest
from shared.runtime.visit import Rate

function = Function(
    name="operations-contact",
    path="/v1/contact",
    settings=(DatabaseSettings, ServerSettings, TokenSettings, MailSettings, SupportSettings),
    server_calls=("open_contact_case", "take_outbox", "settle_outbox"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "SMTP_URL"),
)


@function.post(
    "Write to the people behind the product",
    caller=Caller.EVERYONE,
    idempotency="accepted",
    rate=Rate(5, burst=5),
    max_body_bytes=32 * KIB,
    status_code=201,
)
async def write(visit: Visitor, body: ContactRequest) -> ContactCase:
    return await contact.write(visit, body)


main = function.entry_point()
