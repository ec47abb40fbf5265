"""How long the local cloud takes to start a second time, what each process takes of it, and what memory it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.figures import Report
from bench.machine import memory_mib
from bench.scenario import Setting
from tests.support.stack import REAL_ENGINES, SCRIPTED, Stack, stack_folder

READY = re.compile(r"^ *([\d.]+) s +(\S+) +ready after ([\d.]+) s", re.MULTILINE)
BEGINNING = "Oprina, the local cloud"
LIMIT_SECONDS = 10.0


async def run(setting: Setting) -> None:
    """Start twice with each kind of engines; only the second start counts."""
    setting.town.stop()
    for name, engines in (("scripted engines", SCRIPTED), ("real engines", REAL_ENGINES)):
        with stack_folder() as folder:
            _measure(setting.report, name, engines, folder)


def _measure(report: Report, name: str, engines: Mapping[str, str], folder: Path) -> None:
    stack = Stack(folder, engines)
    report.figure(f"{name}: first start", stack.start(), "s")
    stack.stop()
    try:
        seconds = stack.start()
        report.figure(f"{name}: second start", seconds, "s")
        for at, process, took in READY.findall(stack.said().rpartition(BEGINNING)[2]):
            report.say(f"  {process:<12} took {float(took):4.1f} s, ready at {float(at):4.1f} s")
            report.figures[f"{name}: {process} took"] = {"value": float(took), "unit": "s"}
        _tell_memory(report, name, {"launcher": stack.pid, **stack.pids()})
    finally:
        stack.stop()
    report.hold(f"{name}: second start to ready", seconds, LIMIT_SECONDS, unit=" s")


def _tell_memory(report: Report, name: str, pids: Mapping[str, int]) -> None:
    total = 0.0
    for process, pid in pids.items():
        # The launcher's children are counted by their own names.
        resident, proportional = memory_mib(pid, children=process != "launcher")
        total += proportional
        report.say(f"  {process:<12} {proportional:6.0f} MiB ({resident:.0f} with what it shares)")
        report.figures[f"{name}: memory of {process}"] = {"value": round(proportional, 1), "unit": "MiB"}
    report.figure(f"{name}: memory, all processes", total, "MiB")
