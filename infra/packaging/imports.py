"""What a source file imports, followed through our own modules; imports inside functions count as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

OWN_PACKAGE = "shared"


@dataclass
class Reached:
    """`files`: our own, relative to the checkout. `modules`: everybody else's, by their dotted names."""

    files: set[Path] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)


def reached_from(root: Path, source: Path) -> Reached:
    """Everything that `source` may import while it runs, the files of `shared` that it reads beside them included."""
    reached, waiting = Reached(), [source]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            found = _own_files(root, name)
            waiting += found
            if name.partition(".")[0] != OWN_PACKAGE:
                reached.modules.add(name)
    own = seen - {source}
    reached.files = {path.relative_to(root) for path in own | _data_beside(own)}
    return reached


def _imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names; of `from a import b` both `a` and `a.b`, since `b` may be a module."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _only_for_types(node.test):
            for other in node.orelse:
                yield from _imported(other)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from _imported(node)


def _only_for_types(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _own_files(root: Path, name: str) -> list[Path]:
    """The module of this name and the packages it lies in, as far as they are files of ours."""
    parts = name.split(".")
    if parts[0] != OWN_PACKAGE:
        return []
    packages = [root.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    module = root.joinpath(*parts).with_suffix(".py")
    return [path for path in [*packages, module] if path.is_file()]


def _data_beside(sources: set[Path]) -> set[Path]:
    """Files that modules read: those in folders without Python of their own, under a package that is taken."""
    packages = {path.parent for path in sources if path.name != "__init__.py"}
    return {
        path
        for package in packages
        for folder in package.iterdir()
        if folder.is_dir() and not any(folder.rglob("*.py")) and folder.name != "__pycache__"
        for path in folder.rglob("*")
        if path.is_file()
    }
