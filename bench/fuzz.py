"""Twenty thousand requests that nobody would think of, made from the OpenAPI document: does one break anything?"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from bench.scenario import Setting
from infra.catalogue import openapi
from shared.http.discovery import ROOT, discover
from tests.support.fuzzing import Fuzzed, from_outside, fuzz, newcomers
from tests.support.stack import UNLIMITED

# In a round: who is there at any time, and who comes for those that sign out.
PEOPLE, NEWCOMERS = 150, 250
EXAMPLES = 60
# Each a process of its own with a seed of its own, since a seed says everything only where requests follow each other.
ROUNDS_AT_ONCE = 3


async def run(setting: Setting) -> None:
    """Rounds over the whole document, each with another seed, until there were enough requests."""
    report, wanted = setting.report, setting.count(20_000, 2_000)
    setting.town.start(UNLIMITED)
    document = from_outside(openapi.document(ROOT, discover()))
    statuses, wrong, began = Counter[int](), dict[str, str](), time.monotonic()
    seeds = itertools.count(1)
    spawning = multiprocessing.get_context("spawn")
    with setting.town.stack.database() as db, ProcessPoolExecutor(ROUNDS_AT_ONCE, spawning) as processes:
        newcomer = newcomers(db)

        async def rounds() -> None:
            while statuses.total() < wanted:
                seed, tokens = next(seeds), [newcomer() for _ in range(PEOPLE + NEWCOMERS)]
                found = await asyncio.get_running_loop().run_in_executor(
                    processes, _round, setting.town.stack.base_url, document, tokens, seed
                )
                for (_, status), count in found.answers.items():
                    statuses[status] += count
                wrong.update({f"{kind} (seed {seed})": example for kind, example in found.wrong.items()})
                report.say(f"seed {seed}: {found.requests} requests, {len(found.wrong)} failures")

        async with asyncio.TaskGroup() as group:
            for _ in range(ROUNDS_AT_ONCE if not setting.quick else 1):
                group.create_task(rounds())
    report.say("answers: " + ", ".join(f"{count} of {status}" for status, count in sorted(statuses.items())))
    for kind, example in sorted(wrong.items()):
        report.say(f"{kind}: {example}")
    report.figure("requests a second", statuses.total() / (time.monotonic() - began), "/s")
    report.figure("requests that met a limit", statuses[429] / statuses.total() * 100, "%")
    report.hold("requests", statuses.total(), wanted, at_most=False)
    report.hold("kinds of failure", len(wrong), 0)


def _round(base_url: str, document: dict[str, Any], tokens: list[str], seed: int) -> Fuzzed:
    return fuzz(base_url, document, iter(tokens).__next__, seed=seed, examples=EXAMPLES, people=PEOPLE)
