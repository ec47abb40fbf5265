"""What an identity of Google's proves, and where a browser that comes back from Google is sent."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accounts import google_rules
from shared.accounts.google_models import usable_email, usable_profile

PAGE = "https://page.oprina.test"


def test_the_challenge_is_that_of_the_standards_example() -> None:
    # RFC 7636, appendix B
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert google_rules.challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    ("email", "verified", "domain", "expected"),
    [
        ("ada@gmail.com", True, None, True),
        ("ada@GoogleMail.com", True, None, True),
        ("ada@oprina.test", True, "oprina.test", True),
        ("ada@oprina.test", True, None, False),
        ("ada@gmail.com", False, None, False),
        ("ada@oprina.test", False, "oprina.test", False),
        ("ada@gmail.com.evil.test", True, None, False),
        ("gmail.com@evil.test", True, None, False),
        (None, True, "oprina.test", False),
    ],
)
def test_google_speaks_only_for_addresses_of_its_own_and_of_its_workspaces(
    email: str | None, verified: bool, domain: str | None, expected: bool
) -> None:
    assert google_rules.vouched(email, verified, domain) is expected


@given(st.none() | st.text(), st.none() | st.text(), st.none() | st.text())
def test_whatever_comes_back_the_browser_goes_to_our_page_and_finds_words_of_a_closed_kind(
    state: str | None, code: str | None, error: str | None
) -> None:
    address = google_rules.way_back(PAGE + "/", state, code, error)
    parts = urlsplit(address)
    assert address.startswith(PAGE + "/#google=sign-in&")
    assert (parts.scheme, parts.netloc, parts.path, parts.query) == ("https", "page.oprina.test", "/", "")
    said = {name: values[0] for name, values in parse_qs(parts.fragment).items()}
    assert ("code" in said) != ("error" in said)
    assert not any(character in address for character in "\r\n<>\"' ")


@pytest.mark.parametrize(
    ("state", "code", "error", "said"),
    [
        ("s", "4/0A", None, {"state": ["s"], "code": ["4/0A"]}),
        ("s", None, "access_denied", {"state": ["s"], "error": ["access_denied"]}),
        ("s", None, "<b>Call 555-0100</b>", {"state": ["s"], "error": ["callback_invalid"]}),
        ("s", "4/0A", "access_denied", {"error": ["callback_invalid"]}),
        ("s", None, None, {"error": ["callback_invalid"]}),
        ("s", "x" * 2049, None, {"error": ["callback_invalid"]}),
        ("s", "", None, {"error": ["callback_invalid"]}),
        ("s s", "4/0A", None, {"error": ["callback_invalid"]}),
    ],
)
def test_the_page_is_told_what_google_said_or_that_it_was_not_google(
    state: str | None, code: str | None, error: str | None, said: dict[str, list[str]]
) -> None:
    fragment = parse_qs(urlsplit(google_rules.way_back(PAGE, state, code, error)).fragment)
    assert fragment == {"google": ["sign-in"], **said}


def test_of_what_google_tells_only_that_is_kept_which_a_person_could_have_typed() -> None:
    told = {"full_name": " Ada ", "preferred_name": "a\nb", "avatar_url": "javascript:1", "language": "en-GB"}
    assert usable_profile(**told) == {"full_name": "Ada", "language": "en-GB"}
    assert usable_profile(full_name=None, avatar_url="x" * 3000) == {}
    assert usable_email("Ada@OPRINA.test") == "ada@oprina.test"
    assert usable_email("no address") is None
    assert usable_email(None) is None
