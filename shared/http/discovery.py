"""Finds the declarations of all functions in a checkout."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.http.declaration import Function

ROOT = Path(__file__).resolve().parents[2]

_declaring: ContextVar[bool] = ContextVar("declaring", default=False)


def only_declaring() -> bool:
    """Whether the sources are being imported for their declarations alone, without an environment to run in."""
    return _declaring.get()


@contextmanager
def _declarations() -> Iterator[None]:
    token = _declaring.set(True)
    try:
        yield
    finally:
        _declaring.reset(token)


def discover(root: Path = ROOT) -> list[Function]:
    """Import every `functions/<room>/<name>/main.py` and return its `function`, ordered by path."""
    with _declarations():
        found = [_import(source) for source in sorted((root / "functions").glob("*/*/main.py"))]
    return sorted(found, key=lambda function: function.path)


def _import(source: Path) -> Function:
    name = "functions." + ".".join(source.parts[-3:-1])
    spec = importlib.util.spec_from_file_location(name, source)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Generic models look their module up by its name while it is being read.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    function: Function = module.function
    function.source = source
    return function
