"""`python -m bench [scenario …] [--quick] [--json FILE]`: exit status 1 when a figure is missed."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import psutil

from bench import crowd, fleet, fuzz, hearing, imports, quota, recordings, startup, turns, waiting
from bench.figures import Report
from bench.scenario import Setting
from bench.town import Town
from tests.support.stack import stack_folder

Scenario = Callable[[Setting], Awaitable[None]]
SCENARIOS: dict[str, tuple[str, Scenario]] = {
    "turns": ("our own share of a streamed turn", turns.run),
    "hearing": ("human recordings heard with the real engine", hearing.run),
    "fleet": ("turns against stand-ins that enforce the project's quotas", fleet.run),
    "crowd": ("eighty turns at any time on one instance", crowd.run),
    "waiting": ("one instance while each request waits 300 ms upstream", waiting.run),
    "fuzz": ("requests that nobody would think of, made from the OpenAPI document", fuzz.run),
    "startup": ("the local cloud's second start, and its memory", startup.run),
    "quota": ("avatar time under ten thousand random steps", quota.run),
    "recordings": ("four hours of sound cut into segments", recordings.run),
    "imports": ("what each function loads, and how long it takes", imports.run),
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    cores, load = psutil.cpu_count(), os.getloadavg()[0]
    print(f"{cores} processors, {psutil.virtual_memory().total / 2**30:.0f} GB, load {load:.1f}", flush=True)
    with stack_folder() as folder:
        town = Town(folder)
        try:
            reports = [_measure(name, town, options) for name in options.scenario or SCENARIOS]
        finally:
            town.stop()
    if options.json:
        options.json.write_text(json.dumps([_as_json(report) for report in reports], indent=1), encoding="utf-8")
    return _summary(reports)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures what the product has to hold.")
    parser.add_argument("scenario", nargs="*", metavar="scenario", help=f"of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, for a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--voices", type=Path, action="append", default=[], metavar="FOLDER", help="more recordings (transcripts.json)"
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.scenario if name not in SCENARIOS]:
        parser.error(f"there is no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return options


def _measure(name: str, town: Town, options: argparse.Namespace) -> Report:
    title, scenario = SCENARIOS[name]
    print(f"\n{name}: {title}", flush=True)
    report, began = Report(name), time.monotonic()
    try:
        asyncio.run(_run(scenario, Setting(town, report, options.quick, tuple(options.voices))))
    except Exception:
        traceback.print_exc()
        report.hold("scenarios that broke off", 1, 0)
    report.say(f"took {time.monotonic() - began:.0f} s")
    return report


async def _run(scenario: Scenario, setting: Setting) -> None:
    await scenario(setting)


def _as_json(report: Report) -> dict[str, object]:
    return {
        "scenario": report.scenario,
        "verdicts": [{**vars(verdict), "held": verdict.held} for verdict in report.verdicts],
        "figures": report.figures,
    }


def _summary(reports: Sequence[Report]) -> int:
    verdicts = [verdict for report in reports for verdict in report.verdicts]
    print("\nSummary")
    for verdict in verdicts:
        print(f"  {verdict.scenario:<9} {verdict.line()}")
    missed = sum(not verdict.held for verdict in verdicts)
    print(f"\n{len(verdicts) - missed} of {len(verdicts)} figures are held.", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
