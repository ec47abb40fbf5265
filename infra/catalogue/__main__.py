"""`python -m infra.catalogue [--check]`: write what follows from the declarations, or see whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from infra.catalogue.artefacts import write, written_differently
from shared.http.discovery import ROOT, discover

COMMAND = "python -m infra.catalogue"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 when all is well, 1 when something is stale or a declaration contradicts itself."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file is out of date")
    checking = parser.parse_args(arguments).check
    functions = discover(ROOT)
    try:
        if not checking:
            for path in write(ROOT, functions):
                print(f"wrote {path}")
            return 0
        stale = written_differently(ROOT, functions)
    except ExceptionGroup as refused:
        print("\n".join(str(reason) for reason in refused.exceptions), file=sys.stderr)
        return 1
    for path in stale:
        print(f"{path} is out of date: run `{COMMAND}` (or `make catalogue`)", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
