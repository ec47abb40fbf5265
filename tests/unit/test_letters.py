"""Every mail says the same in text and in HTML, and nothing that goes into one can become part of its form."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from shared.accounts import mails
from shared.operations.letters import TEMPLATES, Letter, Unwritable, write

ADDRESS = 'https://page.oprina.test/#x="><script>alert(1)</script>&y=1'
HOSTILE = [
    '"><script>alert(1)</script><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} {% include '/etc/passwd' %} {{ self.__init__.__globals__ }}",
    "Hello\r\nBcc: victim@oprina.test\r\n\r\n<b>body</b>",
    "</title></style><a href='javascript:alert(1)'>here</a>\u2028\0",
    "%s %(x)s {0} \\ ${jndi:x}",
]
# What each template is given; whatever is a sentence or a name is replaced by something hostile.
VALUES: dict[str, dict[str, Any]] = {
    "letter": {"subject": "s", "sentences": ["s", "s"], "label": "s", "address": ADDRESS, "closing": "s"},
    "verification": {"address": ADDRESS},
    "already_registered": {"address": ADDRESS},
    "goodbye": {},
    "contact_received": {"case_id": 1042},
    "contact_case": {"case_id": 1042, "name": "s", "email": "s", "subject": "s", "message": "s"},
}


class Page(HTMLParser):
    """The elements of a page, the text that is shown, and where its links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.links: list[str] = []
        self.text = ""
        self.title = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["title"] and not self.title:
            self.title = data
        else:
            self.text += data


def replaced(values: dict[str, Any], hostile: str) -> dict[str, Any]:
    def one(value: Any) -> Any:
        return [hostile for _ in value] if isinstance(value, list) else hostile if value == "s" else value

    return {name: one(value) for name, value in values.items()}


def test_every_template_is_tried() -> None:
    assert {path.stem for path in TEMPLATES.glob("*.jinja")} == set(VALUES)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("hostile", HOSTILE, ids=["markup", "template", "header", "attribute", "format"])
def test_a_hostile_value_stays_what_it_is_text(name: str, hostile: str) -> None:
    harmless = Page(write(name, replaced(VALUES[name], "harmless")).html)
    letter = write(name, replaced(VALUES[name], hostile))
    page = Page(letter.html)
    assert page.tags == harmless.tags
    assert page.attributes.keys() == harmless.attributes.keys()
    assert page.links == harmless.links
    assert not set("\r\n\0\u2028") & set(letter.subject)
    assert "49" not in letter.text
    if name == "contact_case":
        assert hostile in letter.text
        assert hostile.split()[0] in page.text


@pytest.mark.parametrize("name", VALUES)
def test_a_mail_can_be_read_by_everybody(name: str) -> None:
    letter = write(name, replaced(VALUES[name], "Something"))
    page = Page(letter.html)
    assert page.attributes["lang"] == "en"
    assert page.title == letter.subject != ""
    assert "prefers-color-scheme: dark" in page.text
    assert page.tags.count("main") == 1
    if "address" in VALUES[name]:
        assert page.links == [ADDRESS, ADDRESS], "a button, and the plain address below it"
        assert ADDRESS in page.text
        assert ADDRESS in letter.text
    assert "img" not in page.tags
    assert "script" not in page.tags


@pytest.mark.parametrize("name", VALUES)
def test_text_and_html_say_the_same(name: str) -> None:
    letter = write(name, replaced(VALUES[name], "Something"))
    shown = " ".join(Page(letter.html).text.split())
    for sentence in letter.text.split("\n\n"):
        assert " ".join(sentence.split()) in shown


def test_a_confirmation_takes_nothing_that_a_stranger_typed() -> None:
    typed = {"name": "CANARY", "email": "CANARY", "subject": "CANARY", "message": "CANARY"}
    letter = write("contact_received", {"case_id": 7, **typed})
    assert "CANARY" not in letter.subject + letter.text + letter.html


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("nothing_of_the_kind", {}),
        ("../letters", {}),
        ("layout.html", {}),
        ("", {}),
        ("verification", {}),
        ("verification", {"address": "javascript:alert(1)"}),
        ("verification", {"address": "https://x/\r\nBcc: y"}),
        ("verification", {"address": 5}),
        ("letter", {**VALUES["letter"], "sentences": None}),
    ],
)
def test_a_letter_that_cannot_be_written_says_so_without_its_values(name: str, values: dict[str, Any]) -> None:
    with pytest.raises(Unwritable) as refused:
        write(name, values)
    assert "javascript" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_letter_without_a_template_of_its_own_is_written_by_the_common_one() -> None:
    order = mails._mail("ada@oprina.test", "Hello <Ada>", ["One.", "Two."], ("Go", ADDRESS), "Bye.")
    letter = write(order["template"], order["values"])
    assert letter == Letter("Hello <Ada>", f"One.\n\nTwo.\n\n{ADDRESS}\n\nBye.\n", letter.html)
    assert Page(letter.html).title == "Hello <Ada>"
