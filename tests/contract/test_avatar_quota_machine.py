"""Whatever happens to a person's avatar time, in any order: a short run; `make bench BENCH=quota` is a long one."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.avatar_machine import AvatarMachine


def test_no_order_of_events_charges_a_second_twice_or_loses_one() -> None:
    run_state_machine_as_test(
        AvatarMachine,
        settings=settings(
            max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck),
            database=None, derandomize=True,
        ),
    )  # fmt: skip
