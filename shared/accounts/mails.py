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


def password_reset(to: str, token: str) -> MailContent:
    """The mail whose link sets a new password."""
    return _mail(
        to,
        "Set a new password",
        [
            "Somebody, probably you, asked to set a new password for your account at Oprina.",
            "Open this link within an hour to choose one. It works once, and you will be signed out everywhere else.",
        ],
        ("Set a new password", f"{_page()}/#reset={token}"),
        "You did not ask for this? Then ignore this mail: your password stays as it is.",
    )


def password_was_reset(to: str) -> MailContent:
    """The mail that tells a person that the link was used."""
    return _password_news(to, "Your password was set with the link that we mailed to this address.")


def password_was_changed(to: str) -> MailContent:
    """The mail that tells a person that somebody who knew the old password set a new one."""
    return _password_news(to, "Your password was changed by somebody who was signed in and knew the old one.")


def _password_news(to: str, what: str) -> MailContent:
    return _mail(
        to,
        "Your password was changed",
        [what, "All other devices were signed out."],
        ("Open Oprina", f"{_page()}/"),
        "It was not you? Then choose “Forgot your password?” at once: it sets a new one and signs everybody else out.",
    )


def _page() -> str:
    settings: PageSettings = load(PageSettings)
    return settings.page_url.rstrip("/")


def _mail(to: str, subject: str, sentences: list[str], link: tuple[str, str], closing: str) -> MailContent:
    """A letter without a template of its own: sentences, a link with its label, and a closing sentence."""
    label, address = link
    values = {"subject": subject, "sentences": sentences, "label": label, "address": address, "closing": closing}
    return {"to": to, "template": "letter", "values": values}
