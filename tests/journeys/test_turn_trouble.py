"""A turn whose providers fail, or whose person breaks in or leaves: what is stored stays true."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from tests.support.recordings import recording
from tests.support.stack import Stack
from tests.support.talk import (
    LONG_REPLY,
    REPLY,
    SAYING,
    SAYING_LONG,
    StreamEvent,
    Talker,
    assert_problem,
    read_events,
)


def fault(stack: Stack, stand_in: str, method: str, **what: Any) -> None:
    stack.set_faults({stand_in: {method: what}})


async def test_an_agent_that_breaks_off_leaves_the_question_and_half_an_answer_marked_as_such(talker: Talker) -> None:
    session = await talker.new_session()
    turn = await talker.turn(session, text="Tell me [[fail after 5]]")
    assert turn.failed["status"] == 502
    assert turn.failed["code"] == "agent_failed"
    assert turn.reply
    answer, question = await talker.messages(session)
    assert (question["role"], question["state"]) == ("user", "complete")
    assert (answer["role"], answer["state"], answer["text"]) == ("assistant", "incomplete", turn.reply)


async def test_what_had_sounded_before_the_agent_broke_off_is_charged_and_nothing_else(
    talker: Talker, stack: Stack
) -> None:
    session = await talker.new_session()
    fault(stack, "agent", "streamQuery.after", status=500, delay_ms=1500, spare=0)
    turn = await talker.turn(session, text="[[say One. Two three four five six seven eight nine ten.]]")
    stored = await talker.stored_turn(session, turn.failed["turn_id"])
    speaking = [item["quantity"] for item in stored["usage"] if item["kind"] == "speaking"]
    sounded = "".join(piece["text"] for piece in turn.named("audio"))
    assert sum(speaking) == len(sounded)


async def test_an_agent_that_is_away_fails_the_turn_and_keeps_the_question(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    fault(stack, "agent", "streamQuery", status=503)
    turn = await talker.turn(session, text="Anybody?")
    assert turn.failed["code"] == "agent_unavailable"
    assert [message["role"] for message in await talker.messages(session)] == ["user"]


async def test_a_provider_out_of_quota_is_capacity_with_a_time_to_come_back(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    fault(stack, "agent", "streamQuery", status=429)
    answer = await talker.turn_document(session, text="Anybody?")
    assert_problem(answer, 503, "capacity")
    assert int(answer.headers["retry-after"]) > 0


async def test_hearing_that_is_away_fails_the_turn(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    fault(stack, "speech", "Recognize", status="UNAVAILABLE")
    turn = await talker.turn(session, audio=recording("wav", 1.0)[0])
    assert turn.failed["code"] == "hearing_unavailable"
    assert await talker.messages(session) == []


async def test_a_voice_that_fails_says_so_and_the_words_still_come(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    fault(stack, "texttospeech", "StreamingSynthesize", status="UNAVAILABLE")
    turn = await talker.turn(session, text=f"Hi {SAYING}")
    assert turn.completed["reply"] == REPLY
    assert turn.completed["speech"]["status"] == "failed"
    assert turn.completed["speech"]["problem"]["code"] == "speech_unavailable"
    assert "speaking" not in {item["kind"] for item in turn.completed["usage"]}


async def test_a_voice_that_fails_at_the_third_sentence_charges_for_two(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    saying = "[[say First sentence here. Second one follows. The third never sounds.]]"
    fault(stack, "texttospeech", "SynthesizeSpeech", status="UNAVAILABLE", spare=2)
    turn = await talker.turn(session, text=f"Hi {saying}", audio_format="mp3")
    assert len(turn.named("audio")) == 2
    assert turn.completed["speech"]["status"] == "partial"
    (speaking,) = [item for item in turn.completed["usage"] if item["kind"] == "speaking"]
    assert speaking["quantity"] == len("First sentence here.") + len("Second one follows.")


async def test_a_database_that_refuses_the_write_makes_no_completed_turn(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    fault(stack, "supabase", "close_turn", status=500)
    turn = await talker.turn(session, text=f"Hi {SAYING}", speak="false")
    assert turn.failed["code"] == "not_stored"
    assert "turn.completed" not in turn.names
    stack.set_faults({})
    assert await talker.messages(session) == []


async def test_a_database_that_loses_its_answer_has_stored_the_turn_once(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    key = str(uuid4())
    fault(stack, "supabase", "close_turn", lose_answer=True)
    await talker.turn(session, text=f"Hi {SAYING}", speak="false", key=key)
    stack.set_faults({})
    again = await talker.turn(session, text=f"Hi {SAYING}", speak="false", key=key)
    assert again.completed["reply"] == REPLY
    assert len(await talker.messages(session)) == 2


async def test_a_database_that_answers_late_does_not_fail_the_turn(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    fault(stack, "supabase", "close_turn", delay_ms=700)
    turn = await talker.turn(session, text=f"Hi {SAYING}", speak="false")
    assert turn.completed["reply"] == REPLY


async def collect(answer: Any, until: str, count: int = 1) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    async for event in read_events(answer):
        events.append(event)
        if [e.name for e in events].count(until) >= count:
            return events
    raise AssertionError(f"the stream ended before {until}: {[event.name for event in events]}")


async def settled(talker: Talker, session: str, turn_id: str) -> dict[str, Any]:
    for _ in range(200):
        stored = await talker.stored_turn(session, turn_id)
        if stored["status"] != "running":
            return stored
        await asyncio.sleep(0.1)
    raise AssertionError("the turn never ended")


async def test_breaking_in_keeps_what_was_heard_and_frees_the_session(talker: Talker) -> None:
    session = await talker.new_session()
    async with talker.open_turn(session, text=f"Go on {SAYING_LONG}", audio_format="pcm") as answer:
        events = await collect(answer, "audio", 5)
        turn_id = events[0].data["turn_id"]
        played = {"played_seq": 3, "played_ms": 200}
        path = f"/v1/sessions/{session}/turns/{turn_id}/interrupt"
        assert (await talker.request("POST", path, json=played)).status_code == 200
    stored = await settled(talker, session, turn_id)
    assert stored["status"] == "completed"
    assert stored["interrupted"] is True
    newest = (await talker.messages(session))[0]
    assert newest["state"] == "interrupted"
    assert LONG_REPLY.startswith(newest["text"])
    assert 0 < len(newest["text"]) < len(LONG_REPLY) / 2
    after = await talker.turn(session, text=f"Next {SAYING}", speak="false")
    assert after.reply == REPLY


async def test_breaking_in_after_the_end_cuts_what_was_still_being_played(talker: Talker) -> None:
    session = await talker.new_session()
    turn = await talker.turn(session, text=f"Go on {SAYING_LONG}", audio_format="pcm")
    path = f"/v1/sessions/{session}/turns/{turn.completed['turn_id']}/interrupt"
    answer = await talker.request("POST", path, json={"played_seq": 12, "played_ms": 100})
    heard = answer.json()["reply"]
    assert turn.reply.startswith(heard)
    assert 0 < len(heard) < len(turn.reply)
    newest = (await talker.messages(session))[0]
    assert (newest["text"], newest["state"]) == (heard, "interrupted")
    again = await talker.request("POST", path, json={"played_seq": 0, "played_ms": 1})
    assert again.json()["reply"] == heard


async def test_leaving_a_turn_takes_nothing_more_from_the_persons_rate(talker: Talker, stack: Stack) -> None:
    session = await talker.new_session()
    fault(stack, "agent", "streamQuery", delay_ms=4000)
    async with talker.open_turn(session, text=f"Keep it {SAYING}") as answer:
        started = await anext(read_events(answer))
        before = int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0])
    await settled(talker, session, started.data["turn_id"])
    after = await talker.turn(session, text=f"Next {SAYING}", speak="false")
    assert int(after.headers["ratelimit"].partition("r=")[2].partition(";")[0]) >= before - 1


async def test_a_client_that_leaves_gets_its_answer_stored_all_the_same(talker: Talker) -> None:
    session = await talker.new_session()
    async with talker.open_turn(session, text=f"Keep it {SAYING}") as answer:
        events = await collect(answer, "reply.delta")
    stored = await settled(talker, session, events[0].data["turn_id"])
    assert stored["status"] == "completed"
    assert (await talker.messages(session))[0]["text"] == REPLY
