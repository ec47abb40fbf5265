"""What the stand-in reads from its environment, beside DATA and PORT."""

from __future__ import annotations

from pydantic import SecretStr

from local.models.scripted import DEFAULT_REPLY
from shared.runtime.settings import Settings


class RuntimeSettings(Settings):
    """`model` is `default`, `small`, `scripted`, a path to a GGUF file, or the address of an OpenAI-compatible server
    (http://…/v1), which may need `model_name` and `model_key`."""

    model: str = "default"
    model_name: str | None = None
    model_key: SecretStr | None = None
    model_parallel: int = 2
    agent_resource: str = "projects/oprina-local/locations/us-central1/reasoningEngines/1"
    quota_agent_per_minute: int = 90
    scripted_reply: str = DEFAULT_REPLY
    scripted_token_ms: float = 20.0
    scripted_first_token_ms: float = 0.0
