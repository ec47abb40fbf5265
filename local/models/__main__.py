"""`python -m local.models fetch [default|small]` fetches weights; `python -m local.models list` shows what is there."""

from __future__ import annotations

import argparse
import os
import sys

from local.models.store import KNOWN, ModelStore, WeightsError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="download, join and verify weights")
    fetch.add_argument("name", nargs="?", choices=sorted(KNOWN), default=None)
    commands.add_parser("list", help="which weights are there")
    chosen = parser.parse_args()
    store = ModelStore.from_environment()
    if chosen.command == "list":
        for name, weights in KNOWN.items():
            there = "ready" if store.path(weights).exists() else "not fetched"
            print(f"{name:8} {weights.title}: {there} ({store.path(weights)})")
        return 0
    name = chosen.name or os.environ.get("MODEL") or "default"
    if name not in KNOWN:
        print(f"MODEL={name} needs no fetching.")
        return 0
    try:
        print(store.fetch(KNOWN[name]))
    except WeightsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
