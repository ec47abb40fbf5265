"""What goes wrong is shown as what it is, with a way on."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser.visitor import Visitor


async def test_a_recognizer_that_is_away_is_told_with_its_code_and_a_way_to_try_again(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    card = page.get_by_role("alert")
    with visitor.stack.faults({"speech": {"*": {"status": "UNAVAILABLE"}}}):
        await visitor.hold_to_talk(3)
        await expect(card).to_be_visible()
        await expect(card.locator(".problem-facts")).to_have_text(re.compile(r"\w+ · 50\d · request \w{8,}"))
    await card.get_by_role("button", name="Try again").click()
    await expect(page.locator(".assistant .words")).to_contain_text("rehearsed answer")
    await expect(card).to_have_count(0)


async def test_a_voice_that_fails_leaves_the_answer_to_be_read(visitor: Visitor) -> None:
    page = visitor.page
    with visitor.stack.faults({"texttospeech": {"*": {"status": "UNAVAILABLE"}}}):
        await visitor.type("Speak. [[say Only written.]]")
        await visitor.at_rest()
    await expect(page.locator(".assistant .words")).to_have_text("Only written.")
    await expect(page.get_by_text("The voice failed:")).to_be_visible()


async def test_an_agent_that_breaks_off_leaves_what_it_said_and_a_problem(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type("Break. [[say One two three four five six seven eight.]] [[fail after 4]]")
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.locator(".assistant .words")).to_have_text("One two three four")
    await expect(page.locator(".assistant .note")).to_have_text("This answer was not finished.")


async def test_without_a_network_the_page_says_so_and_the_question_is_asked_once(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    await visitor.type("First. [[say First answer.]]")
    await visitor.at_rest()
    await visitor.context.set_offline(True)
    await visitor.type("Second. [[say Second answer.]]")
    card = page.get_by_role("alert")
    await expect(card).to_contain_text("You are offline")
    await visitor.context.set_offline(False)
    await card.get_by_role("button", name="Try again").click()
    await expect(page.locator(".assistant .words").last).to_have_text("Second answer.")
    await visitor.at_rest()
    questions = [message for message in await visitor.messages_at_server() if message["role"] == "user"]
    assert len(questions) == 2


async def test_an_answer_lost_on_the_way_is_fetched_and_not_asked_for_again(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    # The line dies after the turn began: the stream is cut, and the server goes on alone.
    await page.evaluate(
        """() => {
            const original = window.fetch;
            window.fetch = async (url, options) => {
                const response = await original(url, options);
                if (!String(url).includes("/turns?")) return response;
                const reader = response.body.getReader();
                const { value } = await reader.read();
                await reader.cancel();
                return new Response(value, { status: response.status, headers: response.headers });
            };
        }"""
    )
    await visitor.type("Lost? [[say Nothing was lost.]]")
    await expect(page.locator(".assistant .words")).to_have_text("Nothing was lost.")
    assert [message["role"] for message in await visitor.messages_at_server()] == ["user", "assistant"]


async def test_too_many_at_once_counts_the_seconds_until_one_may_try_again(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    await page.get_by_text("Voice and microphone").click()
    await page.get_by_label("Speak the answers").uncheck()
    card = page.get_by_role("alert")
    for number in range(40):
        await visitor.type(f"Quick {number} [[say Yes.]]")
        await expect(page.locator(".exchange").nth(number).locator(".timings").or_(card).first).to_be_visible()
        if await card.count():
            break
    await expect(card).to_contain_text("rate_limited")
    await expect(card.get_by_role("button", name=re.compile(r"Try again in \d+ s"))).to_be_disabled()
    await card.get_by_role("button", name="Try again", exact=True).click()
    await expect(card).to_have_count(0)


async def test_an_ailing_part_is_named_in_plain_words(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    await expect(page.locator("#health-summary")).to_have_text("All parts work")
    with visitor.stack.faults({"agent": {"*": {"status": 503}}}):
        await page.reload()
        await expect(page.locator("#notices")).to_contain_text("Agent is unavailable")
        await expect(page.locator("#health-summary")).to_have_text("Some parts are unavailable")
    await page.reload()
    await expect(page.locator("#health-summary")).to_have_text("All parts work")
    await expect(page.locator("#notices")).to_be_empty()
