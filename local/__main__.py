"""`python -m local`: the whole local cloud, until Ctrl-C."""

from __future__ import annotations

import os
import sys

from local.launcher.run import launch

if __name__ == "__main__":
    sys.exit(launch(os.environ))
