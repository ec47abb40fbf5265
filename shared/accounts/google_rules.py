"""Pure decisions about signing in with Google: the flow's secrets, its way back, and what an identity proves."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

FLOW_LIFE: Final = timedelta(minutes=10)
SCOPES: Final = ("openid", "email", "profile")

_STATE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ERROR_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CODE_MAX: Final = 2048
_OF_GOOGLE: Final = ("gmail.com", "googlemail.com")


def flow_expiry(now: datetime) -> datetime:
    return now + FLOW_LIFE


def challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def is_state(value: str | None) -> bool:
    """Whether this could be a state of ours at all."""
    return value is not None and _STATE.fullmatch(value) is not None


def way_back(page: str, state: str | None, code: str | None, error: str | None) -> str:
    """Where the browser goes after Google: the page, with what Google said behind the #, where no server sees it.

    Whatever Google cannot have said is told as `callback_invalid`.
    """
    if not is_state(state) or (code is None) == (error is None):
        said = {"error": "callback_invalid"}
    elif error is not None:
        said = {"state": state or "", "error": error if _ERROR_WORD.fullmatch(error) else "callback_invalid"}
    elif 0 < len(code or "") <= _CODE_MAX:
        said = {"state": state or "", "code": code or ""}
    else:
        said = {"error": "callback_invalid"}
    return f"{page.rstrip('/')}/#{urlencode({'google': 'sign-in', **said})}"


def vouched(email: str | None, email_verified: bool, hosted_domain: str | None) -> bool:
    """Whether Google speaks for an address itself: it is Gmail's, or its domain's Workspace says so.

    Any other address Google only checked once, and it may be somebody else's today. So it makes a new person, and opens
    none that exists: https://developers.google.com/identity/gsi/web/guides/verify-google-id-token
    """
    if email is None or not email_verified:
        return False
    return hosted_domain is not None or email.rpartition("@")[2].lower() in _OF_GOOGLE
