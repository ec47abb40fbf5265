"""`python -m local.cloud`: the small stand-ins that share one process.

Secret Manager (gRPC), the front of Supabase (REST), the mail server (SMTP), the public objects (HTTP),
Google's accounts (REST and pages), LiveAvatar (REST and WebSocket) and HeyGen (REST and files).
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from starlette.types import ASGIApp

from local.clock import LocalClock
from local.database.front import FrontKeys, create_front
from local.database.local_database import front_secret
from local.faults import FaultBook
from local.google.service import google
from local.grpc_server import log_calls_to_stdout
from local.heygen.service import heygen
from local.heygen.voice import SpokenVoice
from local.launcher.seed import seed
from local.liveavatar.lite import PongsWithheld
from local.liveavatar.service import liveavatar
from local.mail import Mailbox, serve_mail
from local.places import Places, url
from local.public_objects import public_objects
from local.secrets import SecretsServer
from local.serving import http_server, until_told_to_stop


async def serve(places: Places) -> None:
    """Serve until told to stop. The front opens last: its keys are secrets that the first start makes."""
    faults = FaultBook(places.faults_file)
    async with AsyncExitStack() as stack:
        secrets = SecretsServer(places.secrets_file, faults)
        await secrets.start(places.secrets_port)
        stack.push_async_callback(secrets.stop)
        mail = await serve_mail(places.smtp_port, Mailbox(places.mail_file), faults)
        stack.callback(mail.close)
        # Google's client blocks, and must not wait for a server on the loop that it blocks.
        environment = await asyncio.to_thread(seed, places)
        keys = FrontKeys(
            environment["SUPABASE_PUBLISHABLE_KEY"],
            environment["SUPABASE_SECRET_KEY"],
            front_secret(places.database_folder),
        )
        front = create_front(url(places.postgrest_port), keys, faults)
        await _serve_http(stack, front, places.supabase_port)
        await _serve_http(stack, public_objects(places.public_folder), places.static_port)
        await _serve_http(stack, google(places, environment["GOOGLE_CLIENT_SECRET"], faults), places.google_port)
        now = LocalClock(places.clock_file).now
        live = liveavatar(places.liveavatar_file, environment["LIVEAVATAR_API_KEY"], faults, now=now)
        await _serve_http(stack, live.app, places.liveavatar_port, PongsWithheld)
        await stack.enter_async_context(live.stage.running())
        voice = SpokenVoice(url(places.speech_port))
        stack.push_async_callback(voice.close)
        studio = heygen(places.heygen_folder, environment["HEYGEN_API_KEY"], faults, voice, places.heygen_url, now=now)
        await _serve_http(stack, studio.app, places.heygen_port)
        await stack.enter_async_context(studio.works.running())
        print('{"ready": true}', flush=True)
        await until_told_to_stop()


async def _serve_http(
    stack: AsyncExitStack, app: ASGIApp, port: int, websockets: type[asyncio.Protocol] | None = None
) -> None:
    server = http_server(app, port, websockets)
    running = asyncio.create_task(server.serve())

    async def end() -> None:
        server.should_exit = True
        await running

    stack.push_async_callback(end)
    while not server.started and not running.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    log_calls_to_stdout()
    asyncio.run(serve(Places.from_environment()))
