"""What the machine did meanwhile: how busy it was, who made it so, and how much memory processes hold."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psutil

from bench.figures import Report

MIB = 1024 * 1024


def cpu_seconds(pid: int) -> float:
    """What a process and its living children have used; 0 for one that is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    used = 0.0
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            used += times.user + times.system
    return used


def memory_mib(pid: int, *, children: bool = True) -> tuple[float, float]:
    """Resident and proportional memory of a process and its children (pages shared by n count one n-th)."""
    resident = proportional = 0.0
    process = psutil.Process(pid)
    for member in (process, *(process.children(recursive=True) if children else ())):
        with contextlib.suppress(psutil.NoSuchProcess):
            found = member.memory_full_info()
            resident += found.rss / MIB
            proportional += found.pss / MIB
    return resident, proportional


@dataclass
class Usage:
    """Filled when its `watched` block ends: seconds of wall clock, and CPU seconds by name."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    machine_cpu: float = 0.0

    def say(self, report: Report) -> None:
        """Who used the processors; what others used says how far the figures can be trusted."""
        cores = psutil.cpu_count() or 1
        ours = sum(self.cpu.values())
        others = max(self.machine_cpu - ours, 0.0)
        shares = ", ".join(f"{name} {used / self.seconds:.2f}" for name, used in self.cpu.items())
        load = "  ".join(f"{value:.1f}" for value in os.getloadavg())
        report.say(f"processors in use, of {cores}: {shares}, others {others / self.seconds:.2f}; load {load}")
        report.figures["processors used by others"] = {"value": round(others / self.seconds, 2), "of": cores}
        if others / self.seconds > 0.15 * cores:
            report.say("others used much of this machine meanwhile: times are worse than on a machine of one's own")


@contextlib.contextmanager
def watched(pids: Mapping[str, int]) -> Iterator[Usage]:
    """Watch the processes of these names, this one, and the machine as a whole."""
    everyone = {**pids, "this client": os.getpid()}
    usage = Usage()
    began, busy = time.monotonic(), _machine_cpu()
    before = {name: _own_cpu(name, pid) for name, pid in everyone.items()}
    try:
        yield usage
    finally:
        usage.seconds = time.monotonic() - began
        usage.machine_cpu = _machine_cpu() - busy
        usage.cpu = {name: _own_cpu(name, pid) - before[name] for name, pid in everyone.items()}


def _own_cpu(name: str, pid: int) -> float:
    # The local cloud is a child of this client.
    return time.process_time() if name == "this client" else cpu_seconds(pid)


def _machine_cpu() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice + times.irq + times.softirq)
