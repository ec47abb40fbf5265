"""Where our own functions are, by the deterministic addresses of the platform.

A function's root is where queues and schedules send to, what they name as the audience of their tokens, and what the
function demands as such: https://cloud.google.com/run/docs/triggering/https-request#deterministic.
"""

from __future__ import annotations

from pydantic import field_validator

from shared.runtime.settings import Settings, load

_NAME = "{service}"


class ServiceSettings(Settings):
    """`service_root`: the address of every function, with `{service}` for its name, for example
    `https://{service}-123456789012.us-central1.run.app`."""

    service_root: str

    @field_validator("service_root")
    @classmethod
    def _has_a_place_for_the_name(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")) or value.count(_NAME) != 1:
            raise ValueError("it must be an address that contains {service} once")
        return value.rstrip("/")


def root_of(service: str) -> str:
    """The root address of a function: nothing follows its name, not even a slash."""
    template: str = load(ServiceSettings).service_root
    return template.replace(_NAME, service)
