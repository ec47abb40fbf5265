"""Signing in with Google at the page: there and back again, and what is shown when it does not work."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

from playwright.async_api import expect

from tests.browser.visitor import Visit, Visitor

BUTTON = "Sign in with Google"


async def go_to_google(visitor: Visitor) -> None:
    await visitor.page.get_by_role("button", name=BUTTON).click()
    await expect(visitor.page.get_by_role("heading", name="Choose an account")).to_be_visible()


async def as_somebody(visitor: Visitor, email: str) -> None:
    await visitor.page.get_by_label("Use another account").check()
    await visitor.page.get_by_label("Email", exact=True).fill(email)


async def session_keys(visitor: Visitor) -> list[str]:
    keys: list[str] = await visitor.page.evaluate("Object.keys(sessionStorage)")
    return keys


async def test_a_newcomer_clicks_through_without_typing_and_leaves_no_code_behind(guest: Visitor) -> None:
    page = guest.page
    await go_to_google(guest)
    await page.get_by_role("button", name="Continue").click()
    await expect(page.locator("#account-name")).to_have_text("Ada")
    assert page.url == guest.stack.base_url + "/"
    assert await session_keys(guest) == ["oprina.refresh"]
    await page.reload()
    await expect(page.locator("#account-name")).to_have_text("Ada")
    await page.go_back()
    await expect(page.get_by_role("heading", name="Choose an account")).to_be_visible()
    await page.go_forward()
    await expect(page.locator("#account-name")).to_have_text("Ada")


async def test_the_consent_page_needs_only_the_keyboard(guest: Visitor) -> None:
    page = guest.page
    await page.get_by_role("button", name=BUTTON).focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("radio").first).to_be_focused()
    await page.keyboard.press("ArrowDown")
    for _ in range(3):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.value") == "allow":
            break
    await page.keyboard.press("Enter")
    await expect(page.locator("#account-name")).to_have_text("Grace")


async def test_a_person_who_registered_is_the_same_person_by_google(guest: Visitor) -> None:
    page = guest.page
    await go_to_google(guest)
    await as_somebody(guest, guest.person.email)
    await page.get_by_role("button", name="Continue").click()
    await expect(page.locator("#workspace")).to_be_visible()
    await expect(page.locator("#account-name")).to_have_text("Ada")


async def test_declining_at_google_is_told_and_leaves_the_form(guest: Visitor) -> None:
    page = guest.page
    await go_to_google(guest)
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("alert")).to_contain_text("You declined at Google")
    await expect(page.get_by_role("alert")).to_contain_text("access_denied")
    await expect(page.get_by_label("E-mail")).to_be_visible()
    assert page.url == guest.stack.base_url + "/"
    assert await session_keys(guest) == []


async def test_a_return_that_this_tab_did_not_begin_signs_nobody_in(guest: Visitor, visit: Visit) -> None:
    await go_to_google(guest)
    guest.refusals_expected = True
    # The one who began keeps their own browser from ending it, and hands the address to somebody else.
    await guest.page.route("**/v1/auth/google/complete", lambda route: route.abort())
    async with guest.page.expect_request("**/v1/auth/google/callback**") as passing:
        await guest.page.get_by_role("button", name="Continue").click()
    planted = urlsplit((await passing.value).url)
    await expect(guest.page.get_by_role("alert")).to_contain_text("network_lost")
    other = await visit()
    await other.open(f"{planted.path}?{planted.query}")
    await expect(other.page.get_by_role("alert")).to_contain_text("state_invalid")
    assert other.page.url == other.stack.base_url + "/"
    await expect(other.page.get_by_label("E-mail")).to_be_visible()


async def test_while_google_is_away_the_sign_in_can_be_tried_again_without_beginning_anew(guest: Visitor) -> None:
    page = guest.page
    guest.refusals_expected = True
    await go_to_google(guest)
    await as_somebody(guest, f"patient.{uuid.uuid4().hex[:8]}@oprina.test")
    with guest.stack.faults({"google": {"token": {"status": 503}}}):
        await page.get_by_role("button", name="Continue").click()
        await expect(page.get_by_role("alert")).to_contain_text("google_unavailable")
    await page.get_by_role("button", name="Try again", exact=True).click()
    await expect(page.locator("#account-name")).to_have_text("Patient")


async def test_a_backend_that_cannot_begin_says_so_at_the_form(guest: Visitor) -> None:
    page = guest.page
    guest.refusals_expected = True
    with guest.stack.faults({"supabase": {"begin_google_sign_in": {"status": 503}}}):
        await page.get_by_role("button", name=BUTTON).click()
        await expect(page.get_by_role("alert")).to_contain_text("503")
    await expect(page.get_by_label("E-mail")).to_be_visible()
