"""HeyGen's interface of version 3 (developers.heygen.com/openapi/external-api.json), and the files that it links to.

POST GET /v3/videos · GET DELETE /v3/videos/{id} · GET /v3/videos/statuses · POST /v3/videos/batches
GET /v3/videos/batches/{id} · POST /v3/assets · GET DELETE /v3/assets/{id} · GET /v3/users/me
/v3/webhooks/… is in `webhook_routes`.

Of our own, with the same key: GET PATCH /local/account, POST /local/webhooks/redeliver.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import ValidationError
from starlette.responses import Response

from local.heygen.assets import Assets
from local.heygen.database import Database
from local.heygen.links import opens
from local.heygen.models import AccountChange, NewBatch, NewVideo, Redelivery
from local.heygen.paging import Limit, listing, onward, place
from local.heygen.refusals import Refused, invalid, not_found, of_status
from local.heygen.settings import Settings
from local.heygen.videos import WAITING, Videos
from local.heygen.webhook_routes import webhook_router
from local.heygen.webhooks import Webhooks
from local.heygen.works import Works

MAX_IDS: Final = 100
_PIECE_BYTES: Final = 64 * 1024


def create_application(
    database: Database,
    videos: Videos,
    webhooks: Webhooks,
    assets: Assets,
    works: Works,
    api_key: str,
    now: Callable[[], float],
) -> FastAPI:
    app = FastAPI(openapi_url=None)
    api = _Api(database, videos, assets, works, api_key, now)
    with_key = [Depends(api.require_key)]
    app.include_router(api.videos(), dependencies=with_key)
    app.include_router(api.others(), dependencies=with_key)
    app.include_router(webhook_router(webhooks), dependencies=with_key)
    app.add_api_route("/files/{path:path}", api.file, methods=["GET"])
    app.add_api_route("/videos/{video_id}", api.page, methods=["GET"])
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(404, _elsewhere)
    app.add_exception_handler(405, _elsewhere)
    return app


class _Api:
    def __init__(
        self,
        database: Database,
        videos: Videos,
        assets: Assets,
        works: Works,
        api_key: str,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._db = database
        self._videos = videos
        self._assets = assets
        self._works = works
        self._api_key = api_key

    def videos(self) -> APIRouter:
        router = APIRouter(prefix="/v3/videos")
        router.add_api_route("", self.create, methods=["POST"])
        router.add_api_route("", self.list_videos, methods=["GET"])
        router.add_api_route("/statuses", self.statuses, methods=["GET"])
        router.add_api_route("/batches", self.create_batch, methods=["POST"])
        router.add_api_route("/batches/{batch_id}", self.batch, methods=["GET"])
        router.add_api_route("/{video_id}", self.video, methods=["GET"])
        router.add_api_route("/{video_id}", self.delete, methods=["DELETE"])
        return router

    def others(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/v3/assets", self.upload, methods=["POST"])
        router.add_api_route("/v3/assets/{asset_id}", self.asset, methods=["GET"])
        router.add_api_route("/v3/assets/{asset_id}", self.delete_asset, methods=["DELETE"])
        router.add_api_route("/v3/users/me", self.me, methods=["GET"])
        router.add_api_route("/local/account", self.read_account, methods=["GET"])
        router.add_api_route("/local/account", self.change_account, methods=["PATCH"])
        router.add_api_route("/local/webhooks/redeliver", self.redeliver, methods=["POST"])
        return router

    async def create(self, asked: NewVideo) -> Response:
        video_id = self._videos.submit(await self._with_sound(asked))
        return _data({"video_id": video_id, "status": WAITING, "output_format": asked.output_format})

    async def list_videos(
        self, limit: Limit = 10, token: str | None = None, folder_id: str | None = None, title: str | None = None
    ) -> Response:
        found, following = self._videos.listed(limit, place(token), folder_id, title)
        return listing(found, following)

    async def statuses(
        self,
        video_ids: Annotated[list[str] | None, Query()] = None,
        batch_ids: Annotated[list[str] | None, Query()] = None,
    ) -> Response:
        wanted, batches = _ids(video_ids), _ids(batch_ids)
        if not 1 <= len(wanted) + len(batches) <= MAX_IDS:
            raise invalid(f"Ask for 1 to {MAX_IDS} ids.", "video_ids")
        found, missing = self._videos.statuses(wanted, batches)
        return JSONResponse({"data": found, "not_found": missing})

    async def video(self, video_id: str) -> Response:
        return _data(self._videos.described(video_id))

    async def delete(self, video_id: str) -> Response:
        self._videos.delete(video_id)
        return _data({"id": video_id, "deleted": True})

    async def create_batch(self, asked: NewBatch) -> Response:
        items = [await self._item(wish) for wish in asked.videos]
        return _data({"batch_id": self._videos.submit_batch(items, asked.title, asked.callback_url)})

    async def batch(self, batch_id: str, limit: Limit = 100, token: str | None = None) -> Response:
        content, following = self._videos.batch(batch_id, limit, place(token) or 0)
        return _data(content | onward(following))

    async def upload(self, file: UploadFile) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            while piece := await file.read(_PIECE_BYTES):
                yield piece

        return _data(await self._assets.keep(file.filename or "", pieces()))

    async def asset(self, asset_id: str) -> Response:
        return _data(self._assets.described(asset_id))

    async def delete_asset(self, asset_id: str) -> Response:
        self._assets.delete(asset_id)
        return _data({"id": asset_id, "deleted": True})

    async def me(self) -> Response:
        wallet = {
            "currency": "usd",
            "remaining_balance": self._db.get("balance_micros") / 1_000_000,
            "auto_reload": {"enabled": False},
        }
        person = {"username": "oprina-local", "email": "studio@oprina.test", "billing_type": "wallet", "wallet": wallet}
        return _data(person | {"subscription": None, "usage_based": None})

    async def read_account(self) -> Response:
        return JSONResponse({name: self._db.get(name) for name in ("balance_micros", *Settings.model_fields)})

    async def change_account(self, change: AccountChange) -> Response:
        self._db.change(change.model_dump(exclude_none=True))
        return await self.read_account()

    async def redeliver(self, wish: Redelivery) -> Response:
        """Send the webhooks of an event again, with the timestamp of `age_seconds` ago."""
        return JSONResponse({"answers": await self._works.send_again(wish.event_id, wish.age_seconds)})

    async def file(self, request: Request, path: str) -> Response:
        """A file, for who has a link that is still good. Ranges are served."""
        query = request.query_params
        given = (query.get("Expires", ""), query.get("Signature", ""))
        if not opens(self._db.get("link_key"), f"/files/{path}", *given, self._now()):
            # As the object storage behind the provider answers.
            denied = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            return Response(denied, 403, media_type="application/xml")
        folder, _, name = path.partition("/")
        file = (self._videos.folder(folder) / name).resolve()
        if not file.is_relative_to(self._videos.folder(folder).resolve()) or not file.is_file():
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404, media_type="application/xml")
        return FileResponse(file)

    async def page(self, video_id: str) -> Response:
        video = self._videos.described(video_id)
        if video["video_url"] is None:
            raise not_found("video")
        # The address is our own, and made of nothing that anybody typed.
        source = video["video_url"].replace("&", "&amp;")
        return HTMLResponse(f'<!doctype html><title>Video</title><video controls src="{source}"></video>')

    def require_key(self, x_api_key: Annotated[str, Header()] = "") -> None:
        if not secrets.compare_digest(x_api_key.encode(), self._api_key.encode()):
            raise of_status(401, "The API key is missing or wrong.")

    async def _item(self, wish: dict[str, Any]) -> NewVideo | Refused:
        try:
            asked = await self._with_sound(NewVideo.model_validate(wish))
            self._videos.check(asked)
        except ValidationError as error:
            return _of_fields(error.errors(include_url=False, include_context=False, include_input=False))
        except Refused as refused:
            return refused
        return asked

    async def _with_sound(self, asked: NewVideo) -> NewVideo:
        """The wish with its sound fetched, where it names an address."""
        if asked.audio_url is None:
            return asked
        self._videos.check(asked)
        asset_id = await self._assets.fetch(asked.audio_url)
        return asked.model_copy(update={"audio_url": None, "audio_asset_id": asset_id})


def _ids(given: list[str] | None) -> list[str]:
    """Ids in one parameter, with commas, or in several."""
    return [item.strip() for value in given or [] for item in value.split(",") if item.strip()]


def _data(content: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"data": content})


def _of_fields(problems: Any) -> Refused:
    first = problems[0]
    place_of = ".".join(str(part) for part in first["loc"] if part not in {"body", "query", "path"})
    return invalid(str(first["msg"]).removeprefix("Value error, "), place_of or None)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _of_fields(error.errors()).response()


async def _elsewhere(_: Request, error: Exception) -> Response:
    return of_status(getattr(error, "status_code", 404)).response()
