"""Requests made from the OpenAPI document: no 5xx, no answer that it does not tell of, no door that it calls locked.

`make bench BENCH=fuzz` makes many more of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.catalogue import openapi
from shared.http.discovery import ROOT
from tests.support.backend import functions
from tests.support.database import Database
from tests.support.fuzzing import from_outside, fuzz, newcomers
from tests.support.stack import Stack

SEED = 20_26


@pytest.fixture(scope="module")
def stack_database(security_stack: Stack) -> Iterator[Database]:
    with security_stack.database() as opened:
        yield opened


def told(wrong: dict[str, str]) -> str:
    return "\n".join(f"{kind}\n    {example}" for kind, example in sorted(wrong.items()))


def test_whoever_is_signed_in_meets_only_what_the_document_tells_of(
    security_stack: Stack, stack_database: Database
) -> None:
    document = from_outside(openapi.document(ROOT, functions()))
    found = fuzz(security_stack.base_url, document, newcomers(stack_database), seed=SEED, examples=8)
    assert not found.wrong, told(found.wrong)
    assert found.operations == {f"{m.upper()} {path}" for path, item in document["paths"].items() for m in item}
    served = {label for (label, status), count in found.answers.items() if status < 300 and count}
    assert found.limited < found.requests / 100, "limits kept the requests from what they were made for"
    assert len(served) > len(found.operations) / 2, f"only these were ever served: {sorted(served)}"


def test_whoever_is_not_signed_in_meets_only_what_the_document_tells_of(security_stack: Stack) -> None:
    document = from_outside(openapi.document(ROOT, functions()))
    found = fuzz(security_stack.base_url, document, None, seed=SEED, examples=3)
    assert not found.wrong, told(found.wrong)
    protected = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, described in item.items()
        if described["security"]
    }
    opened = {(label, status) for label, status in found.answers if label in protected and status < 400}
    assert opened == set()
