"""The stand-in for Google's accounts, driven by Google's own client library, by forms, and by a reader of pages."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google.auth.exceptions
import httpx
import jwt
import pytest
import requests
from google.auth.transport.requests import Request as Transport
from google.oauth2 import id_token
from google.oauth2.credentials import Credentials
from requests.adapters import HTTPAdapter

from local.faults import FaultBook
from local.google.grants import ACCESS_TOKEN_SECONDS, CODE_SECONDS, LIVE_REFRESH_TOKENS
from local.google.keys import hash_claim
from local.google.people import SEEDED
from local.google.service import google as google_accounts
from local.launcher.environment import GOOGLE_CLIENT_ID
from local.places import REPOSITORY, Places
from tests.support.google import (
    BASIC,
    CLIENT_ID,
    CLIENT_SECRET,
    REDIRECT_URI,
    Google,
    Request,
    open_google,
    returned,
)

ADA, GRACE, ALAN = SEEDED
GMAIL_READ = "https://www.googleapis.com/auth/gmail.readonly"
GMAIL_SEND = "https://www.googleapis.com/auth/gmail.send"
EVENTS = "https://www.googleapis.com/auth/calendar.events"
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
PROFILE = "https://www.googleapis.com/auth/userinfo.profile"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Google]:
    async with open_google(tmp_path_factory.mktemp("google")) as google_accounts:
        yield google_accounts


@pytest.fixture
def accounts(running: Google) -> Google:
    """The running stand-in as after its first start: the seeded people, who have granted nothing."""
    running.forget_everything()
    return running


class ToStandIn(HTTPAdapter):
    """Leads what Google's library sends to Google's own hosts to the stand-in."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        request.url = self._base + urlsplit(str(request.url)).path
        return super().send(request, *arguments, **options)


def transport(base: str) -> Transport:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", ToStandIn(base))
    return Transport(session)


def credentials(accounts: Google, tokens: dict[str, Any]) -> Credentials:
    return Credentials(  # type: ignore[no-untyped-call]
        tokens["access_token"],
        refresh_token=tokens.get("refresh_token"),
        token_uri=f"{accounts.base}/token",
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
    )


async def refreshed(accounts: Google, held: Credentials) -> None:
    await asyncio.to_thread(held.refresh, transport(accounts.base))


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


# What Google's own library makes of it


@pytest.mark.parametrize("certificates", ["/oauth2/v1/certs", "/oauth2/v3/certs"])
async def test_googles_library_verifies_an_id_token_by_either_form_of_the_keys(
    accounts: Google, certificates: str
) -> None:
    tokens = await accounts.tokens(nonce="the-nonce")
    claims = await asyncio.to_thread(
        id_token.verify_token, tokens["id_token"], transport(accounts.base), CLIENT_ID, accounts.base + certificates
    )
    assert claims["nonce"] == "the-nonce"
    assert claims["at_hash"] == hash_claim(tokens["access_token"])
    assert (claims["sub"], claims["email"], claims["email_verified"]) == (ADA.subject, ADA.email, True)
    assert (claims["name"], claims["given_name"], claims["family_name"]) == ("Ada Lovelace", "Ada", "Lovelace")
    assert claims["exp"] - claims["iat"] == 3600
    assert jwt.get_unverified_header(tokens["id_token"])["alg"] == "RS256"


async def test_googles_library_takes_it_for_google(accounts: Google) -> None:
    tokens = await accounts.tokens()
    claims = await asyncio.to_thread(
        id_token.verify_oauth2_token, tokens["id_token"], transport(accounts.base), CLIENT_ID
    )
    assert claims["iss"] == "https://accounts.google.com"
    with pytest.raises((ValueError, google.auth.exceptions.GoogleAuthError)):
        await asyncio.to_thread(
            id_token.verify_oauth2_token, tokens["id_token"], transport(accounts.base), "another-client"
        )


async def test_googles_library_refreshes_an_access_token(accounts: Google) -> None:
    tokens = await accounts.tokens(scope=f"{BASIC} {GMAIL_READ}", access_type="offline")
    held = credentials(accounts, tokens)
    await refreshed(accounts, held)
    assert held.token not in {None, tokens["access_token"]}
    assert held.refresh_token == tokens["refresh_token"]
    info = await accounts.client.get("/tokeninfo", params={"access_token": str(held.token)})
    assert set(info.json()["scope"].split()) == {"openid", EMAIL, PROFILE, GMAIL_READ}
    assert held.id_token is not None


