"""The scopes that Google's consent screen knows here, by their canonical names, and what it says of each.

https://developers.google.com/identity/protocols/oauth2/scopes
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

OPENID: Final = "openid"
EMAIL: Final = "https://www.googleapis.com/auth/userinfo.email"
PROFILE: Final = "https://www.googleapis.com/auth/userinfo.profile"
_GMAIL: Final = "https://www.googleapis.com/auth/gmail."
_CALENDAR: Final = "https://www.googleapis.com/auth/calendar"

# Short names of OpenID Connect; answers hold the long ones.
_ALIASES: Final = {"email": EMAIL, "profile": PROFILE}

# What every consent to sign in includes: the screen lists these and offers no choice between them.
BASIC: Final = {
    OPENID: "Associate you with your personal info on Google",
    EMAIL: "See your primary Google Account email address",
    PROFILE: "See your personal info, including any personal info you've made publicly available",
}
# What a person may allow one by one.
CHOSEN: Final = {
    "https://mail.google.com/": "Read, compose, send, and permanently delete all your email from Gmail",
    f"{_GMAIL}readonly": "View your email messages and settings",
    f"{_GMAIL}send": "Send email on your behalf",
    f"{_GMAIL}compose": "Manage drafts and send emails",
    f"{_GMAIL}modify": "Read, compose, and send emails from your Gmail account",
    f"{_GMAIL}labels": "See and edit your email labels",
    f"{_GMAIL}metadata": "View your email message metadata such as labels and headers, but not the email body",
    f"{_GMAIL}settings.basic": "See, edit, create, or change your email settings and filters in Gmail",
    _CALENDAR: "See, edit, share, and permanently delete all the calendars you can access using Google Calendar",
    f"{_CALENDAR}.readonly": "See and download any calendar you can access using your Google Calendar",
    f"{_CALENDAR}.events": "View and edit events on all your calendars",
    f"{_CALENDAR}.events.readonly": "View events on all your calendars",
    f"{_CALENDAR}.freebusy": "View your availability in your calendars",
    f"{_CALENDAR}.settings.readonly": "View your Calendar settings",
}
_KNOWN: Final = BASIC | CHOSEN


def named(text: str) -> tuple[list[str], list[str]]:
    """Split a space-separated list of scopes. Returns the known ones, canonical and each once, and the unknown ones."""
    asked = [_ALIASES.get(name, name) for name in text.split()]
    return list(dict.fromkeys(name for name in asked if name in _KNOWN)), [name for name in asked if name not in _KNOWN]


def described(scope: str) -> str:
    return _KNOWN[scope]


def written(scopes: Iterable[str]) -> str:
    """A set of scopes as answers hold it: the known order first, joined by spaces."""
    held = set(scopes)
    return " ".join(name for name in _KNOWN if name in held)
