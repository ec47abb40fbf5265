"""The WebSocket of a LITE session, driven with the `websockets` library as the vendors' own agents drive it.

https://docs.liveavatar.com/docs/custom-mode-events; heygen-com/liveavatar-starter-livekit-agent-python `avatar_ws.py`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from tests.support.liveavatar import Lite, Provider, open_liveavatar, succeeded


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Provider]:
    async with open_liveavatar(tmp_path_factory.mktemp("lite")) as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.forget_everything()
    return running


async def test_an_utterance_is_told_of_from_its_first_frame_to_its_last(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.send("start", encoding="pcm_s16le", sample_rate=24000, channels=1)
        await lite.speak("first", 0.3, chunks=3)
        ended = await lite.until("agent.speak_ended")
        await lite.until("agent.idle_started")
    assert (ended["source_event_id"], ended["task"]) == ("first", {"id": "first"})
    assert ended["event_id"] != "first"
    told = [kind for kind in lite.kinds if kind not in {"agent.audio_buffer_appended", "agent.idle_started"}]
    assert told == [
        "session.state_updated", "session.state_updated", "agent.audio_buffer_committed", "agent.idle_ended",
        "agent.state_updated", "agent.speak_started", "agent.speak_ended", "agent.state_updated",
    ]  # fmt: skip
    assert lite.kinds.count("agent.audio_buffer_appended") == 3
    assert [event["state"] for event in lite.seen if "state" in event] == ["connecting", "connected"]
    states = [(event["previous_state"], event["new_state"]) for event in lite.seen if "new_state" in event]
    assert states == [("idle", "talking"), ("talking", "idle")]


async def test_speaking_lasts_as_long_as_the_sound(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("long", 0.6)
        await lite.until("agent.speak_started")
        began = time.monotonic()
        await lite.until("agent.speak_ended")
    assert time.monotonic() - began >= 0.55


async def test_utterances_follow_one_another(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("one", 0.1)
        await lite.speak("two", 0.1)
        await lite.until("agent.speak_ended", source_event_id="two")
    spoken = [
        (event["type"], event["source_event_id"]) for event in lite.seen if event["type"].startswith("agent.speak")
    ]
    assert spoken == [
        ("agent.speak_started", "one"), ("agent.speak_ended", "one"),
        ("agent.speak_started", "two"), ("agent.speak_ended", "two"),
    ]  # fmt: skip


async def test_chunks_may_be_numbered_one_by_one(provider: Provider) -> None:
    """As livekit-plugins-liveavatar does: a new id for each chunk and for the end."""
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("a", 0.1, end=False)
        await lite.speak("b", 0.1, end=False)
        await lite.send("agent.speak_end", event_id="c")
        await lite.until("agent.speak_ended", source_event_id="a")
    assert lite.kinds.count("agent.speak_started") == 1


async def test_commands_before_connected_are_dropped_without_a_word(provider: Provider) -> None:
    live = await provider.live()
    async with connect(live["ws_url"], proxy=None, ping_interval=None) as socket:
        lite = Lite(socket)
        await lite.speak("early", 0.1)
        await lite.until("session.state_updated", state="connected")
        await lite.until("agent.idle_started")
        await lite.quiet(0.3)


async def test_an_utterance_without_an_end_does_not_end(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("open", 0.05, end=False)
        starved = await lite.until("error")
        assert starved["error"]["type"] == "video_starvation"
        await lite.quiet(0.3)
        await lite.speak("open", 0.05)
        await lite.until("agent.speak_ended", source_event_id="open")


async def test_an_interruption_silences_everything_that_was_sent(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("one", 3)
        await lite.speak("two", 3)
        await lite.until("agent.speak_started")
        await lite.send("agent.interrupt", event_id="stop")
        interrupted = await lite.until("agent.speak_interrupted")
        assert interrupted["task"] == {"id": "one"}
        await lite.until("agent.idle_started")
        await lite.quiet(0.3)
        await lite.speak("three", 0.1)
        await lite.until("agent.speak_ended", source_event_id="three")
    assert "agent.audio_buffer_cleared" in lite.kinds


async def test_the_avatar_listens_when_told_to(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.send("agent.start_listening", event_id="x")
        assert (await lite.until("agent.state_updated"))["new_state"] == "listening"
        await lite.send("agent.stop_listening", event_id="y")
        assert (await lite.until("agent.state_updated"))["new_state"] == "idle"


@pytest.mark.parametrize(
    "frame",
    [
        "no json",
        "[" * 100_000,
        "[]",
        "{}",
        '{"type": "agent.dance", "event_id": "e"}',
        '{"type": "agent.speak", "event_id": "e"}',
        '{"type": "agent.speak", "event_id": "e", "audio": "%%%"}',
        '{"type": "agent.speak", "event_id": "e", "audio": ""}',
        '{"type": "agent.speak", "event_id": "e", "audio": 7}',
    ],
)
async def test_a_wrong_command_is_an_error_and_not_the_end(provider: Provider, frame: str) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.socket.send(frame)
        error = await lite.until("error")
        assert error["error"]["type"] == "invalid_request_error"
        if '"e"' in frame:
            assert (error["source_event_id"], error["error"]["event_id"]) == ("e", "e")
        await lite.speak("after", 0.05)
        await lite.until("agent.speak_ended")


async def test_a_frame_beyond_a_megabyte_closes_the_connection(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("huge", 30, end=False)
        with pytest.raises(ConnectionClosedError) as closed:
            await lite.until("agent.speak_started")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_client_that_insists_on_pongs_loses_the_connection(provider: Provider) -> None:
    live = await provider.live()
    with pytest.raises(ConnectionClosedError) as closed:
        async with Lite.connected(live["ws_url"], ping_interval=0.1, ping_timeout=0.2) as lite:
            await lite.until("agent.speak_started")
    assert closed.value.sent is not None
    assert closed.value.sent.code == 1011


async def test_a_stop_is_told_and_closes_the_connection(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        succeeded(await provider.stop(live["session_id"]))
        await lite.until("session.state_updated", state="closing")
        await lite.until("session.state_updated", state="closed")
        with pytest.raises(ConnectionClosed) as closed:
            await lite.socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_idling_out_closes_the_connection_without_being_looked_at(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        provider.clock.ahead = 301
        await lite.until("session.state_updated", state="closed")


async def test_beyond_its_longest_duration_it_just_stops_speaking(provider: Provider) -> None:
    live = await provider.live(max_session_duration=30)
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("long", 20, chunks=4)
        await lite.until("agent.speak_started")
        provider.clock.ahead = 31
        await lite.quiet(0.5)
        await lite.speak("late", 0.1)
        await lite.quiet(0.3)
    assert (await provider.detail(live["session_id"]))["end_reason"] == "MAX_DURATION_REACHED"


async def test_sound_and_keep_alives_keep_a_session_alive(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        for kind in ("session.keep_alive", "agent.speak_end"):
            provider.clock.ahead += 200
            await lite.send(kind, event_id="k")
            await asyncio.sleep(0.1)
        provider.clock.ahead += 200
        assert "end_at" not in await provider.detail(live["session_id"])


async def test_only_the_address_of_a_running_session_opens(provider: Provider) -> None:
    live = await provider.live()
    for address in (live["ws_url"][:-3], live["ws_url"].replace(live["session_id"], "nobody")):
        with pytest.raises(InvalidStatus) as refused:
            await connect(address, proxy=None)
        assert refused.value.response.status_code == 401
    await provider.stop(live["session_id"])
    with pytest.raises(InvalidStatus):
        await connect(live["ws_url"], proxy=None)


async def test_a_second_connection_takes_the_place_of_the_first(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as first, Lite.connected(live["ws_url"]) as second:
        await first.until("session.state_updated", state="closed")
        await second.speak("again", 0.05)
        await second.until("agent.speak_ended")


async def test_a_client_may_come_back_after_it_was_cut_off(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        lite.socket.transport.abort()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("again", 0.05)
        await lite.until("agent.speak_ended")


async def test_bytes_are_no_command(provider: Provider) -> None:
    live = await provider.live()
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.socket.send(b"\x00\xff")
        assert (await lite.until("error"))["error"]["type"] == "invalid_request_error"


async def test_the_connection_fails_as_it_was_asked_to(provider: Provider) -> None:
    live = await provider.live()
    provider.faults.write({"liveavatar": {"websocket": {"status": 500}}})
    with pytest.raises(InvalidStatus) as refused:
        await connect(live["ws_url"], proxy=None)
    assert refused.value.response.status_code == 500
    provider.faults.write({"liveavatar": {"websocket": {"silent": True}}})
    with pytest.raises(TimeoutError):
        async with connect(live["ws_url"], proxy=None) as socket, asyncio.timeout(0.4):
            await Lite(socket).until("session.state_updated", state="connected")
    provider.faults.write({"liveavatar": {"websocket": {"nonsense": True}}})
    async with connect(live["ws_url"], proxy=None) as socket:
        with pytest.raises(json.JSONDecodeError):
            json.loads(await socket.recv())
    provider.faults.write({"liveavatar": {"websocket": {"duplicate": True}}})
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("twice", 0.05)
        first, second = await lite.until("agent.speak_ended"), await lite.until("agent.speak_ended")
        assert first == second
    provider.faults.write({"liveavatar": {"websocket": {"lose_answer": True}}})
    async with Lite.connected(live["ws_url"]) as lite:
        await lite.speak("lost", 0.05, end=False)
        with pytest.raises(ConnectionClosedError) as closed:
            await lite.until("agent.speak_ended")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