async def test_googles_library_is_told_that_a_revoked_grant_is_dead_for_good(accounts: Google) -> None:
    tokens = await accounts.tokens(access_type="offline")
    assert (await accounts.client.post("/revoke", data={"token": tokens["access_token"]})).json() == {}
    with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_grant") as raised:
        await refreshed(accounts, credentials(accounts, tokens))
    assert not raised.value.retryable


async def test_googles_library_is_told_of_an_unknown_client_and_of_scopes_never_granted(accounts: Google) -> None:
    tokens = await accounts.tokens(access_type="offline")
    stranger = credentials(accounts, tokens)
    stranger._client_id = "unknown.apps.googleusercontent.com"
    with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_client"):
        await refreshed(accounts, stranger)
    greedy = credentials(accounts, tokens)
    greedy._scopes = [GMAIL_SEND]
    with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_scope"):
        await refreshed(accounts, greedy)


async def test_googles_library_meets_the_faults_that_were_asked_for(accounts: Google) -> None:
    tokens = await accounts.tokens(access_type="offline")
    accounts.faults.write({"google": {"token": {"status": 503}}})
    with pytest.raises(google.auth.exceptions.RefreshError) as raised:
        await refreshed(accounts, credentials(accounts, tokens))
    assert raised.value.retryable
    accounts.faults.write({"google": {"certs": {"status": 500}}})
    with pytest.raises(google.auth.exceptions.TransportError):
        await asyncio.to_thread(id_token.verify_oauth2_token, tokens["id_token"], transport(accounts.base), CLIENT_ID)


# Codes


async def test_a_code_is_exchanged_once(accounts: Google) -> None:
    code, request = await accounts.code()
    assert (await accounts.exchange(code, request)).status_code == 200
    assert refusal(await accounts.exchange(code, request)) == (400, "invalid_grant")


async def test_of_simultaneous_exchanges_of_a_code_one_wins(accounts: Google) -> None:
    code, request = await accounts.code()
    answers = await asyncio.gather(*(accounts.exchange(code, request) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


async def test_a_code_expires(accounts: Google) -> None:
    code, request = await accounts.code()
    accounts.clock.ahead = CODE_SECONDS + 1
    assert refusal(await accounts.exchange(code, request)) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"code_verifier": "x" * 43}, (400, "invalid_grant")),
        ({"code_verifier": ""}, (400, "invalid_grant")),
        ({"redirect_uri": REDIRECT_URI + "/"}, (400, "redirect_uri_mismatch")),
        ({"code": "4/0Aunknown"}, (400, "invalid_grant")),
        ({"code": "nonsense"}, (400, "invalid_grant")),
        ({"code": ""}, (400, "invalid_request")),
        ({"client_secret": "GOCSPX-guessed"}, (401, "invalid_client")),
        ({"client_secret": ""}, (400, "invalid_request")),
        ({"client_id": "unknown"}, (401, "invalid_client")),
        ({"client_id": ""}, (400, "invalid_request")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"grant_type": ""}, (400, "invalid_request")),
    ],
)
async def test_a_wrong_exchange_is_refused_as_google_refuses_it_and_leaves_the_code(
    accounts: Google, changes: dict[str, str], expected: tuple[int, str]
) -> None:
    code, request = await accounts.code()
    answer = await accounts.exchange(code, request, **changes)
    assert refusal(answer) == expected
    assert answer.json()["error_description"]
    assert (await accounts.exchange(code, request)).status_code == 200


async def test_a_client_may_name_itself_by_basic_authorization(accounts: Google) -> None:
    code, request = await accounts.code()
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI,
        "code_verifier": request.verifier,
    }  # fmt: skip
    wrong = await accounts.client.post("/token", data=form, auth=(CLIENT_ID, "guessed"))
    right = await accounts.client.post("/token", data=form, auth=(CLIENT_ID, CLIENT_SECRET))
    assert (wrong.status_code, right.status_code) == (401, 200)


# Scopes, grants and refresh tokens


async def test_the_answer_names_the_scopes_that_were_granted_and_no_others(accounts: Google) -> None:
    request = Request({"scope": f"openid email {GMAIL_READ} {GMAIL_SEND}"})
    back = await accounts.consent(request.url(), ADA.email, scopes=["openid", GMAIL_SEND])
    assert back["scope"] == f"openid {GMAIL_SEND}"
    tokens = (await accounts.exchange(back["code"], request)).json()
    assert tokens["scope"] == f"openid {GMAIL_SEND}"
    assert tokens["expires_in"] == ACCESS_TOKEN_SECONDS
    assert "email" not in jwt.decode(tokens["id_token"], options={"verify_signature": False})


