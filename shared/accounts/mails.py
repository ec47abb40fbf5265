"""The mails of the accounts room. They repeat nothing that a stranger could have typed into a form."""

from __future__ import annotations

from typing import Any, TypedDict

from shared.runtime.settings import Settings, load


class PageSettings(Settings):
    """`page_url`: where people use the product, and where the links in mails lead."""

    page_url: str


class MailContent(TypedDict):
    """A mail as the outbox keeps it: the name of its template, and what goes into it when it is sent."""

    to: str
    template: str
    values: dict[str, Any]


def verification(to: str, token: str) -> MailContent:
    """The mail whose link proves that the address is theirs. The token stays behind the #, so no server logs it."""
    return {"to": to, "template": "verification", "values": {"address": f"{_page()}/#verify={token}"}}


def already_registered(to: str) -> MailContent:
    """The mail for an address that somebody registers again."""
    return {"to": to, "template": "already_registered", "values": {"address": f"{_page()}/"}}


def goodbye() -> dict[str, Any]:
    """The last mail. The database fills in the address, which the function that asks for it does not know."""
    return {"template": "goodbye", "values": {}}


def _page() -> str:
    settings: PageSettings = load(PageSettings)
    return settings.page_url.rstrip("/")


def _mail(to: str, subject: str, sentences: list[str], link: tuple[str, str], closing: str) -> MailContent:
    """A letter without a template of its own: sentences, a link with its label, and a closing sentence."""
    label, address = link
    values = {"subject": subject, "sentences": sentences, "label": label, "address": address, "closing": closing}
    return {"to": to, "template": "letter", "values": values}
