"""A turn over HTTP, from the question to what is stored."""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from itertools import pairwise
from typing import Any
from uuid import uuid4

import av
import pytest

from tests.support.recordings import recording
from tests.support.talk import (
    REPLY,
    SAYING,
    SAYING_LONG,
    Talker,
    assert_problem,
)


async def test_a_turn_by_text_is_answered_in_words_and_in_sound(talker: Talker) -> None:
    session = await talker.new_session()
    turn = await talker.turn(session, text=f"Good morning {SAYING}", audio_format="pcm")
    assert turn.status == 200
    assert turn.names[0] == "turn.started"
    assert turn.names[-1] == "turn.completed"
    assert turn.reply == REPLY == turn.completed["reply"]
    audio = turn.named("audio")
    assert [piece["seq"] for piece in audio] == list(range(len(audio)))
    assert " ".join(piece["text"] for piece in audio if piece["text"]) == REPLY
    pcm = b"".join(base64.b64decode(piece["data"]) for piece in audio)
    assert len(pcm) / 48_000 == pytest.approx(sum(piece["seconds"] for piece in audio), abs=0.05)
    assert any(pcm)


async def test_the_first_sound_leaves_before_the_last_word_is_written(talker: Talker) -> None:
    session = await talker.new_session()
    sentences = "This is one more sentence of ten words to say. " * 6
    turn = await talker.turn(session, text=f"Talk [[say {sentences}]] [[pause 5000 after 30]]")
    order = turn.names
    assert order.index("audio") < len(order) - 1 - order[::-1].index("reply.delta")


@pytest.mark.parametrize("kind", ["webm", "ogg", "mp4", "wav", "flac", "mp3"])
async def test_every_kind_of_recording_is_heard(talker: Talker, kind: str) -> None:
    session = await talker.new_session()
    data, content_type = recording(kind, 2.0)
    turn = await talker.turn(session, audio=data, content_type=content_type)
    (transcript,) = turn.named("transcript")
    assert transcript["text"]
    assert transcript["duration_seconds"] == pytest.approx(2.0, abs=0.2)
    assert turn.completed["transcript"]["text"] == transcript["text"]
    newest = (await talker.messages(session))[-1]
    assert (newest["role"], newest["kind"], newest["text"]) == ("user", "voice", transcript["text"])


async def test_a_recording_in_a_form_is_heard_too(talker: Talker) -> None:
    session = await talker.new_session()
    data, content_type = recording("webm", 1.5)
    answer = await talker.request(
        "POST",
        f"/v1/sessions/{session}/turns",
        files={"audio": ("clip.webm", data, content_type)},
        headers={"Idempotency-Key": str(uuid4())},
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["transcript"]["text"]


@pytest.mark.parametrize("audio_format", ["pcm", "ogg_opus", "mp3", "wav"])
async def test_one_document_holds_the_whole_answer_as_sound_one_can_play(talker: Talker, audio_format: str) -> None:
    session = await talker.new_session()
    answer = await talker.turn_document(session, text=f"Hello {SAYING}", audio_format=audio_format)
    assert answer.status_code == 201
    audio = answer.json()["audio"]
    data = base64.b64decode(audio["data"])
    assert audio["seconds"] > 1
    if audio_format == "pcm":
        assert len(data) / 48_000 == pytest.approx(audio["seconds"], abs=0.05)
        return
    assert decoded_seconds(data) == pytest.approx(audio["seconds"], rel=0.15)


def decoded_seconds(data: bytes) -> float:
    with av.open(io.BytesIO(data), mode="r") as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(container.streams.audio[0]))


async def test_sentences_as_wav_can_each_be_played_alone(talker: Talker) -> None:
    session = await talker.new_session()
    turn = await talker.turn(session, text=f"Hello {SAYING}", audio_format="wav")
    pieces = turn.named("audio")
    assert [piece["text"] for piece in pieces] == [
        "Of course.",
        "Here is what I found for you.",
        "Is there anything else?",
    ]
    for piece in pieces:
        with wave.open(io.BytesIO(base64.b64decode(piece["data"]))) as file:
            assert file.getnframes() / file.getframerate() == pytest.approx(piece["seconds"], abs=0.01)


