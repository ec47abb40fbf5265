"""Writing mails from their templates: the subject, the text and the HTML of one letter, from the same words.

A template is one file, `templates/NAME.jinja`, with the blocks `subject` and `words`. It is rendered twice, over
`layout.html` with everything escaped and over `layout.txt`, so that both always say the same.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TEMPLATES: Final = Path(__file__).parent / "templates"
_LANGUAGE: Final = "en"
_NAME: Final = re.compile(r"[a-z][a-z_]*")
# Whatever a mail header or a reader could take for the end of the line.
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Unwritable(Exception):
    """There is no such template, or a value that it needs is missing or wrong. The sentence holds no value."""


@dataclass(frozen=True)
class Letter:
    """`subject` is one line."""

    subject: str
    text: str
    html: str


def write(template: str, values: Mapping[str, Any]) -> Letter:
    """Render a letter.

    Raises:
        Unwritable: see there.
    """
    from jinja2 import TemplateError

    if not _NAME.fullmatch(template):
        raise Unwritable("a template's name is a word")
    try:
        subject, text = _rendered("txt", template, values)
        _, html = _rendered("html", template, values)
    except (TemplateError, TypeError, ValueError) as error:
        raise Unwritable(f"{template} could not be rendered: {type(error).__name__}") from None
    return Letter(_BREAKS.sub(" ", subject).strip(), text.strip() + "\n", html)


def _rendered(kind: str, template: str, values: Mapping[str, Any]) -> tuple[str, str]:
    page = _environment(kind).get_template(f"{template}.jinja")
    around = {"layout": f"layout.{kind}", "parts": f"parts.{kind}", "language": _LANGUAGE}
    subject = "".join(page.blocks["subject"](page.new_context({**values, **around})))
    return subject, page.render({**values, **around})


# The functions that send no mail do not pay for the library, and those that do only with their first one.
@functools.cache
def _environment(kind: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=kind == "html",  # noqa: S701 - the other kind is plain text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["web_address"] = _web_address
    return environment


def _web_address(address: object) -> str:
    if not isinstance(address, str) or not address.startswith(("https://", "http://")) or _BREAKS.search(address):
        raise ValueError("a link leads to a page")
    return address
