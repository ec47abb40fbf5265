"""Coming in, staying in, and leaving."""

from __future__ import annotations

import uuid

import httpx
from playwright.async_api import Route, expect

from tests.browser.visitor import Visit, Visitor

PASSWORD = "correct horse battery staple"


async def test_a_person_signs_in_and_out(guest: Visitor) -> None:
    page = guest.page
    await guest.sign_in()
    await expect(page.locator("#account-name")).to_have_text("Ada")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await page.evaluate("Object.keys(sessionStorage)") == []
    await page.reload()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_wrong_password_is_told_and_the_form_keeps_what_was_typed(guest: Visitor) -> None:
    page = guest.page
    guest.refusals_expected = True
    await page.get_by_label("E-mail").fill(guest.person.email)
    await page.get_by_label("Password").fill("not the password")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("credentials_invalid")
    await expect(page.get_by_label("E-mail")).to_have_value(guest.person.email)


async def test_registering_leads_through_the_mail_into_the_page(guest: Visitor) -> None:
    page = guest.page
    email = f"new-{uuid.uuid4().hex[:10]}@oprina.test"
    await page.get_by_role("button", name="Make an account").click()
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("What shall I call you?").fill("Grace")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Make an account").click()
    await expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    mailbox = await page.get_by_role("link", name="local mailbox").get_attribute("href")
    async with httpx.AsyncClient(base_url=guest.stack.base_url) as client:
        assert email in (await client.get(mailbox or "")).text
    await page.goto("about:blank")
    await guest.open(f"/#verify={guest.stack.mailed_token(email)}")
    await expect(page.locator("#account-name")).to_have_text("Grace")
    assert "verify" not in page.url


async def test_a_spent_link_is_told_and_leads_to_the_form(visit: Visit) -> None:
    visitor = await visit()
    visitor.refusals_expected = True
    await visitor.open("/#verify=" + "x" * 43)
    await expect(visitor.page.get_by_role("alert")).to_contain_text("token_invalid")
    await expect(visitor.page.get_by_label("E-mail")).to_be_visible()


async def test_requests_refused_together_rotate_the_tokens_once(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    session_id = await visitor.seeded_conversation(turns=1)
    rotations: list[str] = []
    page.on("request", lambda request: rotations.append(request.url) if request.url.endswith("/refresh") else None)
    refused = 0

    async def spoil(route: Route) -> None:
        nonlocal refused
        headers = dict(route.request.headers)
        if not rotations:
            refused += 1
            headers["authorization"] = "Bearer spoiled"
        await route.continue_(headers=headers)

    await page.route("**/v1/sessions/**", spoil)
    await page.evaluate("(id) => { location.hash = `#c=${id}`; }", session_id)
    await expect(page.locator(".message")).to_have_count(2)
    assert refused == 2
    assert len(rotations) == 1


async def test_two_tabs_with_one_sign_in_do_not_end_it_for_each_other(visitor: Visitor) -> None:
    page = visitor.page
    async with page.expect_popup() as opening:
        # A window that a page opens begins with a copy of its session storage, as a duplicated tab does.
        await page.evaluate("window.open(location.href)")
    other = await opening.value
    await other.locator("#workspace").wait_for()
    for tab in (page, other, page, other):
        await tab.reload()
        await tab.locator("#workspace").wait_for()
    tokens = [await tab.evaluate("sessionStorage.getItem('oprina.refresh')") for tab in (page, other)]
    assert tokens[0] == tokens[1]


async def test_a_sign_in_that_ended_leads_to_the_form_and_what_was_typed_is_kept(visitor: Visitor) -> None:
    page = visitor.page
    visitor.refusals_expected = True
    # What the page still asks for while it opens would be refused too, and lead to the form before anything is typed.
    await page.wait_for_load_state("networkidle")
    async with httpx.AsyncClient(base_url=visitor.stack.base_url, headers=visitor.person.headers) as client:
        assert (await client.post("/v1/auth/logout")).status_code < 300
    await visitor.type("What I had to say. [[say And it was heard.]]")
    await expect(page.get_by_text("Your sign-in has ended.")).to_be_visible()
    await visitor.sign_in()
    await expect(page.locator(".user .words")).to_contain_text("What I had to say.")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".assistant .words")).to_have_text("And it was heard.")