async def test_without_openid_there_is_no_id_token(accounts: Google) -> None:
    assert "id_token" not in await accounts.tokens(scope=EVENTS)


async def test_a_refresh_token_comes_only_offline_and_only_with_consent(accounts: Google) -> None:
    assert "refresh_token" not in await accounts.tokens()
    assert "refresh_token" not in await accounts.tokens(access_type="offline"), "everything was granted before"
    assert "refresh_token" in await accounts.tokens(access_type="offline", prompt="consent")
    assert "refresh_token" in await accounts.tokens(access_type="offline", scope=f"{BASIC} {EVENTS}")


async def test_granted_scopes_are_included_where_that_is_asked_for(accounts: Google) -> None:
    await accounts.tokens(scope=GMAIL_READ)
    alone = await accounts.tokens(scope=EVENTS)
    together = await accounts.tokens(scope=EVENTS, include_granted_scopes="true")
    assert alone["scope"] == EVENTS
    assert set(together["scope"].split()) == {EVENTS, GMAIL_READ}


async def test_the_oldest_of_too_many_refresh_tokens_stops_working(accounts: Google) -> None:
    first = (await accounts.tokens(access_type="offline"))["refresh_token"]
    for _ in range(LIVE_REFRESH_TOKENS - 1):
        accounts.accounts.grants.issue_refresh_token(CLIENT_ID, ADA.subject, {"openid"})
    assert (await accounts.token(grant_type="refresh_token", refresh_token=first)).status_code == 200
    accounts.accounts.grants.issue_refresh_token(CLIENT_ID, ADA.subject, {"openid"})
    answer = await accounts.token(grant_type="refresh_token", refresh_token=first)
    assert refusal(answer) == (400, "invalid_grant")


async def test_revoking_ends_the_whole_grant_and_nobody_elses(accounts: Google) -> None:
    one, two = await accounts.tokens(access_type="offline"), await accounts.tokens(prompt="consent")
    other = await accounts.tokens(GRACE.email)
    assert (await accounts.client.post("/revoke", data={"token": one["refresh_token"]})).status_code == 200
    for tokens in (one, two):
        answer = await accounts.client.get("/tokeninfo", params={"access_token": tokens["access_token"]})
        assert refusal(answer) == (400, "invalid_token")
    again = await accounts.client.post("/revoke", data={"token": one["refresh_token"]})
    assert refusal(again) == (400, "invalid_token")
    assert accounts.accounts.grants.granted(CLIENT_ID, ADA.subject) == frozenset()
    answer = await accounts.client.get("/tokeninfo", params={"access_token": other["access_token"]})
    assert answer.status_code == 200


# What tokens say


async def test_tokeninfo_describes_both_kinds_of_tokens(accounts: Google) -> None:
    tokens = await accounts.tokens(GRACE.email, access_type="offline")
    access = (await accounts.client.get("/tokeninfo", params={"access_token": tokens["access_token"]})).json()
    assert (access["aud"], access["sub"], access["email"]) == (CLIENT_ID, GRACE.subject, GRACE.email)
    assert (access["email_verified"], access["access_type"]) == ("true", "offline")
    assert 3590 <= int(access["expires_in"]) <= 3599
    identity = (await accounts.client.get("/tokeninfo", params={"id_token": tokens["id_token"]})).json()
    assert (identity["sub"], identity["hd"], identity["alg"]) == (GRACE.subject, "oprina.test", "RS256")
    forged = tokens["id_token"][:-6] + "AAAAAA"
    answer = await accounts.client.get("/tokeninfo", params={"id_token": forged})
    assert refusal(answer) == (400, "invalid_token")


async def test_userinfo_tells_what_the_scopes_allow(accounts: Google) -> None:
    async def told(scope: str) -> Any:
        token = (await accounts.tokens(scope=scope))["access_token"]
        return (await accounts.client.get("/v1/userinfo", headers={"Authorization": f"Bearer {token}"})).json()

    assert await told("openid") == {"sub": ADA.subject}
    assert (await told("openid email")).keys() == {"sub", "email", "email_verified"}
    assert (await told(BASIC))["name"] == "Ada Lovelace"


async def test_an_expired_or_invented_access_token_opens_nothing(accounts: Google) -> None:
    token = (await accounts.tokens())["access_token"]
    accounts.clock.ahead = ACCESS_TOKEN_SECONDS + 1
    for given in (token, "ya29.invented"):
        answer = await accounts.client.get("/v1/userinfo", headers={"Authorization": f"Bearer {given}"})
        assert answer.status_code == 401
        assert "www-authenticate" in answer.headers


