"""How to call each operation so that the right caller is served, and whose resource its path names.

Operations that take neither a parameter in their path nor a body that must be there need no entry. Any other has to
stand here: tests/security/test_route_matrix.py says which one does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.support.avatars import AvatarTime
from tests.support.database import DatabasePerson
from tests.support.database_talk import Talk
from tests.support.recordings import recording

# Makes something that belongs to the person, and gives the values of the path's parameters in their order.
Place = Callable[[DatabasePerson], tuple[str, ...]]

ADVICE = (
    "Add it to CASES in tests/security/route_cases.py: what its path names (and whether that is somebody's), the body "
    "with which it serves whoever may call it, and the status of that answer if it is no success."
)


@dataclass(frozen=True)
class Case:
    """`place` fills the path with something of the owner's, `fixed` with something that is nobody's.

    `body` makes what is sent as JSON, or (`recorded`) as bytes with a media type. `status` is what the right caller is
    answered where the body is one that the operation refuses. `tells_people_apart`: open to everyone, but who brings a
    token must bring one of ours. `still_served`: of those who are otherwise no longer let in.
    """

    place: Place | None = None
    fixed: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Any] | None = None
    recorded: Callable[[], tuple[bytes, str]] | None = None
    status: int | None = None
    tells_people_apart: bool = False
    still_served: frozenset[str] = frozenset()


def conversation(person: DatabasePerson) -> tuple[str, ...]:
    """A session in which something was said."""
    return said(person)[:1]


def said(person: DatabasePerson) -> tuple[str, ...]:
    """A session and a completed turn of it."""
    talk = Talk(person, person.session("Mine"))
    talk.open()
    talk.close()
    return talk.session, talk.turn_id


def _avatar_session(person: DatabasePerson) -> tuple[str, ...]:
    return (str(AvatarTime(person).reserve(60)["id"]),)


def _somebody() -> dict[str, str]:
    return {"email": f"somebody-{uuid4().hex[:12]}@oprina.test"}


def _made_up(name: str) -> Callable[[], dict[str, str]]:
    return lambda: {name: uuid4().hex}


# By method and path, without the names of the parameters.
CASES: dict[str, Case] = {
    "POST /v1/auth/register": Case(body=lambda: _somebody() | {"password": "speak-with-oprina"}),
    "POST /v1/auth/login": Case(body=lambda: _somebody() | {"password": "wrong"}, status=401),
    "POST /v1/auth/refresh": Case(body=_made_up("refresh_token"), status=401),
    "POST /v1/auth/email/resend": Case(body=_somebody),
    "POST /v1/auth/email/verify": Case(body=_made_up("token"), status=400),
    "POST /v1/auth/password/forgot": Case(body=_somebody),
    "POST /v1/auth/password/reset": Case(
        body=lambda: _made_up("token")() | {"new_password": "speak-with-oprina"}, status=400
    ),
    "POST /v1/auth/password/change": Case(
        body=lambda: {"current_password": "wrong-password", "new_password": "speak-with-oprina"}, status=403
    ),
    "GET /v1/auth/google/start": Case(query={"browser_secret_hash": "0" * 64}),
    "POST /v1/auth/google/complete": Case(
        body=lambda: {"state": uuid4().hex, "code": uuid4().hex, "browser_secret": uuid4().hex * 2}, status=400
    ),
    "DELETE /v1/auth/sign-ins/{}": Case(lambda person: (person.sign_in_id,)),
    "POST /v1/admin/users/{}/suspend": Case(lambda person: (person.id,), body=lambda: {"reason": "a test"}),
    "POST /v1/admin/users/{}/restore": Case(lambda person: (person.id,)),
    # Whoever repeats a deletion whose answer was lost is told that it is done.
    "DELETE /v1/users/me": Case(still_served=frozenset({"deleted", "erased"})),
    "POST /v1/admin/users/{}/quota": Case(
        lambda person: (person.id,), body=lambda: {"grant": {"seconds": 60, "reason": "a test"}}
    ),
    "GET /v1/avatars/sessions/{}": Case(_avatar_session),
    "PATCH /v1/users/me": Case(body=lambda: {"full_name": "Mallory"}),
    "POST /v1/contact": Case(
        body=lambda: _somebody() | {"subject": "A question", "message": "How?"}, tells_people_apart=True
    ),
    "GET /v1/sessions/{}": Case(conversation),
    "PATCH /v1/sessions/{}": Case(conversation, body=lambda: {"title": "Mallory's"}),
    "DELETE /v1/sessions/{}": Case(conversation),
    "POST /v1/sessions/{}/end": Case(conversation),
    "POST /v1/sessions/{}/title": Case(conversation),
    "GET /v1/sessions/{}/messages": Case(conversation),
    "POST /v1/sessions/{}/turns": Case(conversation, query={"speak": "false"}, body=lambda: {"text": "Hello"}),
    "GET /v1/sessions/{}/turns/{}": Case(said),
    "POST /v1/sessions/{}/turns/{}/interrupt": Case(said, body=lambda: {"played_seq": 0, "played_ms": 0}),
    "POST /v1/voice/speech": Case(body=lambda: {"text": "Hello"}),
    "POST /v1/voice/transcriptions": Case(recorded=lambda: recording("wav", 1.0)),
}
