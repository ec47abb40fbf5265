"""Settings: read once from the environment, validated before anything is served.

Each part of the product declares what it needs as a frozen model whose field names are the variables' names in lower
case; `load` reads it. Reading `os.environ` anywhere else is a mistake.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from shared.runtime.errors import ConfigurationError


class Settings(BaseModel):
    """Base of every group of settings. Secrets are `SecretStr`, so that no representation shows them."""

    model_config = ConfigDict(frozen=True, extra="ignore")


S = TypeVar("S", bound=Settings)


def read(kind: type[S], environment: Mapping[str, str]) -> S:
    """Build `kind` from an environment mapping.

    Raises:
        ConfigurationError: naming every variable that is missing or wrong, never its value.
    """
    values: dict[str, Any] = {}
    for name in kind.model_fields:
        raw = environment.get(name.upper(), "")
        if raw != "":
            values[name] = raw
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError([_say(item) for item in error.errors(include_input=False)]) from None


def _say(item: Any) -> str:
    name = str(item["loc"][0]).upper() if item["loc"] else "settings"
    if item["type"] == "missing":
        return f"the environment variable {name} is missing"
    return f"the environment variable {name} is wrong: {item['msg']}"


@functools.cache
def load(kind: type[S]) -> S:
    """The settings of this process, read at the first call and never again."""
    return read(kind, os.environ)


__all__ = ["SecretStr", "Settings", "load", "read"]
