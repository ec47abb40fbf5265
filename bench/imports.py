"""What each function loads, and how long it takes, in fresh processes with only the functions' own packages."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.figures import median
from bench.machine import memory_mib
from bench.scenario import Setting
from shared.http.discovery import ROOT, discover
from tests.support.functions import environment, functions_bin

DATABASE_ONLY, WITH_GRPC = 750, 1_200
TURNS = "conversations-turns"

# Loads a source as the platform does. The interpreter's own start is not the function's.
PROBE = """
import sys, time
began = time.perf_counter()
import functions_framework.aio
framework = time.perf_counter()
functions_framework.aio.create_asgi_app("main", sys.argv[1])
ended = time.perf_counter()
modules = set(sys.modules)
import json
print(json.dumps({
    "modules": len(modules), "grpc": "grpc" in modules,
    "framework_ms": (framework - began) * 1000, "whole_ms": (ended - began) * 1000,
}), flush=True)
sys.stdin.read()
"""


async def run(setting: Setting) -> None:
    """Load each function several times; times are medians, counts are the same every time."""
    report, times = setting.report, setting.count(5, 3)
    report.say(f"median of {times} fresh processes; the framework's own share is inside")
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(Path(folder))
        for function in sorted(discover(), key=lambda function: function.name):
            loads = [_load(function.source, variables) for _ in range(times)]
            modules, grpc = loads[0]["modules"], loads[0]["grpc"]
            whole = median([load["whole_ms"] for load in loads])
            framework = median([load["framework_ms"] for load in loads])
            memory = median([load["memory_mib"] for load in loads])
            report.say(
                f"{function.name:<28} {modules:5} modules {'with grpc' if grpc else '         '}"
                f" {whole:6.0f} ms (framework {framework:.0f}), {memory:.0f} MiB"
            )
            report.figures[function.name] = {
                "modules": modules,
                "grpc": grpc,
                "ms": round(whole),
                "framework_ms": round(framework),
                "memory_mib": round(memory),
            }
    _judge(setting)


def _judge(setting: Setting) -> None:
    report = setting.report
    known = {name: figure for name, figure in report.figures.items() if "modules" in figure}
    plain = {name: figure["modules"] for name, figure in known.items() if not figure["grpc"]}
    report.hold(f"most modules without grpc ({max(plain, key=plain.__getitem__)})", max(plain.values()), DATABASE_ONLY)
    report.hold(f"modules of {TURNS}", known[TURNS]["modules"], WITH_GRPC)


def _load(source: Path, variables: dict[str, str]) -> dict[str, Any]:
    with subprocess.Popen(
        [functions_bin() / "python", "-c", PROBE, str(source)],
        cwd=ROOT,
        env={"PYTHONPATH": ".", **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        found: dict[str, Any] = json.loads(process.stdout.readline())
        found["memory_mib"], _ = memory_mib(process.pid)
        process.communicate()
    return found
