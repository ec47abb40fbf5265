"""Twenty thousand requests that nobody would think of, made from the OpenAPI document: does one break anything?"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter

from bench.scenario import Setting
from infra.catalogue import openapi
from shared.http.discovery import ROOT, discover
from tests.support.fuzzing import fuzz, newcomers
from tests.support.stack import UNLIMITED

PEOPLE = 200
EXAMPLES = 60
WORKERS = 4
FIRST_SEED = 1


async def run(setting: Setting) -> None:
    """Rounds over the whole document, each with another seed, until there were enough requests."""
    report, wanted = setting.report, setting.count(20_000, 2_000)
    setting.town.start(UNLIMITED)
    document = openapi.document(ROOT, discover())
    statuses, wrong, began = Counter[int](), dict[str, str](), time.monotonic()
    with setting.town.stack.database() as db:
        for seed in itertools.count(FIRST_SEED):
            found = await asyncio.to_thread(
                fuzz,
                setting.town.stack.base_url,
                document,
                newcomers(db),
                seed=seed,
                examples=EXAMPLES,
                people=PEOPLE,
                workers=WORKERS,
            )
            for (_, status), count in found.answers.items():
                statuses[status] += count
            wrong |= {f"{kind} (seed {seed})": example for kind, example in found.wrong.items()}
            report.say(f"seed {seed}: {statuses.total()} requests, {len(wrong)} failures")
            if statuses.total() >= wanted:
                break
    report.say("answers: " + ", ".join(f"{count} of {status}" for status, count in sorted(statuses.items())))
    for kind, example in sorted(wrong.items()):
        report.say(f"{kind}: {example}")
    report.figure("requests a second", statuses.total() / (time.monotonic() - began), "/s")
    report.figure("requests that met a limit", statuses[429] / statuses.total() * 100, "%")
    report.hold("requests", statuses.total(), wanted, at_most=False)
    report.hold("kinds of failure", len(wrong), 0)
