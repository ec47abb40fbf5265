"""A person's own account in the page: profile, password, devices, usage, and the end of it."""

from __future__ import annotations

import re
from typing import Any

import httpx
from playwright.async_api import expect

from tests.browser.test_for_everyone import FAINT_TEXTS, NAMELESS
from tests.browser.visitor import Visit, Visitor

NEW_PASSWORD = "a-much-better-one-than-before"


async def open_account(visitor: Visitor) -> None:
    await visitor.page.get_by_role("link", name="Account").click()
    await expect(visitor.page.get_by_role("heading", name="Your account")).to_be_focused()
    await expect(visitor.page.get_by_label("What shall I call you?")).to_be_visible()


async def stored_profile(visitor: Visitor) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=visitor.stack.base_url, headers=visitor.person.headers) as client:
        answer = await client.get("/v1/users/me")
    assert answer.status_code == 200, answer.text
    profile: dict[str, Any] = answer.json()
    return profile


async def reset_token(visitor: Visitor) -> str:
    """The token of the newest mail with a link to set a new password."""
    async with httpx.AsyncClient(base_url=visitor.stack.base_url) as client:
        mails = (await client.get("/local/mail", params={"to": visitor.person.email})).json()
    found = next(match for mail in mails if (match := re.search(r"#reset=([A-Za-z0-9_-]+)", mail["text"])))
    return found[1]


async def test_the_profile_is_changed_and_an_emptied_field_is_cleared(visitor: Visitor) -> None:
    page = visitor.page
    await open_account(visitor)
    await expect(page.get_by_label("E-mail")).to_have_value(visitor.person.email)
    await page.get_by_label("What shall I call you?").fill("Countess")
    await page.get_by_label("How the assistant should speak").fill("Slowly, and in rhyme.")
    await page.get_by_label("Time zone").select_option("Asia/Tokyo")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await expect(page.locator("#account-name")).to_have_text("Countess")
    profile = await stored_profile(visitor)
    assert (profile["preferred_name"], profile["timezone"]) == ("Countess", "Asia/Tokyo")
    assert profile["ai_preferences"] == "Slowly, and in rhyme."
    await page.get_by_label("What shall I call you?").fill("")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#account-name")).to_have_text(visitor.person.email)
    assert (await stored_profile(visitor))["preferred_name"] is None


