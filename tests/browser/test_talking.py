"""A person talks with the assistant in a browser, and hears it answer."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.async_api import Browser, Page, Request, expect

from tests.browser.visitor import SAID, Visit, Visitor, seconds_of

SHORT = "Certainly. That is easily done."
LONG = "One more sentence is being said quite slowly here. " * 10
# The recording begins somewhere in the loop, so twice its length holds the whole of it once.
TWICE = 2 * seconds_of(SAID)
WORDS_SAID = re.compile(r"go forward,? (10|ten) meters", re.IGNORECASE)


def answering(text: str) -> str:
    return f"Please speak. [[say {text.strip()}]]"


async def loudest(page: Page, milliseconds: int) -> int:
    """The largest swing (0 to 128) of the sound on its way to the speaker during that time."""
    swing: int = await page.evaluate(
        """async (milliseconds) => {
            const { analyser } = oprina.player;
            const samples = new Uint8Array(analyser.fftSize);
            let most = 0;
            for (const until = performance.now() + milliseconds; performance.now() < until;) {
                analyser.getByteTimeDomainData(samples);
                for (const sample of samples) most = Math.max(most, Math.abs(sample - 128));
                await new Promise((resolve) => setTimeout(resolve, 20));
            }
            return most;
        }""",
        milliseconds,
    )
    return swing


async def test_spoken_words_are_shown_and_answered_in_words_and_in_sound(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.hold_to_talk(TWICE)
    exchange = page.locator(".exchange").last
    await expect(exchange.locator(".user .words")).to_have_text(WORDS_SAID)
    await expect(exchange.locator(".assistant .words")).to_contain_text("rehearsed answer")
    await visitor.until("oprina.player.playedMs > 500")
    assert await loudest(page, 800) > 10
    first = await visitor.played_ms()
    await page.wait_for_timeout(500)
    assert 400 <= await visitor.played_ms() - first <= 700
    question, answer = await visitor.messages_at_server()
    assert (question["role"], question["kind"]) == ("user", "voice")
    assert question["text"] == await exchange.locator(".user .words").inner_text()
    assert answer["text"].startswith("This is a rehearsed answer")


async def test_the_microphones_level_and_the_seconds_show_while_listening(visitor: Visitor) -> None:
    page = visitor.page
    await page.get_by_role("button", name="Hold to talk").hover()
    await page.mouse.down()
    await expect(page.get_by_role("button", name="Release to send")).to_have_attribute("aria-pressed", "true")
    await visitor.until("parseFloat(document.querySelector('.level-fill').style.getPropertyValue('--level')) > 0.3")
    await expect(page.locator("#talk-hint")).to_contain_text("Listening, 2 s")
    await page.keyboard.press("Escape")
    await expect(page.locator("#talk-hint")).to_have_text("Forgotten. Nothing was sent.")
    await page.mouse.up()
    await expect(page.locator(".exchange")).to_have_count(0)


async def test_a_tap_sends_nothing_and_says_how_it_is_done(visitor: Visitor) -> None:
    await visitor.page.get_by_role("button", name="Hold to talk").click()
    await expect(visitor.page.locator("#talk-hint")).to_contain_text("Hold the button while you speak.")
    await expect(visitor.page.locator(".exchange")).to_have_count(0)


async def test_who_cannot_hold_presses_once_to_talk_and_again_to_send(visitor: Visitor) -> None:
    page = visitor.page
    await page.get_by_text("Voice and microphone").click()
    await page.get_by_label("Press once to talk, again to send").check()
    await page.get_by_role("button", name="Press to talk").click()
    await expect(page.get_by_role("button", name="Press to send")).to_be_visible()
    await page.wait_for_timeout(TWICE * 1000)
    await page.get_by_role("button", name="Press to send").click()
    await expect(page.locator(".user .words")).to_have_text(WORDS_SAID)


async def test_a_minute_is_the_limit_which_is_warned_of_and_then_sent(visitor: Visitor) -> None:
    page = visitor.page
    await page.clock.install()
    await page.get_by_role("button", name="Hold to talk").hover()
    await page.mouse.down()
    await page.locator("#talk.listening").wait_for()
    await page.clock.run_for(51_000)
    await expect(page.locator("#talk-hint")).to_contain_text("It is sent in")
    await expect(page.locator("#announcer")).to_have_text("Ten seconds left.")
    await page.clock.run_for(9_500)
    await expect(page.locator(".exchange")).to_have_count(1)
    await expect(page.get_by_role("button", name="Hold to talk")).to_have_attribute("aria-pressed", "false")
    await page.mouse.up()


async def test_a_typed_question_is_answered_and_the_sentence_being_spoken_is_marked(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type(answering(SHORT))
    await expect(page.locator(".assistant .words")).to_have_text(SHORT)
    await visitor.until("[...CSS.highlights.get('spoken')].map(String).join() === 'Certainly.'")
    await visitor.until("[...CSS.highlights.get('spoken')].map(String).join() === 'That is easily done.'")
    await visitor.at_rest()
    assert await page.evaluate("CSS.highlights.get('spoken').size") == 0


async def test_the_words_grow_while_the_answer_is_being_written(visitor: Visitor) -> None:
    page = visitor.page
    await page.evaluate(
        """() => {
            window.lengths = [];
            const shown = () => document.querySelector(".assistant .words")?.textContent.length ?? 0;
            new MutationObserver(() => lengths.push(shown()))
                .observe(document.getElementById("exchanges"), { subtree: true, childList: true, characterData: true });
        }"""
    )
    await visitor.type(answering(LONG))
    await expect(page.locator(".assistant .words")).to_have_text(LONG.strip())
    lengths: list[int] = await page.evaluate("lengths")
    steps = sorted({length for length in lengths if length})
    assert len(steps) > 10
    assert lengths == sorted(lengths)


async def test_interrupting_ends_the_sound_and_keeps_only_what_was_heard(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type(answering(LONG))
    await visitor.until("oprina.player.playedMs > 2500")
    await page.get_by_role("button", name="Interrupt").click()
    await expect(page.locator(".assistant .note")).to_have_text("You interrupted here.")
    await page.wait_for_timeout(100)  # the analyser looks back over the last 43 ms
    assert await loudest(page, 300) <= 1
    await page.locator(".exchange .timings").wait_for()
    kept = (await visitor.messages_at_server())[-1]
    assert kept["state"] == "interrupted"
    assert LONG.startswith(kept["text"])
    assert 0 < len(kept["text"]) < len(LONG) / 2
    assert await page.locator(".assistant .words").inner_text() == kept["text"]


async def test_interrupting_tells_the_server_what_was_really_played(visitor: Visitor) -> None:
    page = visitor.page
    told: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/interrupt"):
            told.append(json.loads(request.post_data or ""))

    page.on("request", note)
    seconds: dict[int, float] = {}
    await page.expose_function("notePiece", lambda seq, length: seconds.__setitem__(seq, length))
    await page.evaluate(
        """async () => {
            const { Player } = await import("/js/player.js");
            const enqueue = Player.prototype.enqueue;
            Player.prototype.enqueue = function (piece) {
                notePiece(piece.seq, piece.seconds);
                return enqueue.call(this, piece);
            };
        }"""
    )
    await visitor.type(answering(LONG))
    await visitor.until("oprina.player.playedMs > 2500")
    await page.keyboard.press("Escape")
    await page.locator(".exchange .timings").wait_for()
    played = await visitor.played_ms()
    (position,) = told
    before = sum(length for seq, length in seconds.items() if seq < position["played_seq"])
    assert abs(before * 1000 + position["played_ms"] - played) < 60


async def test_starting_to_talk_interrupts_and_the_new_question_is_answered(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type(answering(LONG))
    await visitor.until("oprina.player.playedMs > 1500")
    await visitor.hold_to_talk(TWICE)
    await expect(page.locator(".exchange").nth(0).locator(".assistant .note")).to_have_text("You interrupted here.")
    await expect(page.locator(".exchange").nth(1).locator(".user .words")).to_have_text(WORDS_SAID)
    await expect(page.locator(".exchange").nth(1).locator(".assistant .words")).to_contain_text("rehearsed answer")


async def test_with_the_voice_off_nothing_is_spoken(visitor: Visitor) -> None:
    page = visitor.page
    await page.get_by_text("Voice and microphone").click()
    await page.get_by_label("Speak the answers").uncheck()
    async with page.expect_request("**/turns?*") as asked:
        await visitor.type(answering(SHORT))
    assert "speak=false" in (await asked.value).url
    await visitor.at_rest()
    await expect(page.locator(".assistant .words")).to_have_text(SHORT)
    assert await visitor.played_ms() == 0
    await expect(page.locator("#announcer")).to_have_text(f"Oprina: {SHORT}")


async def test_a_chosen_voice_and_language_travel_with_the_turn_and_are_remembered(visitor: Visitor) -> None:
    page = visitor.page
    await page.get_by_text("Voice and microphone").click()
    await visitor.until("document.getElementById('voice').options.length > 1")
    voice = await page.locator("#voice option").nth(1).get_attribute("value")
    await page.get_by_label("Voice", exact=True).select_option(voice)
    await page.get_by_label("Language").select_option("en-US")
    async with page.expect_request("**/turns?*") as asked:
        await visitor.type(answering(SHORT))
    assert f"voice={voice}" in (await asked.value).url
    assert "language=en-US" in (await asked.value).url
    await visitor.at_rest()
    await page.reload()
    await visitor.until("document.getElementById('voice').options.length > 1")
    await expect(page.locator("#voice")).to_have_value(voice or "")


async def test_where_the_time_went_is_drawn_and_told_in_words(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.hold_to_talk(TWICE)
    await visitor.until("oprina.player.playedMs > 300")
    await page.keyboard.press("Escape")
    bar = page.get_by_role("img", name=re.compile(r"^Where the time went: .*Hearing .*Thinking .*Finding the voice"))
    await expect(bar).to_be_visible()
    widths: dict[str, float] = await bar.evaluate(
        "(bar) => Object.fromEntries([...bar.children].map((part) => [part.className, part.offsetWidth]))"
    )
    assert max(widths, key=lambda name: widths[name]) == "piece stage-hear"
    await page.get_by_text(re.compile("^First sound after")).click()
    rows = page.get_by_role("row")
    await expect(rows.filter(has_text="End of speech to first sound, in this browser")).to_have_text(
        re.compile(r"\d+ m?s$")
    )
    await expect(rows.filter(has_text="Whole turn")).to_be_visible()


async def test_silence_is_met_kindly(visit: Visit, browser_with_silence: Browser) -> None:
    visitor = await visit(browser=browser_with_silence)
    visitor.refusals_expected = True
    await visitor.enter()
    await visitor.hold_to_talk(2)
    card = visitor.page.get_by_role("alert")
    await expect(card).to_contain_text("I heard no words")
    await expect(card).to_contain_text("no_speech")
