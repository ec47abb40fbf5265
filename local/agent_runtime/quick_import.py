"""The agent, imported without the ten seconds of google-cloud-aiplatform's generated clients.

AdkApp is shipped inside that package, whose parent module offers to import all of it and is content to go without.
"""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from types import ModuleType

_NOT_NEEDED = "google.cloud.aiplatform"
_LOOKED_FOR_IN_VAIN = "google.adk.agents.remote_a2a_agent"


def agent_app() -> ModuleType:
    """The module `agent.app`."""
    quiet()
    if find_spec("a2a") is None:
        # ADK tries to import this in every turn, and 11 ms pass each time before it fails.
        sys.modules[_LOOKED_FOR_IN_VAIN] = None  # type: ignore[assignment]
    known = sys.modules.get(_NOT_NEEDED)
    sys.modules[_NOT_NEEDED] = None  # type: ignore[assignment]
    try:
        import agent.app
    finally:
        del sys.modules[_NOT_NEEDED]
        if known is not None:
            sys.modules[_NOT_NEEDED] = known
    return agent.app


def quiet() -> None:
    """Do not repeat what the libraries say about themselves, and about nothing we could change."""
    warnings.filterwarnings("ignore", r"\[EXPERIMENTAL\] \w*CredentialService", UserWarning)
    warnings.filterwarnings("ignore", "GOOGLE_GENAI_USE_VERTEXAI is deprecated", DeprecationWarning)
    warnings.filterwarnings("ignore", "Using `@model_validator` with mode='after'", DeprecationWarning)
