"""The files that follow from the declarations, and whether those in the checkout are the ones that do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from infra.catalogue import endpoints, gateway, interface, manifest, openapi
from infra.catalogue.consistency import contradictions
from shared.http.declaration import Function


def artefacts(root: Path, functions: Sequence[Function]) -> dict[str, str]:
    """The text of every derived file, by its path in the checkout.

    Raises:
        ExceptionGroup: of ValueErrors, one for each thing that a declaration, or a declaration and the promised
            interface, contradict each other in.
    """
    promised = (root / interface.PATH).read_text()
    reasons = contradictions(functions) + interface.contradictions(promised, functions)
    if reasons:
        raise ExceptionGroup("the declarations contradict themselves", [ValueError(reason) for reason in reasons])
    return {
        "infra/functions.json": _pretty(manifest.manifest(root, functions)),
        "infra/gateway.json": _pretty(gateway.description(functions)),
        "infra/openapi.json": _pretty(openapi.document(root, functions)),
        "docs/endpoints.md": endpoints.page(root, functions),
        interface.PATH: interface.marked(promised, functions),
    }


def write(root: Path, functions: Sequence[Function]) -> list[str]:
    """Bring every derived file up to date. Returns the paths of those that were not."""
    stale = written_differently(root, functions)
    for path, text in artefacts(root, functions).items():
        if path in stale:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
    return stale


def written_differently(root: Path, functions: Sequence[Function]) -> list[str]:
    """The paths of derived files that are missing, or differ by as much as a byte."""
    expected = artefacts(root, functions)
    return [path for path, text in expected.items() if _bytes(root / path) != text.encode()]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _pretty(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
