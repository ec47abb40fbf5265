"""The look at a fresh deployment tells a working one from one that is not."""

from __future__ import annotations

import pytest

from infra import smoke
from tests.support.stack import Stack


def test_a_working_deployment_passes(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main([stack.base_url]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split()[-1] for line in said] == list(smoke.CHECKS)


def test_a_part_that_is_away_is_named(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.set_faults({"supabase": {"*": {"status": 503}}})
    assert smoke.main([stack.base_url]) == 1
    said = capsys.readouterr().out
    assert "WRONG  health" in said
    assert "ok     keys" in said


def test_an_address_where_nobody_answers_fails_and_does_not_break_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main(["http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().out.count("WRONG") == len(smoke.CHECKS)
