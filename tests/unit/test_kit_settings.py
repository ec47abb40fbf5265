"""A setting that is missing or wrong stops the start: the variable is named, its value never."""

from __future__ import annotations

import pytest

from shared.http.declaration import Caller, Function
from shared.http.settings import HttpSettings, TokenSettings
from shared.runtime.errors import ConfigurationError
from shared.runtime.fleet import AGENT, FleetSettings
from shared.runtime.settings import SecretStr, Settings, load, read
from shared.runtime.visit import FleetCost

SECRET = "correct-horse-battery-staple"


class Example(Settings):
    endpoint: str
    port: int
    key: SecretStr
    retries: int = 3


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(Example, {"PORT": "1"})
    assert refused.value.problems == [
        "the environment variable ENDPOINT is missing",
        "the environment variable KEY is missing",
    ]
    assert "PORT" not in str(refused.value)


def test_what_is_wrong_is_named_and_not_shown() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(Example, {"ENDPOINT": "x", "PORT": SECRET, "KEY": SECRET, "RETRIES": SECRET})
    said = str(refused.value) + repr(refused.value)
    assert "PORT" in said
    assert "RETRIES" in said
    assert SECRET not in said
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_an_empty_variable_counts_as_missing() -> None:
    with pytest.raises(ConfigurationError, match="ENDPOINT is missing"):
        read(Example, {"ENDPOINT": "", "PORT": "1", "KEY": "k"})
    assert read(Example, {"ENDPOINT": "x", "PORT": "1", "KEY": "k", "RETRIES": ""}).retries == 3


def test_a_secret_is_in_no_representation() -> None:
    settings = read(Example, {"ENDPOINT": "x", "PORT": "1", "KEY": SECRET})
    assert SECRET not in f"{settings} {settings!r} {settings.model_dump()}"
    assert settings.key.get_secret_value() == SECRET


def test_a_function_refuses_to_start_without_its_settings(kit_environment: pytest.MonkeyPatch) -> None:
    function = Function(name="kit-needy", path="/v1/needy", settings=(Example,))
    with pytest.raises(ConfigurationError, match="ENDPOINT is missing"):
        function.entry_point()


def test_a_function_for_persons_refuses_to_start_without_what_checks_tokens(
    kit_environment: pytest.MonkeyPatch,
) -> None:
    function = Function(name="kit-person", path="/v1/person")
    function.get("Look", caller=Caller.PERSON)(_handler)
    with pytest.raises(ConfigurationError, match="JWKS_URL is missing"):
        function.entry_point()


@pytest.mark.parametrize("name", ["TRUSTED_HOPS", "FLEET_AGENT_PER_MINUTE"])
def test_a_function_refuses_to_start_with_a_wrong_setting_of_the_kits(
    kit_environment: pytest.MonkeyPatch, name: str
) -> None:
    kit_environment.setenv(name, "many")
    function = Function(name="kit-fleet", path="/v1/fleet")
    function.get("Look", caller=Caller.EVERYONE, fleet=(FleetCost(AGENT),))(_handler)
    with pytest.raises(ConfigurationError, match=f"{name} is wrong"):
        function.entry_point()


def test_a_function_asks_for_no_setting_that_it_does_not_use() -> None:
    assert Function(name="kit-open", path="/v1/open").required_settings == (HttpSettings,)
    function = Function(name="kit-person", path="/v1/person", settings=(TokenSettings,))
    function.get("Look", caller=Caller.PERSON, fleet=(FleetCost(AGENT),))(_handler)
    assert function.required_settings == (HttpSettings, TokenSettings, FleetSettings)


async def _handler() -> None:
    return None


def test_settings_are_read_once(kit_environment: pytest.MonkeyPatch) -> None:
    kit_environment.setenv("ALLOWED_ORIGINS", "https://a.example")
    first = load(HttpSettings)
    kit_environment.setenv("ALLOWED_ORIGINS", "https://b.example")
    assert load(HttpSettings) is first
    assert first.origins == ["https://a.example"]
