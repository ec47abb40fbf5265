"""`python -m local.launcher.browser`: sees to it that a continuous build has a browser, and says so where none is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The path of a Chromium on this machine; `CHROMIUM` names another one."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


def may_install() -> bool:
    """Only where nobody's machine is changed unasked: in a continuous build, as root, on Debian."""
    return os.environ.get("CI") == "true" and os.geteuid() == 0 and shutil.which("apt-get") is not None


def main() -> None:
    if find_browser() is None and may_install():
        print("Installing Chromium for the browser tests", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "chromium"]):
            if subprocess.run(["apt-get", *arguments], env=quiet, check=False).returncode != 0:
                print("Chromium could not be installed.", file=sys.stderr, flush=True)
                break
    if find_browser() is None:
        print("No Chromium here: the browser tests will be skipped. Name one with CHROMIUM=path.", flush=True)


if __name__ == "__main__":
    main()
