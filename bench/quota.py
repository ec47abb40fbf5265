"""At least ten thousand random steps against a person's avatar time; the machine stops at the first that is wrong."""

from __future__ import annotations

import asyncio
import time

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from bench.scenario import Setting
from tests.support.avatar_machine import AvatarMachine

_STEPS, _STEPS_QUICK, _RUN = 10_000, 1_000, 50


async def run(setting: Setting) -> None:
    wanted = setting.count(_STEPS, _STEPS_QUICK)
    began = time.monotonic()
    AvatarMachine.steps_taken = 0
    while AvatarMachine.steps_taken < wanted:
        await asyncio.to_thread(_walk)
    seconds = time.monotonic() - began
    setting.report.say(f"{AvatarMachine.steps_taken} steps, {AvatarMachine.steps_taken / seconds:.0f} a second")
    setting.report.hold("steps through which the books balanced", AvatarMachine.steps_taken, wanted, at_most=False)


def _walk() -> None:
    run_state_machine_as_test(
        AvatarMachine,
        settings=settings(
            max_examples=20, stateful_step_count=_RUN, deadline=None, suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )  # fmt: skip