async def test_a_refused_field_is_named_and_what_was_typed_stays(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    await open_account(visitor)
    await page.get_by_role("textbox", name="Language").fill("not a language at all")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert")).to_contain_text("language")
    await expect(page.get_by_role("textbox", name="Language")).to_have_value("not a language at all")


async def test_the_account_opens_by_its_address_and_leads_back_to_the_conversation(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type("Stay with me. [[say I stay.]]")
    await visitor.at_rest()
    await open_account(visitor)
    await expect(page.get_by_label("Your message")).to_be_hidden()
    await page.reload()
    await expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    await page.go_back()
    await expect(page.locator(".assistant .words")).to_have_text("I stay.")
    await open_account(visitor)
    await page.get_by_role("link", name="Back to the conversation").click()
    await expect(page.locator(".assistant .words")).to_have_text("I stay.")


async def test_a_forgotten_password_is_set_anew_by_the_link_of_a_mail(guest: Visitor) -> None:
    page = guest.page
    await page.get_by_label("E-mail").fill(guest.person.email)
    await page.get_by_role("button", name="Forgot your password?").click()
    await expect(page.get_by_label("E-mail")).to_have_value(guest.person.email)
    await page.get_by_role("button", name="Send me a link").click()
    await expect(page.get_by_role("heading", name="Check your mail")).to_be_focused()
    await guest.open(f"/#reset={await reset_token(guest)}")
    await page.get_by_label("New password").fill(NEW_PASSWORD)
    assert "reset" not in page.url
    await page.get_by_role("button", name="Set it and sign in").click()
    await page.locator("#workspace").wait_for()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("E-mail").fill(guest.person.email)
    await page.get_by_label("Password").fill(NEW_PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.locator("#workspace").wait_for()


async def test_a_spent_reset_link_is_told_with_the_way_to_another(guest: Visitor) -> None:
    page = guest.page
    guest.refusals_expected = True
    await guest.open("/#reset=this-was-never-a-token-of-ours-or-was-used")
    await page.get_by_label("New password").fill(NEW_PASSWORD)
    await page.get_by_role("button", name="Set it and sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("no longer valid")
    await page.get_by_role("button", name="Send me another one").click()
    await expect(page.get_by_role("button", name="Send me a link")).to_be_visible()


async def test_a_changed_password_is_the_one_that_counts(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    await open_account(visitor)
    await page.get_by_label("Current password").fill("not-what-it-was")
    await page.get_by_label("New password").fill(NEW_PASSWORD)
    await page.get_by_role("button", name="Change the password").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_label("Current password").fill(visitor.person.password)
    await page.get_by_role("button", name="Change the password").click()
    await expect(page.get_by_text("Every other device is signed out.", exact=False).last).to_be_visible()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await page.get_by_label("E-mail").fill(visitor.person.email)
    await page.get_by_label("Password").fill(NEW_PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.locator("#workspace").wait_for()


async def test_a_common_password_is_refused_with_the_reason(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    await open_account(visitor)
    await page.get_by_label("Current password").fill(visitor.person.password)
    await page.get_by_label("New password").fill("password1")
    await page.get_by_role("button", name="Change the password").click()
    await expect(page.get_by_role("alert")).to_contain_text("new_password")


async def test_another_device_is_shown_and_signed_out(visitor: Visitor) -> None:
    page = visitor.page
    async with httpx.AsyncClient(base_url=visitor.stack.base_url, headers=visitor.person.headers) as client:
        login = {"email": visitor.person.email, "password": visitor.person.password}
        other = await client.post("/v1/auth/login", json=login, headers={"User-Agent": "Kitchen radio/1.0"})
        assert other.status_code == 200, other.text
        await open_account(visitor)
        await expect(page.locator(".rows li", has_text="Kitchen radio/1.0")).to_have_count(1)
        await expect(page.locator(".rows li", has_text="this device")).to_have_count(1)
        await page.get_by_role("button", name="Sign out Kitchen radio/1.0").click()
        await expect(page.get_by_text("Kitchen radio/1.0 is signed out.")).to_be_visible()
        await expect(page.locator(".rows li", has_text="Kitchen radio/1.0")).to_have_count(0)
        bearer = {"Authorization": f"Bearer {other.json()['access_token']}"}
        assert (await client.get("/v1/users/me", headers=bearer)).status_code == 401


async def test_signing_out_everywhere_leads_to_the_form(visitor: Visitor) -> None:
    page = visitor.page
    await open_account(visitor)
    await page.get_by_role("button", name="Sign out everywhere").click()
    await expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


async def test_what_was_used_is_shown(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type("Count this. [[say Counted.]]")
    await visitor.at_rest()
    await open_account(visitor)
    await expect(page.get_by_role("row").filter(has_text="Speaking")).to_contain_text("characters")
    await page.get_by_text("Day by day").first.click()
    await expect(page.get_by_role("table", name="Day by day")).to_be_visible()


async def test_the_account_is_deleted_only_when_its_address_is_typed(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    await open_account(visitor)
    await expect(page.get_by_text("This cannot be undone.", exact=False)).to_be_visible()
    confirmation = page.get_by_label("to confirm")
    await confirmation.fill("somebody@else.test")
    await page.get_by_role("button", name="Delete my account for good").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was deleted")
    await confirmation.fill(visitor.person.email)
    await page.get_by_role("button", name="Delete my account for good").click()
    await expect(page.get_by_text("Your account is deleted.", exact=False)).to_be_visible()
    await page.get_by_label("E-mail").fill(visitor.person.email)
    await page.get_by_label("Password").fill(visitor.person.password)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("wrong")


async def test_the_account_can_be_read_and_named_by_everyone(visit: Visit) -> None:
    for scheme in ("light", "dark"):
        visitor = await visit(color_scheme=scheme, width=390, height=800)
        await visitor.enter()
        await open_account(visitor)
        await expect(visitor.page.locator(".rows li").first).to_be_visible()
        assert await visitor.page.evaluate(FAINT_TEXTS) == []
        assert await visitor.page.evaluate(NAMELESS) == []
        assert await visitor.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
