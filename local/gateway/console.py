"""The console of the local cloud at `/local/`: processes, logs, addresses, mail, faults, queues, schedules, the time.

It exists on laptops only: nothing of it is ever deployed.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from local.faults import EVERY_METHOD, STAND_INS, FaultBook
from local.firestore.shelf import Shelf
from local.gateway.avatars import AvatarShelf
from local.gateway.background import BackgroundPages
from local.gateway.guard import LocalOnly
from local.gateway.site import WithHeaders
from local.google import window
from local.launcher.environment import AGENT_RESOURCE, GOOGLE_CLIENT_ID, RECOGNIZER
from local.launcher.logs import tail
from local.mail import Mailbox
from local.places import HOST, PROJECT, REGION, SPEECH_LOCATION, STORAGE_BUCKET, Places, url

_HERE = Path(__file__).parent
_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src data:; frame-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    # Not no-referrer: with it browsers send our own forms with the origin `null`.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# A mail's own document: drawn in a frame without scripts, forms or anything from the network; its links
# may be followed.
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
)
_LINKS_LEAVE_THE_FRAME = '<base target="_top">'


def endpoints(places: Places, environment: Mapping[str, str]) -> dict[str, Any]:
    """The address of every stand-in, with the project, region and keys that another client needs to talk to it."""

    def grpc(port: int, **more: str) -> dict[str, str]:
        return {"address": f"{HOST}:{port}", "url": url(port), "protocol": "grpc", **more}

    def rest(port: int, **more: str) -> dict[str, str]:
        return {"address": f"{HOST}:{port}", "url": url(port), "protocol": "rest", **more}

    return {
        "project": PROJECT,
        "region": REGION,
        "speech": grpc(places.speech_port, location=SPEECH_LOCATION, recognizer=RECOGNIZER),
        "texttospeech": grpc(places.speech_port),
        "secrets": grpc(places.secrets_port, parent=f"projects/{PROJECT}"),
        "firestore": grpc(places.firestore_port, database=f"projects/{PROJECT}/databases/(default)"),
        "tasks": grpc(places.background_port, parent=f"projects/{PROJECT}/locations/{REGION}"),
        "scheduler": grpc(places.background_port, parent=f"projects/{PROJECT}/locations/{REGION}"),
        "agent": rest(places.agent_port, resource=AGENT_RESOURCE, location=REGION),
        "supabase": rest(
            places.supabase_port,
            publishable_key=environment.get("SUPABASE_PUBLISHABLE_KEY", ""),
            secret_key=environment.get("SUPABASE_SECRET_KEY", ""),
            backend_key=environment.get("BACKEND_KEY", ""),
            jwks_url=places.jwks_url,
        ),
        "google": rest(
            places.google_port,
            client_id=GOOGLE_CLIENT_ID,
            client_secret=environment.get("GOOGLE_CLIENT_SECRET", ""),
            jwks_url=f"{places.google_url}/oauth2/v3/certs",
        ),
        "liveavatar": rest(places.liveavatar_port, api_key=environment.get("LIVEAVATAR_API_KEY", "")),
        "heygen": rest(places.heygen_port, api_key=environment.get("HEYGEN_API_KEY", "")),
        "s3": {
            **rest(places.storage_port),
            "url": places.storage_url,
            "region": REGION,
            "bucket": STORAGE_BUCKET,
            "access_key_id": environment.get("STORAGE_ACCESS_KEY_ID", ""),
            "secret_access_key": environment.get("STORAGE_SECRET_ACCESS_KEY", ""),
        },
        "smtp": {
            "address": f"{HOST}:{places.smtp_port}",
            "url": f"smtp://{HOST}:{places.smtp_port}",
            "protocol": "smtp",
        },
    }


class Console:
    """The handlers behind the routes; each reads its state from the files that the processes leave."""

    def __init__(self, places: Places, environment: Mapping[str, str]) -> None:
        self._places = places
        self._environment = environment
        self._mailbox = Mailbox(places.mail_file)
        self._shelf = Shelf(places.firestore_file)
        self._avatars = AvatarShelf(places)
        self._faults = FaultBook(places.faults_file)
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=select_autoescape(), trim_blocks=True
        )
        self._background = BackgroundPages(places, self._page)

    def routes(self) -> list[Route]:
        return [
            Route("/", self.overview),
            Route("/console.css", self.style),
            Route("/logs/{name}", self.log),
            Route("/endpoints", self.endpoints),
            Route("/mail", self.mail),
            Route("/mail/read", self.mail_list),
            Route("/mail/read/{mail_id:int}", self.mail_reader),
            Route("/mail/read/{mail_id:int}/html", self.mail_document),
            Route("/firestore", self.firestore),
            Route("/firestore/documents", self.firestore_documents),
            Route("/firestore/document", self.firestore_document),
            Route("/avatars", self.avatars),
            Route("/google", self.google),
            Route("/faults", self.faults, methods=["GET", "PUT"]),
            Route("/faults/edit", self.fault_editor, methods=["GET", "POST"]),
            *self._background.routes(),
        ]

    async def overview(self, _: Request) -> Response:
        parts = [_with_memory(part) for part in self._state().get("parts", [])]
        standins = endpoints(self._places, self._environment)
        addresses = {name: value["url"] for name, value in standins.items() if isinstance(value, dict)}
        logs = sorted(file.stem for file in self._places.logs.glob("*.log"))
        return self._page("overview.html", parts=parts, addresses=addresses, logs=logs, project=PROJECT)

    async def style(self, _: Request) -> Response:
        return FileResponse(_HERE / "assets" / "console.css", media_type="text/css")

    async def log(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = {file.stem: file for file in self._places.logs.glob("*.log")}
        if name not in known:
            return PlainTextResponse("There is no such log.", 404)
        return self._page("log.html", name=name, lines=tail(known[name]), file=known[name])

    async def endpoints(self, _: Request) -> Response:
        return JSONResponse(endpoints(self._places, self._environment))

    async def mail(self, request: Request) -> Response:
        return JSONResponse([mail.public() for mail in self._mailbox.read(request.query_params.get("to"))])

    async def mail_list(self, request: Request) -> Response:
        to = request.query_params.get("to", "").strip()
        return self._page("mails.html", mails=self._mailbox.read(to or None), to=to)

    async def mail_reader(self, request: Request) -> Response:
        mail = self._mailbox.message(request.path_params["mail_id"])
        if mail is None:
            return PlainTextResponse("There is no such mail.", 404)
        return self._page("mail.html", mail=mail)

    async def mail_document(self, request: Request) -> Response:
        mail = self._mailbox.message(request.path_params["mail_id"])
        if mail is None or mail.html is None:
            return PlainTextResponse("This mail has no HTML part.", 404)
        return HTMLResponse(_LINKS_LEAVE_THE_FRAME + mail.html, headers={"content-security-policy": _MAIL_POLICY})

    async def firestore(self, _: Request) -> Response:
        return self._page("firestore.html", collections=await asyncio.to_thread(self._shelf.collections))

    async def firestore_documents(self, request: Request) -> Response:
        database, collection, after = (
            request.query_params.get(name, "") for name in ("database", "collection", "after")
        )
        page = await asyncio.to_thread(self._shelf.documents, database, collection, after)
        return self._page("firestore_documents.html", database=database, collection=collection, after=after, page=page)

    async def firestore_document(self, request: Request) -> Response:
        database, path = (request.query_params.get(name, "") for name in ("database", "path"))
        document = await asyncio.to_thread(self._shelf.document, database, path)
        if document is None:
            return PlainTextResponse("There is no such document.", 404)
        return self._page("firestore_document.html", database=database, document=document)

    async def avatars(self, _: Request) -> Response:
        shown = await asyncio.to_thread(self._avatars.page)
        return self._page("avatars.html", heygen_url=self._places.heygen_url, **shown)

    async def google(self, _: Request) -> Response:
        return self._page("google.html", people=await asyncio.to_thread(window.people, self._places.google_file))

    async def faults(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                self._faults.write(await request.json())
            except json.JSONDecodeError:
                return JSONResponse({"detail": "The body is not JSON."}, 400)
            except ValueError as refused:
                return JSONResponse({"detail": str(refused)}, 422)
        return JSONResponse(self._faults.read())

    async def fault_editor(self, request: Request) -> Response:
        problem, typed = None, {}
        if request.method == "POST":
            async with request.form() as form:
                typed = {name: str(value).strip() for name, value in form.items()}
            try:
                self._set_fault(typed)
                return RedirectResponse("/local/faults/edit", 303)
            except ValueError as refused:
                problem = str(refused)
        return self._page(
            "faults.html", faults=self._faults.read(), standins=sorted(STAND_INS), problem=problem, typed=typed
        )

    def _set_fault(self, typed: Mapping[str, str]) -> None:
        """Replace or remove the fault of one method. Raises ValueError when what was typed is refused."""
        faults = self._faults.read()
        methods = faults.setdefault(typed.get("standin", ""), {})
        methods.pop(typed.get("method") or EVERY_METHOD, None)
        if not typed.get("remove"):
            methods[typed.get("method") or EVERY_METHOD] = _fault_from(typed)
        self._faults.write({name: methods for name, methods in faults.items() if methods})

    def _state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self._places.state_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state

    def _page(self, template: str, **values: Any) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(**values))


def console(places: Places, environment: Mapping[str, str] = os.environ) -> Mount:
    """The console, guarded, at `/local`."""
    app: ASGIApp = Starlette(routes=Console(places, environment).routes())
    return Mount("/local", WithHeaders(LocalOnly(app, places.port), _HEADERS))


def _fault_from(typed: Mapping[str, str]) -> dict[str, object]:
    """A fault from the form's fields. Raises ValueError when a number is none."""
    status = typed.get("status", "").upper()
    return {
        "delay_ms": int(typed.get("delay_ms") or 0),
        "fail_rate": float(typed["fail_rate"]) if typed.get("fail_rate") else None,
        "status": (int(status) if status.isdecimal() else status) or None,
        "seed": int(typed["seed"]) if typed.get("seed") else None,
        **{name: name in typed for name in ("lose_answer", "duplicate", "nonsense", "silent", "reorder")},
    }


def _with_memory(part: Mapping[str, Any]) -> dict[str, Any]:
    """Adds what the system says of the process and its children, and how long it has been up."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(part["started_at"])).total_seconds()
    return {**part, "up_seconds": round(seconds), "memory_mb": memory_mb(part.get("pid"))}


def memory_mb(pid: int | None) -> int | None:
    """Memory of a process and its children in MB, what they share counted once; None when it is gone."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return round(sum(_bytes(member) for member in family) / 1e6)
    except psutil.Error:
        return None


def _bytes(process: psutil.Process) -> int:
    # Only Linux knows the proportional size; elsewhere it is the resident one.
    found = process.memory_full_info() if psutil.LINUX else process.memory_info()
    return int(getattr(found, "pss", found.rss))
