"""LiveAvatar's REST interface (https://docs.liveavatar.com/openapi.json), in its envelope.

POST /v1/sessions/token /start /stop /keep-alive · GET /v1/sessions · GET /v1/sessions/{id} · GET …/{id}/transcript
DELETE …/{id}/events · GET /v1/avatars · GET /v1/avatars/public · GET /v1/avatars/{id} · GET /v1/voices
GET /v1/voices/{id} · GET /v1/users/credits

Of our own, with the same key: GET PATCH /local/account.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response
from starlette.websockets import WebSocket

from local.liveavatar import catalogue
from local.liveavatar.account import Account
from local.liveavatar.metering import Session
from local.liveavatar.models import AccountChange, KeepAlive, NewFullToken, NewToken, Stop
from local.liveavatar.refusals import SUCCESS, Refused, code_of, not_authorized, session_not_found
from local.liveavatar.settings import Settings
from local.liveavatar.stage import Stage

_SUCCEEDED: Final = "Success"


def create_application(account: Account, api_key: str, stage: Stage) -> FastAPI:
    app = FastAPI(openapi_url=None)
    api = _Api(account, api_key, stage)
    app.include_router(api.sessions())
    app.include_router(api.catalogue())
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(404, _elsewhere)
    app.add_exception_handler(405, _elsewhere)
    return app


class _Api:
    def __init__(self, account: Account, api_key: str, stage: Stage) -> None:
        self._account = account
        self._api_key = api_key
        self._stage = stage

    def sessions(self) -> APIRouter:
        router = APIRouter(prefix="/v1/sessions")
        with_key = [Depends(self._require_key)]
        router.add_api_route("/token", self.token, methods=["POST"], dependencies=with_key)
        router.add_api_route("/start", self.start, methods=["POST"])
        router.add_api_route("/stop", self.stop, methods=["POST"])
        router.add_api_route("/keep-alive", self.keep_alive, methods=["POST"])
        router.add_api_route("", self.list_sessions, methods=["GET"], dependencies=with_key)
        router.add_api_route("/{session_id}", self.session, methods=["GET"], dependencies=with_key)
        router.add_api_route("/{session_id}/transcript", self.transcript, methods=["GET"], dependencies=with_key)
        router.add_api_route("/{session_id}/events", self.forget_events, methods=["DELETE"], dependencies=with_key)
        router.add_api_websocket_route("/{session_id}/socket", self.socket)
        return router

    def catalogue(self) -> APIRouter:
        router = APIRouter()
        with_key = [Depends(self._require_key)]
        router.add_api_route("/v1/avatars", self.own_avatars, methods=["GET"], dependencies=with_key)
        router.add_api_route("/v1/avatars/public", self.public_avatars, methods=["GET"])
        router.add_api_route("/v1/avatars/{avatar_id}", self.avatar, methods=["GET"], dependencies=with_key)
        router.add_api_route("/v1/voices", self.voices, methods=["GET"], dependencies=with_key)
        router.add_api_route("/v1/voices/{voice_id}", self.voice, methods=["GET"], dependencies=with_key)
        router.add_api_route("/v1/users/credits", self.credits, methods=["GET"], dependencies=with_key)
        router.add_api_route("/previews/{avatar_id}.svg", self.preview, methods=["GET"])
        router.add_api_route("/local/account", self.read_account, methods=["GET"], dependencies=with_key)
        router.add_api_route("/local/account", self.change_account, methods=["PATCH"], dependencies=with_key)
        return router

    async def token(self, asked: Annotated[NewToken, Body()]) -> Response:
        avatar_id = str(asked.avatar_id)
        avatar = catalogue.avatar(avatar_id)
        if avatar is None or avatar.status != "ACTIVE":
            raise Refused(400, f"Avatar with id '{avatar_id}' not found")
        if asked.is_sandbox and avatar_id != catalogue.WAYNE:
            raise Refused(400, "This avatar is not available in sandbox mode")
        context_id = None
        if isinstance(asked, NewFullToken):
            if asked.avatar_persona is not None and asked.voice_agent is not None:
                raise Refused(400, "avatar_persona and voice_agent are mutually exclusive")
            context_id = asked.avatar_persona.context_id if asked.avatar_persona else None
        wish = {
            "avatar_id": avatar_id,
            "context_id": str(context_id) if context_id else None,
            "is_sandbox": asked.is_sandbox,
            "max_session_duration": asked.max_session_duration,
        }
        session, token = self._account.mint("FULL" if asked.mode == "FULL" else "LITE", wish)
        return _success({"session_id": session.id, "session_token": token})

    async def start(self, request: Request, authorization: Annotated[str, Header()] = "") -> Response:
        session, key = self._account.start(self._account.of_token(_bearer(authorization)))
        lite = session.mode == "LITE"
        base = str(request.base_url).rstrip("/").replace("http", "ws", 1)
        address = f"{base}/v1/sessions/{session.id}/socket?{urlencode({'token': key})}"
        content = {
            "session_id": session.id,
            # No LiveKit here: the provider's SDK joins no room where none is named.
            "livekit_url": None,
            "livekit_client_token": None,
            "livekit_agent_token": None,
            "max_session_duration": session.max_session_duration,
            "ws_url": address if lite else None,
        }
        return _success(content, 201, "Session started successfully")

    async def stop(
        self,
        wish: Annotated[Stop | None, Body()] = None,
        x_api_key: Annotated[str, Header()] = "",
        authorization: Annotated[str, Header()] = "",
    ) -> Response:
        session_id = self._addressed(wish, x_api_key, authorization)
        self._account.stop(session_id, wish.reason if wish else "USER_CLOSED")
        return _success(None, message="Session stopped successfully")

    async def keep_alive(
        self,
        wish: Annotated[KeepAlive | None, Body()] = None,
        x_api_key: Annotated[str, Header()] = "",
        authorization: Annotated[str, Header()] = "",
    ) -> Response:
        self._account.keep_alive(self._addressed(wish, x_api_key, authorization))
        return _success(None, message="Session kept alive")

    async def list_sessions(
        self,
        request: Request,
        type: Annotated[Literal["active", "historic"], Query()],  # noqa: A002 - the provider's name
        page: Annotated[int, Query(ge=1)] = 1,
        page_size: Annotated[int, Query(ge=1, le=100)] = 20,
        avatar_id: UUID | None = None,
        context_id: UUID | None = None,
    ) -> Response:
        given = {"avatar_id": avatar_id, "context_id": context_id}
        wanted = {name: str(value) for name, value in given.items() if value is not None}
        active = type == "active"
        count, found = self._account.listed(active=active, wanted=wanted, page=page, size=page_size)

        def at(number: int) -> str | None:
            exists = 1 <= number <= -(-count // page_size)
            return str(request.url.include_query_params(page=number)) if exists else None

        results = [described(session, self._account.now()) for session in found]
        return _success({"count": count, "next": at(page + 1), "previous": at(page - 1), "results": results})

    async def session(self, session_id: UUID) -> Response:
        return _success(described(self._known(session_id), self._account.now()))

    async def transcript(self, session_id: UUID) -> Response:
        """Nothing was transcribed: in a LITE session the words are the client's own."""
        session = self._known(session_id)
        return _success({"session_active": session.active, "next_timestamp": None, "transcript_data": []})

    async def forget_events(self, session_id: UUID) -> Response:
        self._known(session_id)
        return _success(None)

    async def socket(self, websocket: WebSocket) -> None:
        await self._stage.connect(websocket)

    async def own_avatars(self, request: Request, page: int = 1, page_size: int = 20) -> Response:
        return _page([known.public(_base(request)) for known in catalogue.AVATARS if known.own], page, page_size)

    async def public_avatars(self, request: Request, page: int = 1, page_size: int = 20) -> Response:
        return _page([known.public(_base(request)) for known in catalogue.AVATARS if not known.own], page, page_size)

    async def avatar(self, request: Request, avatar_id: UUID) -> Response:
        found = catalogue.avatar(str(avatar_id))
        if found is None:
            raise Refused(404, "Avatar not found")
        return _success(found.public(_base(request)))

    async def preview(self, avatar_id: str) -> Response:
        found = catalogue.avatar(avatar_id)
        if found is None:
            raise Refused(404, "Avatar not found")
        return Response(found.preview(), media_type="image/svg+xml", headers={"cache-control": "public, max-age=86400"})

    async def voices(
        self, voice_type: Literal["public", "private"] | None = None, page: int = 1, page_size: int = 20
    ) -> Response:
        own = {None: (True, False), "public": (False,), "private": (True,)}[voice_type]
        return _page([known.public() for known in catalogue.VOICES if known.own in own], page, page_size)

    async def voice(self, voice_id: UUID) -> Response:
        found = catalogue.voice(str(voice_id))
        if found is None:
            raise Refused(404, "Voice not found")
        return _success(found.public())

    async def credits(self) -> Response:
        self._account.settle()
        return _success({"credits_left": str(self._account.get("credits_left"))})

    async def read_account(self) -> Response:
        return JSONResponse({name: self._account.get(name) for name in ("credits_left", *Settings.model_fields)})

    async def change_account(self, change: AccountChange) -> Response:
        self._account.change(change.model_dump(exclude_none=True))
        return await self.read_account()

    def _known(self, session_id: UUID) -> Session:
        found = self._account.session(str(session_id))
        if found is None:
            raise session_not_found()
        return found

    def _addressed(self, wish: KeepAlive | None, key: str, authorization: str) -> str:
        """The session that a call is about: the token's own, or with the key the one that it names."""
        if authorization:
            return self._account.of_token(_bearer(authorization)).id
        self._require_key(key)
        if wish is None or wish.session_id is None:
            raise Refused(400, "session_id is required")
        return str(wish.session_id)

    def _require_key(self, x_api_key: Annotated[str, Header()] = "") -> None:
        if not secrets.compare_digest(x_api_key.encode(), self._api_key.encode()):
            raise not_authorized()