async def test_without_speech_nothing_is_synthesized(talker: Talker) -> None:
    session = await talker.new_session()
    turn = await talker.turn(session, text=f"Hello {SAYING}", speak="false")
    assert "audio" not in turn.names
    assert turn.completed["speech"]["status"] == "none"
    assert [item["kind"] for item in turn.completed["usage"]] == ["thinking", "thinking"]


async def test_what_was_said_is_stored_in_order_and_listed_newest_first(talker: Talker) -> None:
    session = await talker.new_session()
    for number in range(3):
        await talker.turn(session, text=f"Question {number} [[say Answer {number}.]]", speak="false")
    messages = await talker.messages(session)
    assert [message["text"] for message in messages[::2]] == ["Answer 2.", "Answer 1.", "Answer 0."]
    assert [message["role"] for message in messages] == ["assistant", "user"] * 3
    positions = [message["position"] for message in messages]
    assert positions == sorted(positions, reverse=True)


async def test_the_title_comes_from_the_first_turn_and_a_persons_own_title_stays(talker: Talker) -> None:
    session = await talker.new_session()
    await talker.turn(session, text="Hello, can you plan my trip to Lisbon?", speak="false")
    title = (await talker.request("GET", f"/v1/sessions/{session}")).json()["title"]
    assert title == "Plan my trip to Lisbon?"
    await talker.request("PATCH", f"/v1/sessions/{session}", json={"title": "Holiday"})
    await talker.turn(session, text="And what about Porto?", speak="false")
    assert (await talker.request("GET", f"/v1/sessions/{session}")).json()["title"] == "Holiday"


async def test_the_stored_turn_knows_its_stages_and_its_cost(talker: Talker) -> None:
    session = await talker.new_session()
    data, content_type = recording("webm", 2.0)
    turn = await talker.turn(session, audio=data, content_type=content_type)
    done = turn.completed
    stages = {"upload", "open", "hear", "agent_first_token", "agent_first_sentence", "speech_first_byte", "first_audio"}
    assert stages | {"agent", "total"} <= done["timings_ms"].keys()
    assert done["timings_ms"]["total"] >= done["timings_ms"]["first_audio"] > 0
    known = [item["cost_micros"] for item in done["usage"] if item["cost_micros"] is not None]
    assert done["cost_micros"] == sum(known) > 0
    assert {item["kind"] for item in done["usage"]} == {"hearing", "thinking", "speaking"}
    stored = await talker.stored_turn(session, done["turn_id"])
    assert stored["status"] == "completed"
    assert stored["timings_ms"] == done["timings_ms"]
    assert stored["cost_micros"] == done["cost_micros"]


async def test_a_model_without_a_known_price_costs_unknown_and_not_nothing(talker: Talker) -> None:
    session = await talker.new_session()
    turn = await talker.turn(session, text=f"Hi {SAYING}", speak="false")
    assert all(item["cost_micros"] is None for item in turn.completed["usage"])
    assert turn.completed["cost_micros"] is None


# Idempotency


async def test_the_same_key_gives_the_first_answer_again_and_the_agent_does_not_run_twice(talker: Talker) -> None:
    session = await talker.new_session()
    key = str(uuid4())
    first = await talker.turn_document(session, text=f"Once {SAYING}", key=key)
    again = await talker.turn_document(session, text=f"Once {SAYING}", key=key)
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json() | {"audio": None}
    once_more = await talker.turn_document(session, text=f"Once {SAYING}", key=key)
    assert once_more.content == again.content
    assert len(await talker.messages(session)) == 2


async def test_without_speech_the_replay_is_the_first_answer_to_the_byte(talker: Talker) -> None:
    session = await talker.new_session()
    key = str(uuid4())
    first = await talker.turn_document(session, text=f"Once {SAYING}", key=key, speak="false")
    assert (await talker.turn_document(session, text=f"Once {SAYING}", key=key, speak="false")).content == first.content


