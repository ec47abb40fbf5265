"""`python -m infra.packaging OUT`: write every function's archive, and archives.json that Terraform reads.

`--table` prints what each holds: its files, its own size, how many distributions it installs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.packaging.archive import Package, packages
from shared.http.discovery import ROOT, discover


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.packaging", description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="the folder for the archives")
    parser.add_argument("--table", action="store_true", help="print what each archive holds")
    options = parser.parse_args(arguments)
    packed = packages(ROOT, discover(ROOT))
    if options.out is not None:
        write(options.out, packed)
        print(f"{len(packed)} archives in {options.out}")
    if options.table or options.out is None:
        _print(packed)
    return 0


def write(folder: Path, packed: Sequence[Package]) -> None:
    """The archives, archives.json last, and nothing that was there before and is not theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in packed:
        (folder / one.file_name).write_bytes(one.content)
    listed = {one.name: {"file": one.file_name, "sha256": one.digest} for one in packed}
    (folder / "archives.json").write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    for stale in set(folder.glob("*.zip")) - {folder / one.file_name for one in packed}:
        stale.unlink()


def _print(packed: Sequence[Package]) -> None:
    print(f"{'function':32} {'files':>5} {'KiB':>7} {'distributions':>13}")
    for one in packed:
        print(f"{one.name:32} {len(one.files):5} {len(one.content) / 1024:7.1f} {len(one.distributions):13}")


if __name__ == "__main__":
    sys.exit(main())