def described(session: Session, now: float) -> dict[str, Any]:
    """An entry of the list, and the detail of a session. `duration` in whole seconds."""
    entry = {
        "id": session.id,
        "created_at": _written(session.created_at),
        "updated_at": _written(session.updated_at),
        "duration": session.duration(now),
        "source": "API",
        "mode": session.mode,
        "is_sandbox": session.is_sandbox,
        "credits_consumed": session.credits_consumed,
        "avatar_id": session.avatar_id,
        "context_id": session.context_id,
        "max_session_duration": session.max_session_duration,
    }
    if session.ended_at is not None:
        entry |= {"end_at": _written(session.ended_at), "end_reason": session.end_reason}
    return entry


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise not_authorized()
    return token


def _success(data: Any, status: int = 200, message: str = _SUCCEEDED) -> JSONResponse:
    return JSONResponse({"code": SUCCESS, "data": data, "message": message}, status)


def _page(everything: list[dict[str, Any]], page: int, size: int) -> JSONResponse:
    first = (max(page, 1) - 1) * size
    content = {"count": len(everything), "next": None, "previous": None, "results": everything[first : first + size]}
    return _success(content)


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response()


async def _elsewhere(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    content = {"code": code_of(status), "data": None, "message": getattr(error, "detail", "Not Found")}
    return JSONResponse(content, status, getattr(error, "headers", None))
