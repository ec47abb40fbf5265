"""The page can be used with the keyboard, on a small screen, in the dark, and by who does not see it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.visitor import SAID, Visit, Visitor, seconds_of

# https://www.w3.org/TR/WCAG22/#contrast-minimum, reckoned as in https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
FAINT_TEXTS = r"""
() => {
  const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const channel = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest(":disabled, .visually-hidden, option, script, noscript")) continue;
    const [one, other] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) faint.push(`${node.data.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return faint;
}
"""
NAMELESS = r"""
() => [...document.querySelectorAll(
  "button, a[href], input, select, textarea, summary, dialog, nav, section, [role=img], [role=log]")]
  .filter((element) => element.checkVisibility())
  .filter((element) => {
    const ids = (element.getAttribute("aria-labelledby") || "").split(" ");
    const labelled = ids.map((id) => document.getElementById(id)?.textContent);
    const label = element.labels ? [...element.labels].map((label) => label.textContent).join("") : "";
    const own = /^(BUTTON|A|SUMMARY)$/.test(element.tagName) ? element.textContent : "";
    return ![element.getAttribute("aria-label"), labelled.join(""), label, own].some((name) => name && name.trim());
  })
  .map((element) => element.outerHTML.slice(0, 120))
"""


async def test_a_whole_visit_needs_only_the_keyboard(guest: Visitor) -> None:
    page = guest.page
    keys = page.keyboard
    await expect(page.get_by_label("E-mail")).to_be_focused()
    await keys.type(guest.person.email)
    await keys.press("Tab")
    await keys.type(guest.person.password)
    await keys.press("Enter")
    await expect(page.get_by_label("Your message")).to_be_focused()
    await keys.type("By keys alone. [[say Well done. You need no mouse at all for this.]]")
    await keys.press("Enter")
    await expect(page.locator(".assistant .words")).to_contain_text("Well done.")
    await guest.until("oprina.player.playedMs > 300")
    await keys.press("Escape")
    await expect(page.locator(".assistant .note")).to_have_text("You interrupted here.")
    for _ in range(30):
        if await page.evaluate("document.activeElement.id") == "talk":
            break
        await keys.press("Shift+Tab")
    await expect(page.get_by_role("button", name="Hold to talk")).to_be_focused()
    await keys.down(" ")
    await page.locator("#talk.listening").wait_for()
    await page.wait_for_timeout(2 * seconds_of(SAID) * 1000)
    await keys.up(" ")
    await expect(page.locator(".user .words").last).to_have_text(re.compile("go forward", re.IGNORECASE))


async def test_the_space_bar_talks_unless_one_is_typing(visitor: Visitor) -> None:
    page = visitor.page
    await page.get_by_label("Your message").focus()
    await page.keyboard.type("a b")
    await expect(page.get_by_label("Your message")).to_have_value("a b")
    await page.locator("#messages").focus()
    await page.keyboard.down(" ")
    await expect(page.get_by_role("button", name="Release to send")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.up(" ")
    await expect(page.locator(".exchange")).to_have_count(0)


async def test_focus_can_be_seen_everywhere(visitor: Visitor) -> None:
    page = visitor.page
    await page.evaluate("document.activeElement.blur()")
    seen: list[str] = []
    for _ in range(14):
        await page.keyboard.press("Tab")
        style: dict[str, Any] = await page.evaluate(
            """() => {
                const element = document.activeElement;
                if (element === document.body) return { name: "" };
                const { outlineStyle, outlineWidth } = getComputedStyle(element);
                const name = element.id || element.textContent.trim();
                return { name, outlineStyle, width: parseFloat(outlineWidth) };
            }"""
        )
        seen.append(style["name"])
        if style["name"] != "":
            assert style["outlineStyle"] != "none", style
            assert style["width"] >= 2, style
    assert {"new-conversation", "search", "messages", "talk", "type"} <= set(seen)


async def test_every_control_has_a_name(guest: Visitor) -> None:
    page = guest.page
    assert await page.evaluate(NAMELESS) == []
    await guest.sign_in()
    await guest.type("Name it. [[say Named.]]")
    await guest.at_rest()
    await page.get_by_text("Voice and microphone").click()
    assert await page.evaluate(NAMELESS) == []
    assert await page.locator("html").get_attribute("lang") == "en"
    assert await page.locator("h1").count() == 1
    assert await page.locator("img:not([alt])").count() == 0


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
async def test_text_stands_out_from_its_ground(visit: Visit, color_scheme: str) -> None:
    visitor = await visit(color_scheme=color_scheme)
    visitor.refusals_expected = True
    page = visitor.page
    await visitor.open()
    await page.get_by_role("button", name="Make an account").wait_for()
    assert await page.evaluate(FAINT_TEXTS) == []
    await visitor.sign_in()
    await visitor.type("See. [[say Seen.]]")
    await visitor.at_rest()
    await visitor.type("Break. [[say One two three four.]] [[fail after 2]]")
    await page.get_by_role("alert").wait_for()
    await page.get_by_text("Voice and microphone").click()
    assert await page.evaluate(FAINT_TEXTS) == []


@pytest.mark.parametrize("width", [360, 768])
async def test_nothing_sticks_out_of_a_narrow_window(visit: Visit, width: int) -> None:
    visitor = await visit(width=width, height=740)
    page = visitor.page
    await visitor.enter()
    await visitor.type("Narrow. [[say Narrow indeed, but " + "unbroken" * 12 + ".]]")
    await visitor.at_rest()
    await page.locator(".timings summary").click()
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert (
        await page.evaluate(
            "document.getElementById('messages').scrollWidth - document.getElementById('messages').clientWidth"
        )
        <= 0
    )


async def test_the_list_is_a_drawer_on_a_small_screen(visit: Visit) -> None:
    visitor = await visit(width=360, height=740)
    page = visitor.page
    await visitor.enter()
    await expect(page.get_by_label("Search conversations")).to_be_hidden()
    toggle = page.get_by_role("button", name="Conversations", exact=True)
    await toggle.click()
    await expect(toggle).to_have_attribute("aria-expanded", "true")
    await expect(page.get_by_label("Search conversations")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_label("Search conversations")).to_be_hidden()
    await expect(toggle).to_be_focused()


async def test_a_screen_reader_hears_finished_things_only(visitor: Visitor) -> None:
    page = visitor.page
    await page.evaluate(
        """() => {
            window.announced = [];
            const region = document.getElementById("announcer");
            new MutationObserver(() => announced.push(region.textContent))
                .observe(region, { childList: true, characterData: true, subtree: true });
        }"""
    )
    await page.get_by_text("Voice and microphone").click()
    await page.get_by_label("Speak the answers").uncheck()
    await visitor.type("Tell. [[say One two three four five six seven eight nine ten.]]")
    await visitor.at_rest()
    assert await page.evaluate("announced") == ["Oprina: One two three four five six seven eight nine ten."]
    assert await page.locator("#messages").get_attribute("aria-live") == "off"


async def test_it_says_that_it_is_a_machine(guest: Visitor) -> None:
    disclosure = guest.page.get_by_text("Oprina is an artificial intelligence, not a person.").filter(visible=True)
    await expect(disclosure).to_be_visible()
    await guest.sign_in()
    await expect(disclosure).to_be_visible()


async def test_nothing_moves_for_who_asked_for_stillness(visit: Visit) -> None:
    visitor = await visit(reduced_motion="reduce")
    await visitor.enter()
    moving = await visitor.page.evaluate(
        """() => [...document.querySelectorAll("*")]
            .filter((element) => parseFloat(getComputedStyle(element).transitionDuration) > 0).length"""
    )
    assert moving == 0
