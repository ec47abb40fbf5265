"""The order in which the local cloud comes up, stays, and goes down."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import psycopg

from infra.supabase.migrate import MigrationError
from local.database.binaries import DatabaseUnavailable
from local.database.cluster import Cluster
from local.database.local_database import front_secret, open_for
from local.database.rest import Rest
from local.launcher import demo, plan
from local.launcher.prerequisites import (
    NotPossible,
    check_ports,
    claim_database_folder,
    claim_folder,
    empty_folder,
    only_one,
)
from local.launcher.screen import Screen
from local.launcher.supervision import PartFailed, Supervisor
from local.places import REPOSITORY, Places

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True)
class Options:
    """`fresh`: begin with an empty folder. `processes`: the functions with a process of their own, `*` for all."""

    fresh: bool
    processes: frozenset[str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Options:
        named = environment.get("PROCESSES", "")
        alone = plan.ALL if named.lower() in _YES else frozenset(named.replace(",", " ").split()) - _NO
        return cls(fresh=environment.get("FRESH", "").lower() in _YES, processes=alone)


def launch(environment: Mapping[str, str]) -> int:
    """Run the local cloud until it is told to stop. Returns the exit status."""
    screen = Screen()
    try:
        places, options = Places.from_environment(environment), Options.from_environment(environment)
        claim_folder(places.data)
        with only_one(places.data):
            check_ports(places)
            if options.fresh:
                screen.say(f"emptying {places.data}")
                empty_folder(places.data)
            claim_database_folder(places, fresh=options.fresh)
            return asyncio.run(_run(places, options, screen))
    except (NotPossible, ValueError) as problem:
        screen.complain(str(problem))
        return 2


async def _run(places: Places, options: Options, screen: Screen) -> int:
    supervisor = Supervisor(places.logs, places.state_file, screen)
    told = _stop_signals(supervisor)
    work = asyncio.create_task(_live(places, options, screen, supervisor))
    await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        screen.plain()
        screen.say("stopping")
    work.cancel()
    failure = (await asyncio.gather(work, return_exceptions=True))[0]
    await supervisor.stop()
    reasons = _reasons(failure)
    for reason in reasons:
        screen.complain(reason)
    screen.say("everything is stopped")
    return 1 if reasons else 0


def _stop_signals(supervisor: Supervisor) -> asyncio.Future[None]:
    """Done at the first request to stop; a second one does not wait for anybody."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if told.done():
            supervisor.kill()
        else:
            told.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, tell)
    return told


def _reasons(failure: BaseException | None) -> list[str]:
    if isinstance(failure, BaseExceptionGroup):
        return [reason for inner in failure.exceptions for reason in _reasons(inner)]
    if isinstance(failure, (PartFailed, NotPossible)):
        return [str(failure)]
    if failure is None or isinstance(failure, asyncio.CancelledError):
        return []
    raise failure


async def _live(places: Places, options: Options, screen: Screen, supervisor: Supervisor) -> None:
    """Bring everything up, and stay until something cannot be kept running."""
    screen.plain("Oprina, the local cloud")
    screen.plain(f"  state in {places.data}, ports {places.port} to {places.last_port} of this machine")
    async with asyncio.TaskGroup() as group:
        for part in plan.engines(places):
            group.create_task(supervisor.start(part))
        group.create_task(_bring_up_the_product(places, options, screen, supervisor))
    supervisor.announce_ready()
    _say_where_to_look(places, screen)
    raise PartFailed(await supervisor.until_broken())


async def _bring_up_the_product(places: Places, options: Options, screen: Screen, supervisor: Supervisor) -> None:
    cluster = Cluster(places.database_folder, places.postgres_port)
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.start(plan.cloud(places)))
        group.create_task(supervisor.start(plan.firestore(places)))
        group.create_task(supervisor.start(plan.background(places)))
        group.create_task(_start_postgres(places, cluster, screen, supervisor))
    secrets: dict[str, str] = json.loads(places.environment_file.read_text())
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.start(plan.storage(places, secrets)))
        group.create_task(_start_postgrest(places, cluster, secrets["BACKEND_KEY"], screen, supervisor))
    ports = await plan.start_functions(options.processes, places, secrets, supervisor) if options.processes else {}
    await supervisor.start(plan.gateway(places, secrets, ports))
    if not demo.is_made(places):
        screen.say("signing up the demo person", "demo")
        await demo.make(places)


async def _start_postgres(places: Places, cluster: Cluster, screen: Screen, supervisor: Supervisor) -> None:
    if not places.database_folder.exists():
        screen.say("making a new database", "postgres")
    await _in_thread(cluster.prepare)
    await supervisor.start(plan.postgres(places, cluster))
    await _in_thread(cluster.open)


async def _start_postgrest(
    places: Places, cluster: Cluster, backend_key: str, screen: Screen, supervisor: Supervisor
) -> None:
    began = screen.seconds
    await _in_thread(partial(open_for, cluster.url, issuer=places.token_issuer, backend_key=backend_key))
    screen.say(f"schema up to date after {screen.seconds - began:.1f} s", "migrations")
    rest = Rest(places.database_folder, places.postgrest_port)
    jwks = json.loads(places.jwks_file.read_text())
    await _in_thread(partial(rest.configure, cluster.authenticator_url, jwks, front_secret(places.database_folder)))
    await supervisor.start(plan.postgrest(places, rest))


async def _in_thread(work: Callable[[], object]) -> None:
    """Do blocking work of the database's tools. Raises PartFailed with the sentence they refuse with."""
    try:
        await asyncio.to_thread(work)
    except MigrationError as refusal:
        raise PartFailed(
            f"The database does not fit this checkout: {refusal}. To begin with an empty one: make dev FRESH=1"
        ) from None
    except (DatabaseUnavailable, psycopg.Error) as refusal:
        raise PartFailed(f"The database cannot be used: {refusal}") from None


def _say_where_to_look(places: Places, screen: Screen) -> None:
    folder = places.logs.relative_to(REPOSITORY) if places.logs.is_relative_to(REPOSITORY) else places.logs
    screen.plain(
        f"""
Ready after {screen.seconds:.1f} s.

  the page       {places.gateway_url}/
  the interface  {places.gateway_url}/docs
  the console    {places.gateway_url}/local/  (mail, logs, faults, queues, schedules, time)
  sign in as     {demo.EMAIL}  with  {demo.PASSWORD}
  logs           {folder}

Ctrl-C stops everything.
"""
    )
