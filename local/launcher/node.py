"""`python -m local.launcher.node`: installs the packages of local/package.json, with the machine's npm or our own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from local.places import REPOSITORY

OLDEST_NODE = 18


def npm_environment() -> dict[str, str]:
    """An environment whose PATH begins with a Node that is new enough: the machine's, else the one in our packages."""
    own = str(Path(sys.executable).parent)
    search = os.environ.get("PATH", os.defpath)
    if not (shutil.which("npm") and _node_major() >= OLDEST_NODE):
        search = own + os.pathsep + search
    return {**os.environ, "PATH": search}


def _node_major() -> int:
    node = shutil.which("node")
    if node is None:
        return 0
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)", answer.stdout)
    return int(version.group(1)) if version else 0


def main() -> None:
    print("Installing the packages that come from npm (local/node_modules)", flush=True)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    result = subprocess.run(command, cwd=REPOSITORY / "local", env=npm_environment(), check=False)
    if result.returncode != 0:
        sys.exit("npm could not install the packages of local/package.json; what it said is above.")


if __name__ == "__main__":
    main()
