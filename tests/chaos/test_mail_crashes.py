"""A process that dies while it sends a mail, or whose answer is lost: the mail is never lost, and a double can be told.

A mail server takes a mail before its answer arrives, so between the two nobody can know. The mail is sent again then,
with the same Message-ID.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from local.faults import FaultBook
from local.mail import Mail, Mailbox, serve_mail
from shared.http.discovery import ROOT
from tests.support.database import Database, shared_database

# Sends what the outbox holds and dies, without a last word, where it is told to.
SENDER = """
import asyncio, os, sys
from shared.clients import mail
from shared.operations import outbox, store

where = sys.argv[1]

def dying(moment, call):
    async def around(*arguments, **named):
        if where == f"before {moment}":
            os._exit(9)
        answer = await call(*arguments, **named)
        if where == f"after {moment}":
            os._exit(9)
        return answer
    return around

store.take_outbox = dying("taking", store.take_outbox)
mail.send = dying("sending", mail.send)
store.settle_outbox = dying("settling", store.settle_outbox)
asyncio.run(outbox.deliver([sys.argv[2]]))
"""
LAPSE = (
    "update public.outbox set lease_until = case when lease_until is not null then now() end, next_attempt_at = now()"
    " where id = %s"
)


@dataclass
class Post:
    """An outbox with one mail in it, a mail server, and a sender that can die."""

    database: Database
    mailbox: Mailbox
    faults: FaultBook
    environment: dict[str, str]
    outbox_id: str
    to: str

    def send(self, die: str = "never") -> int:
        """Let a process send the mail. Returns its exit status."""
        command = [sys.executable, "-c", SENDER, die, self.outbox_id]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode in {0, 9}, done.stderr
        return done.returncode

    def time_passes(self) -> None:
        """Until the lease of whoever died has run out, and the next attempt is due."""
        self.database.run(LAPSE, self.outbox_id)

    @property
    def received(self) -> list[Mail]:
        return self.mailbox.read(self.to)

    @property
    def sent(self) -> bool:
        ((sent,),) = self.database.rows("select sent_at is not null from public.outbox where id = %s", self.outbox_id)
        return bool(sent)


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    database, faults = shared_database(), FaultBook(tmp_path / "faults.json")
    mailbox = Mailbox(tmp_path / "mail.sqlite3")
    server = await serve_mail(0, mailbox, faults)
    outbox_id, to = str(uuid4()), f"mail-{uuid4().hex[:8]}@oprina.test"
    order = {"to": to, "template": "verification", "values": {"address": "https://page.oprina.test/#verify=1"}}
    database.register(to, p_outbox_id=outbox_id, p_mail=order)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SMTP_URL": f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "MAIL_FROM": "Oprina <hello@oprina.test>",
        **database.environment,
    }
    yield Post(database, mailbox, faults, environment, outbox_id, to)
    server.close()
    await server.wait_closed()


async def in_thread(post: Post, die: str = "never") -> int:
    return await asyncio.to_thread(post.send, die)


@pytest.mark.parametrize("moment", ["before taking", "after taking", "before sending"])
async def test_a_sender_that_dies_before_the_mail_has_left_leaves_it_to_the_next_one(post: Post, moment: str) -> None:
    assert await in_thread(post, moment) == 9
    assert (post.received, post.sent) == ([], False)
    post.time_passes()
    await in_thread(post)
    assert (len(post.received), post.sent) == (1, True)
    await in_thread(post)
    assert len(post.received) == 1


@pytest.mark.parametrize("moment", ["after sending", "before settling"])
async def test_a_sender_that_dies_before_it_has_noted_it_sends_a_double_that_can_be_told(
    post: Post, moment: str
) -> None:
    assert await in_thread(post, moment) == 9
    assert (len(post.received), post.sent) == (1, False)
    await in_thread(post)
    assert len(post.received) == 1, "nobody sends it while the lease of the dead one runs"
    post.time_passes()
    await in_thread(post)
    assert {mail.message_id for mail in post.received} == {f"<{post.outbox_id}@outbox.oprina>"}
    assert (len(post.received), post.sent) == (2, True)


async def test_a_sender_that_dies_after_it_has_noted_it_has_sent_it_once(post: Post) -> None:
    assert await in_thread(post, "after settling") == 9
    post.time_passes()
    await in_thread(post)
    assert (len(post.received), post.sent) == (1, True)


async def test_a_mail_whose_answer_was_lost_comes_again_under_the_same_message_id(post: Post) -> None:
    post.faults.write({"smtp": {"DATA": {"lose_answer": True}}})
    await in_thread(post)
    assert (len(post.received), post.sent) == (1, False)
    post.faults.write({})
    post.time_passes()
    await in_thread(post)
    assert (len(post.received), post.sent) == (2, True)
    assert len({(mail.message_id, mail.text, mail.html, mail.subject) for mail in post.received}) == 1


async def test_a_mail_that_was_refused_for_now_is_sent_once_when_its_time_has_come(post: Post) -> None:
    post.faults.write({"smtp": {"DATA": {"status": 451}}})
    await in_thread(post)
    await in_thread(post)
    assert post.received == []
    post.faults.write({})
    await in_thread(post)
    assert post.received == [], "the next attempt is not due yet"
    post.time_passes()
    await in_thread(post)
    assert (len(post.received), post.sent) == (1, True)
