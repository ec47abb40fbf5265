"""`python -m local.launcher.declared`: what starting each function takes, from the declarations, as JSON.

`reads` names the environment variables that the platform would give the function: its settings, and of the secrets
only those it declares.
"""

from __future__ import annotations

import json
import sys

from infra.catalogue.manifest import variables
from shared.http.declaration import Function
from shared.http.discovery import discover


def main() -> None:
    json.dump([_describe(function) for function in discover()], sys.stdout)


def _describe(function: Function) -> dict[str, object]:
    open_ones = [variable.name for variable in variables(function) if not variable.secret]
    return {"name": function.name, "source": str(function.source), "reads": [*open_ones, *function.secrets]}


if __name__ == "__main__":
    main()
