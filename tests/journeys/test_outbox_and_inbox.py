"""News that leaves the database arrives once it can, and news that arrives twice has its effect once."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from shared.operations.inbox import take_once
from shared.operations.service import sweep_outbox
from shared.runtime.errors import Conflict
from tests.support.backend import Backend
from tests.support.database import Database

DUE = "update public.outbox set next_attempt_at = now(), lease_until = null where payload ->> 'to' = %s"


async def test_a_mail_that_nobody_took_is_sent_by_the_sweep_once(backend: Backend, database: Database) -> None:
    backend.mailbox.refusing = True
    email = await backend.register()
    assert backend.mailbox.to(email) == []
    backend.mailbox.refusing = False
    await database.execute(DUE, email)
    await asyncio.gather(*(sweep_outbox() for _ in range(5)))
    await sweep_outbox()
    assert len(backend.mailbox.to(email)) == 1
    token = backend.mailbox.verification_token(email)
    answer = await backend.client.post("/v1/auth/email/verify", json={"token": token})
    assert answer.status_code == 200


async def test_an_entry_that_cannot_be_sent_does_not_hold_up_the_others(backend: Backend, database: Database) -> None:
    broken = str(uuid4())
    await database.execute("insert into public.outbox (id, kind, payload) values (%s, 'mail', '{\"to\": 5}')", broken)
    backend.mailbox.refusing = True
    email = await backend.register()
    backend.mailbox.refusing = False
    await database.execute(DUE, email)
    await sweep_outbox()
    assert len(backend.mailbox.to(email)) == 1
    ((attempts, sent_at),) = await database.fetch("select attempts, sent_at from public.outbox where id = %s", broken)
    assert attempts >= 1
    assert sent_at is None


async def test_a_delivery_has_its_effect_once_however_often_it_comes(backend: Backend) -> None:
    message, effects = str(uuid4()), []

    async def effect() -> None:
        effects.append("had")

    assert await take_once("tests", message, effect)
    assert not await take_once("tests", message, effect)
    assert await take_once("others", message, effect)
    assert effects == ["had", "had"]


async def test_deliveries_that_come_together_have_one_effect_and_the_others_come_again(backend: Backend) -> None:
    message, effects = str(uuid4()), []

    async def effect() -> None:
        effects.append("had")
        await asyncio.sleep(0.3)

    outcomes = await asyncio.gather(*(take_once("tests", message, effect) for _ in range(8)), return_exceptions=True)
    assert effects == ["had"]
    assert outcomes.count(True) == 1
    assert all(outcome is True or isinstance(outcome, Conflict) for outcome in outcomes)


async def test_a_delivery_that_failed_is_tried_again_after_its_lease(backend: Backend) -> None:
    message, tries = str(uuid4()), []

    async def effect() -> None:
        tries.append("tried")
        if len(tries) == 1:
            raise RuntimeError("the first try fails")

    with pytest.raises(RuntimeError, match="first try"):
        await take_once("tests", message, effect, lease_seconds=1)
    with pytest.raises(Conflict):
        await take_once("tests", message, effect, lease_seconds=1)
    await asyncio.sleep(1.1)
    assert await take_once("tests", message, effect, lease_seconds=1)
    assert len(tries) == 2