async def test_discovery_leads_to_every_endpoint(accounts: Google) -> None:
    document = (await accounts.client.get("/.well-known/openid-configuration")).json()
    assert document["issuer"] == "https://accounts.google.com"
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint", "jwks_uri"):
        assert (await accounts.client.get(document[name])).status_code != 404, name


# The consent page


def problem(page: httpx.Response) -> str:
    found = re.search(r'role="alert">([^<]*)<', page.text)
    return found[1] if found else ""


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_id": "unknown"}, 401, "invalid_client"),
        ({"client_id": None}, 400, "invalid_request"),
        ({"redirect_uri": REDIRECT_URI + "?a=b"}, 400, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://evil.test/"}, 400, "redirect_uri_mismatch"),
        ({"redirect_uri": None}, 400, "invalid_request"),
        ({"response_type": "token"}, 400, "unsupported_response_type"),
        ({"response_type": None}, 400, "invalid_request"),
        ({"scope": None}, 400, "invalid_request"),
        ({"scope": "openid everything"}, 400, "invalid_scope"),
        ({"code_challenge_method": "plain"}, 400, "invalid_request"),
        ({"code_challenge_method": None}, 400, "invalid_request"),
        ({"code_challenge": "short"}, 400, "invalid_request"),
        ({"code_challenge": None}, 400, "invalid_request"),
        ({"prompt": "none consent"}, 400, "invalid_request"),
        ({"prompt": "please"}, 400, "invalid_request"),
        ({"access_type": "always"}, 400, "invalid_request"),
    ],
)
async def test_a_wrong_request_is_blocked_on_googles_own_page_and_sent_nowhere(
    accounts: Google, changes: dict[str, Any], status: int, error: str
) -> None:
    page = await accounts.client.get(Request(changes).url())
    assert page.status_code == status
    assert problem(page) == f"Error {status}: {error}"
    assert "location" not in page.headers


async def test_a_parameter_given_twice_is_blocked(accounts: Google) -> None:
    page = await accounts.client.get(Request().url() + "&state=another")
    assert problem(page) == "Error 400: invalid_request"


async def test_the_page_shows_the_people_and_each_scope_and_is_decided_by_its_form(accounts: Google) -> None:
    request = Request({"scope": f"{BASIC} {GMAIL_READ} {EVENTS}"})
    page = await accounts.client.get(request.url())
    assert all(person.email in page.text for person in SEEDED)
    assert re.findall(r'name="scope" value="([^"]+)" checked', page.text) == [GMAIL_READ, EVENTS]
    assert "script" not in page.text
    assert "form-action 'self' http://oprina.test" in page.headers["content-security-policy"]
    form = {"account": GRACE.subject, "scope": [EVENTS], "decision": "allow"}
    decided = await accounts.client.post(request.url(), data=form)
    assert decided.status_code == 302
    back = returned(decided.headers["location"])
    assert decided.headers["location"].startswith(REDIRECT_URI + "?")
    assert (back["state"], back["hd"]) == ("the-state", "oprina.test")
    tokens = (await accounts.exchange(back["code"], request)).json()
    assert set(tokens["scope"].split()) == {"openid", EMAIL, PROFILE, EVENTS}


async def test_a_form_cannot_allow_more_than_the_request_asks_for(accounts: Google) -> None:
    request = Request()
    form = {"account": ADA.subject, "scope": [GMAIL_SEND], "decision": "allow"}
    back = returned((await accounts.client.post(request.url(), data=form)).headers["location"])
    assert GMAIL_SEND not in back["scope"]


async def test_cancelling_or_allowing_nothing_comes_back_denied(accounts: Google) -> None:
    for request, form in (
        (Request(), {"account": ADA.subject, "decision": "deny"}),
        (Request({"scope": EVENTS}), {"account": ADA.subject, "decision": "allow"}),
    ):
        back = returned((await accounts.client.post(request.url(), data=form)).headers["location"])
        assert back == {"error": "access_denied", "state": "the-state"}


async def test_an_address_may_be_typed_and_a_wrong_one_is_told_on_the_page(accounts: Google) -> None:
    form = {"account": "another", "email": '"><b>no address', "decision": "allow"}
    page = await accounts.client.post(Request().url(), data=form)
    assert page.status_code == 200
    assert "enter an email address" in problem(page)
    assert "<b>" not in page.text
    decided = await accounts.client.post(Request().url(), data=form | {"email": "new.person@oprina.test"})
    assert "code" in returned(decided.headers["location"])
    people = (await accounts.client.get("/local/people")).json()
    assert [person["name"] for person in people if person["email"] == "new.person@oprina.test"] == ["New Person"]


