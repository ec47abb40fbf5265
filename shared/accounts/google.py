"""Signing in with Google: begun by a browser, decided by a person at Google, ended by the same browser."""

from __future__ import annotations

from shared.accounts import google_rules, google_store, rules
from shared.accounts.google_models import (
    GoogleAccount,
    GoogleCompletion,
    GoogleConsent,
    GoogleFlow,
    GoogleSignIn,
    GoogleStart,
    usable_email,
    usable_profile,
)
from shared.accounts.mails import PageSettings
from shared.accounts.models import USER_AGENT_MAX, Device, SignedInAnswer
from shared.accounts.sign_ins import answer
from shared.clients import google_oauth
from shared.clients.google_oauth import GoogleIdentity
from shared.runtime import clock, ids, logs
from shared.runtime.crypto import digest
from shared.runtime.errors import OprinaError, Unavailable
from shared.runtime.settings import load
from shared.runtime.visit import Visit


async def start(visit: Visit, given: GoogleStart) -> GoogleConsent:
    """Begin a flow that only the browser with the secret can end."""
    state, flow = ids.new_secret(), GoogleFlow(verifier=ids.new_secret(), nonce=ids.new_secret())
    expires_at = google_rules.flow_expiry(clock.now())
    await google_store.begin(
        visit,
        state_hash=digest(state),
        browser_hash=given.browser_secret_hash,
        flow=flow,
        expires_at=expires_at,
    )
    url = google_oauth.consent_url(
        scopes=google_rules.SCOPES,
        state=state,
        challenge=google_rules.challenge(flow.verifier),
        nonce=flow.nonce,
        # More than one person may use this browser.
        prompt="select_account",
    )
    return GoogleConsent(url=url, expires_at=expires_at)


async def callback(visit: Visit, state: str | None, code: str | None, error: str | None) -> str:
    """Where to send a browser that comes from Google. Nothing is exchanged, and nothing in the request chooses it.

    A code of no flow of ours is not passed on. When the database is away everything is: the end of the flow will tell.
    """
    page = load(PageSettings).page_url
    if state is None or not google_rules.is_state(state):
        return google_rules.way_back(page, None, None, None)
    try:
        known = await google_store.pass_callback(visit, digest(state))
    except Unavailable:
        known = True
    if not known:
        return google_rules.way_back(page, state, None, "state_invalid")
    return google_rules.way_back(page, state, code, error)


async def complete(visit: Visit, given: GoogleCompletion, user_agent: str | None) -> SignedInAnswer:
    """End a flow, and sign its person in: the one whom the Google account opens, or a new one.

    Raises:
        BadRequest: `state_invalid`: forged, used, expired or another browser's, which are not told apart;
            `google_code_invalid`: Google does not accept the code.
        Unauthenticated: `person_inactive`.
        Forbidden: `google_email_unverified`, `google_address_unowned`.
        Conflict: `google_account_differs`.
        Unavailable: `google_unavailable`; the same request may be sent again within the flow's time.
        UpstreamFailed: `google_refused`.
    """
    state_hash = digest(given.state)
    flow = await google_store.claim(visit, state_hash=state_hash, browser_hash=digest(given.browser_secret))
    try:
        await google_oauth.check_reachable()
        tokens = await google_oauth.exchange(given.code, flow.verifier)
    except Unavailable:
        await _release(state_hash)
        raise
    identity = await google_oauth.identity(tokens, flow.nonce)
    new, refresh_token = _new_sign_in(visit, user_agent)
    opened = await google_store.finish(
        visit, state_hash=state_hash, account=_account(identity), profile=_profile(identity), new=new
    )
    return answer(opened, refresh_token)


async def _release(state_hash: str) -> None:
    """Make the promise of `retryable` good. Where that fails too, the person begins again."""
    try:
        await google_store.release(state_hash)
    except OprinaError as error:
        logs.logger().warning("a flow could not be given back", extra={"code": error.code})


def _account(identity: GoogleIdentity) -> GoogleAccount:
    email = usable_email(identity.email)
    return GoogleAccount(
        subject=identity.subject,
        email=email,
        email_verified=identity.email_verified,
        vouched=google_rules.vouched(email, identity.email_verified, identity.hosted_domain),
    )


def _profile(identity: GoogleIdentity) -> dict[str, str]:
    return usable_profile(
        full_name=identity.name,
        preferred_name=identity.given_name,
        avatar_url=identity.picture,
        language=identity.locale,
    )


def _new_sign_in(visit: Visit, user_agent: str | None) -> tuple[GoogleSignIn, str]:
    token = ids.new_secret()
    new = GoogleSignIn(
        person_id=ids.new_id(),
        sign_in_id=ids.new_id(),
        refresh_id=ids.new_id(),
        refresh_hash=digest(token),
        refresh_expires_at=rules.refresh_token_expiry(clock.now()),
        device=Device(user_agent=user_agent[:USER_AGENT_MAX] if user_agent else None, address=visit.address),
    )
    return new, token