async def test_a_failure_is_replayed_to_the_byte_too(talker: Talker) -> None:
    session = await talker.new_session()
    key = str(uuid4())
    first = await talker.turn_document(session, text="Tell me [[fail after 5]]", key=key)
    again = await talker.turn_document(session, text="Tell me [[fail after 5]]", key=key)
    assert_problem(again, 502, "agent_failed")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content
    assert len(await talker.messages(session)) == 2


async def test_a_replayed_stream_holds_the_stored_end_alone(talker: Talker) -> None:
    session = await talker.new_session()
    key = str(uuid4())
    first = await talker.turn(session, text=f"Once {SAYING}", key=key)
    again = await talker.turn(session, text=f"Once {SAYING}", key=key)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.names == ["turn.completed"]
    assert again.completed == first.completed


async def test_the_same_recording_in_another_form_is_the_same_request(talker: Talker) -> None:
    session = await talker.new_session()
    key = str(uuid4())
    data, content_type = recording("wav", 1.0)
    files = {"audio": ("a.wav", data, content_type)}
    path = f"/v1/sessions/{session}/turns"
    first = await talker.request("POST", path, files=files, headers={"Idempotency-Key": key})
    again = await talker.request("POST", path, files=files, headers={"Idempotency-Key": key})
    assert first.status_code == 201, first.text
    assert again.headers.get("idempotency-replayed") == "true"
    assert again.json()["turn_id"] == first.json()["turn_id"]


@pytest.mark.parametrize("by", ["text", "audio", "question"])
async def test_the_same_key_for_something_else_is_refused(talker: Talker, by: str) -> None:
    session = await talker.new_session()
    key = str(uuid4())
    one, two = recording("wav", 1.0)[0], recording("wav", 1.2)[0]
    first: dict[str, Any] = {"text": "One"} if by == "text" else {"audio": one}
    other: dict[str, Any] = {"text": "Two"} if by == "text" else {"audio": two if by == "audio" else one}
    if by == "question":
        other["audio_format"] = "mp3"
    assert (await talker.turn_document(session, key=key, **first)).status_code == 201
    assert_problem(await talker.turn_document(session, key=key, **other), 422, "idempotency_key_reused")


async def test_a_turn_without_a_key_is_refused(talker: Talker) -> None:
    session = await talker.new_session()
    answer = await talker.request("POST", f"/v1/sessions/{session}/turns", json={"text": "Hi"})
    assert_problem(answer, 400, "idempotency_key_missing")


async def test_twenty_requests_with_one_key_make_one_turn(talker: Talker) -> None:
    session = await talker.new_session()
    key = str(uuid4())
    answers = await asyncio.gather(*(talker.turn_document(session, text=f"Go {SAYING}", key=key) for _ in range(20)))
    turns = {answer.json()["turn_id"] for answer in answers if answer.status_code == 201}
    assert len(turns) == 1
    assert {answer.status_code for answer in answers} <= {201, 409, 429}
    assert len(await talker.messages(session)) == 2


async def test_tools_at_work_are_shown(talker: Talker) -> None:
    session = await talker.new_session()
    turn = await talker.turn(session, text="[[tool:clock place=Tokyo]]", speak="false")
    assert [(step["name"], step["status"]) for step in turn.named("tool")] == [("clock", "started"), ("clock", "done")]
    assert "function_call" not in turn.reply


async def test_times_of_pieces_follow_each_other(talker: Talker) -> None:
    session = await talker.new_session()
    turn = await talker.turn(session, text=f"Go {SAYING_LONG}", audio_format="ogg_opus")
    audio = turn.named("audio")
    assert all(after["seq"] == before["seq"] + 1 for before, after in pairwise(audio))
    data = b"".join(base64.b64decode(piece["data"]) for piece in audio)
    assert decoded_seconds(data) == pytest.approx(sum(piece["seconds"] for piece in audio), abs=0.1)