async def test_a_login_hint_chooses_the_account(accounts: Google) -> None:
    page = await accounts.client.get(Request({"login_hint": GRACE.email}).url())
    assert re.search(rf'value="{GRACE.subject}" checked', page.text)
    page = await accounts.client.get(Request({"login_hint": "stranger@oprina.test"}).url())
    assert re.search(r'value="another" checked', page.text)
    assert 'value="stranger@oprina.test"' in page.text


async def test_who_has_consented_is_not_asked_again_unless_the_client_wants_it(accounts: Google) -> None:
    assert returned((await accounts.client.get(Request({"prompt": "none"}).url())).headers["location"]) == {
        "error": "interaction_required", "state": "the-state",
    }  # fmt: skip
    await accounts.client.post(Request().url(), data={"account": ADA.subject, "decision": "allow"})
    for prompt in (None, "none"):
        answer = await accounts.client.get(Request({"prompt": prompt}).url())
        assert "code" in returned(answer.headers["location"])
    for changes in ({"prompt": "select_account"}, {"prompt": "consent"}, {"scope": f"{BASIC} {EVENTS}"}):
        assert (await accounts.client.get(Request(changes).url())).status_code == 200


# Other people's accounts


async def test_an_account_keeps_its_subject_when_its_address_changes(accounts: Google) -> None:
    await accounts.change(ADA.subject, email="ada@new.test", email_verified=False)
    claims = jwt.decode((await accounts.tokens("ada@new.test"))["id_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["email"], claims["email_verified"]) == (ADA.subject, "ada@new.test", False)
    taken = await accounts.client.patch(f"/local/people/{ADA.subject}", json={"email": GRACE.email})
    assert refusal(taken) == (400, "invalid_request")


# As a part of the local cloud


async def test_the_local_cloud_serves_it_to_this_machine_with_our_own_client_registered(tmp_path: Path) -> None:
    places = Places(tmp_path, 8080)
    app = google_accounts(places, CLIENT_SECRET, FaultBook(places.faults_file))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=places.google_url) as client:
        for path in ("/v1/auth/google/callback", "/v1/connections/google/callback"):
            ours = {"client_id": GOOGLE_CLIENT_ID, "redirect_uri": places.gateway_url + path}
            assert (await client.get(Request(ours).url())).status_code == 200
        elsewhere = {"client_id": GOOGLE_CLIENT_ID, "redirect_uri": places.gateway_url}
        assert problem(await client.get(Request(elsewhere).url())) == "Error 400: redirect_uri_mismatch"
        for headers in ({"Host": "evil.test"}, {"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = await client.post("/local/consent", json={}, headers=headers)
            assert answer.status_code == 403


# Faults and restarts


async def test_a_lost_answer_has_used_the_code_up(accounts: Google) -> None:
    code, request = await accounts.code()
    accounts.faults.write({"google": {"token": {"lose_answer": True}}})
    with pytest.raises(httpx.TransportError):
        await accounts.exchange(code, request)
    accounts.faults.write({})
    assert refusal(await accounts.exchange(code, request)) == (400, "invalid_grant")


async def test_a_request_delivered_twice_is_done_twice(accounts: Google) -> None:
    code, request = await accounts.code()
    accounts.faults.write({"google": {"token": {"duplicate": True}}})
    assert refusal(await accounts.exchange(code, request)) == (400, "invalid_grant")


async def test_keys_grants_and_tokens_survive_a_restart(tmp_path: Path) -> None:
    async with open_google(tmp_path) as before:
        tokens = await before.tokens(access_type="offline")
        code, request = await before.code("kept@oprina.test")
        keys = (await before.client.get("/oauth2/v3/certs")).json()
    async with open_google(tmp_path) as after:
        assert (await after.client.get("/oauth2/v3/certs")).json() == keys
        renewed = await after.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        assert renewed.status_code == 200
        info = await after.client.get("/tokeninfo", params={"access_token": tokens["access_token"]})
        assert info.status_code == 200
        assert (await after.exchange(code, request)).status_code == 200


def test_a_killed_process_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from local.google.application import open_accounts
accounts = open_accounts(Path(sys.argv[1]), [])
print(accounts.grants.issue_refresh_token("client", "1", {"openid"}), flush=True)
time.sleep(60)
"""
    file = tmp_path / "google.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    with sqlite3.connect(file) as database:
        kept = database.execute("select token, scopes from refresh_tokens").fetchall()
    database.close()
    assert kept == [(token, json.dumps(["openid"]))]
    assert file.stat().st_mode & 0o077 == 0
