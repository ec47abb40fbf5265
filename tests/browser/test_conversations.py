"""Conversations in the page: kept, found again, named, deleted."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser.visitor import Visitor


async def test_a_reload_keeps_the_sign_in_and_the_conversation(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type("Where were we? [[say Here we were.]]")
    await visitor.at_rest()
    title = await page.locator("#conversation-title").inner_text()
    await page.reload()
    await expect(page.locator(".message .words")).to_have_text([re.compile("Where were we"), "Here we were."])
    await expect(page.locator("#conversation-title")).to_have_text(title)
    await expect(page.locator("#conversation-list a[aria-current]")).to_contain_text(title)


async def test_older_messages_come_as_one_scrolls_up_and_the_view_stays_where_it_was(visitor: Visitor) -> None:
    page = visitor.page
    session_id = await visitor.seeded_conversation(turns=13)
    await visitor.open(f"/#c={session_id}")
    await page.reload()
    await expect(page.locator(".message")).to_have_count(20)
    await expect(page.locator(".message .words").last).to_have_text("Answer 12.")
    first = page.locator(".message.assistant", has_text="Answer 3.")
    await page.locator("#messages").evaluate("(messages) => { messages.scrollTop = 0; }")
    await expect(page.locator(".message")).to_have_count(26)
    await expect(page.locator(".message .words").first).to_contain_text("Question 0.")
    await expect(page.get_by_role("button", name="Show older messages")).to_be_hidden()
    await expect(first).to_be_in_viewport()


async def test_stored_turns_tell_where_their_time_went(visitor: Visitor) -> None:
    page = visitor.page
    session_id = await visitor.seeded_conversation(turns=1)
    await visitor.open(f"/#c={session_id}")
    await page.reload()
    await page.get_by_text("Where the time went").click()
    await expect(page.get_by_role("row").filter(has_text="Whole turn")).to_be_visible()


async def test_a_conversation_is_renamed_and_found_by_its_new_name(visitor: Visitor) -> None:
    page = visitor.page
    for _ in range(2):
        await visitor.seeded_conversation(turns=1)
    await page.reload()
    items = page.locator("#conversation-list li")
    await expect(items).to_have_count(2)
    await items.first.hover()
    await items.first.get_by_role("button", name="Rename").click()
    await page.get_by_label("New name").fill("The blue heron")
    await page.keyboard.press("Enter")
    await expect(items.first).to_contain_text("The blue heron")
    await page.get_by_label("Search conversations").fill("heron")
    await expect(items).to_have_count(1)
    await page.get_by_label("Search conversations").fill("no such thing")
    await expect(page.locator("#conversation-list-note")).to_have_text("Nothing found for “no such thing”.")


async def test_a_conversation_is_deleted_only_after_a_yes(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type("Forget this. [[say I will.]]")
    await visitor.at_rest()
    item = page.locator("#conversation-list li")
    await item.hover()
    await item.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Keep it").click()
    await expect(item).to_have_count(1)
    await item.hover()
    await item.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(item).to_have_count(0)
    await expect(page.locator(".message")).to_have_count(0)
    await page.reload()
    await expect(page.locator("#conversation-list-note")).to_have_text("No conversations yet.")


async def test_more_conversations_are_shown_on_request(visitor: Visitor) -> None:
    page = visitor.page
    for _ in range(21):
        await visitor.seeded_conversation(turns=0)
    await page.reload()
    await expect(page.locator("#conversation-list li")).to_have_count(20)
    await page.get_by_role("button", name="Show more").click()
    await expect(page.locator("#conversation-list li")).to_have_count(21)
