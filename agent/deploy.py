"""Deploys the assistant to Agent Runtime (formerly Vertex AI Agent Engine).

    python -m agent.deploy create --project PROJECT [--location us-central1] [--service-account EMAIL] [--model NAME]
    python -m agent.deploy update --project PROJECT --resource NAME
    python -m agent.deploy list | show | delete …

Agent Runtime gets the agent's source and its pinned requirements, and builds them itself: nothing is pickled, and no
staging bucket is needed. What it prints for `create` goes into the functions' AGENT_RESOURCE.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.interface import class_methods

REPOSITORY = Path(__file__).resolve().parent.parent
ENTRY_MODULE, ENTRY_OBJECT = "agent.main", "app"
PYTHON_VERSION = "3.11"
# The agent imports no more of the product than this; a test imports the packed source alone.
SHARED = ("__init__.py", "runtime/__init__.py", "runtime/clock.py", "runtime/errors.py", "runtime/settings.py")
NOT_DEPLOYED = frozenset({"deploy.py"})


def pack(folder: Path) -> list[str]:
    """Copy what runs in the cloud into `folder`; returns the names of what is there."""
    for source in sorted((REPOSITORY / "agent").glob("*.py")):
        if source.name not in NOT_DEPLOYED:
            _copy(source, folder / "agent" / source.name)
    for name in SHARED:
        _copy(REPOSITORY / "shared" / name, folder / "shared" / name)
    _copy(REPOSITORY / "agent" / "requirements.txt", folder / "requirements.txt")
    return ["agent", "shared", "requirements.txt"]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


@contextlib.contextmanager
def _packed(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The configuration of a deployment. The client packs relative paths, so it works from inside the copy."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        config = {
            "display_name": options.display_name,
            "description": "Answers the turns of Oprina's conversations.",
            "source_packages": pack(Path(folder)),
            "entrypoint_module": ENTRY_MODULE,
            "entrypoint_object": ENTRY_OBJECT,
            "requirements_file": "requirements.txt",
            "class_methods": class_methods(),
            "agent_framework": "google-adk",
            "python_version": PYTHON_VERSION,
            "env_vars": _environment(options),
            "service_account": options.service_account,
            "min_instances": options.min_instances,
            "max_instances": options.max_instances,
            "container_concurrency": options.concurrency,
        }
        yield {name: value for name, value in config.items() if value is not None}


def _environment(options: argparse.Namespace) -> dict[str, str]:
    """The agent's environment: telemetry without anybody's words, the model, and what the caller adds."""
    return {
        "AGENT_MODEL": options.model,
        "GOOGLE_CLOUD_AGENT_ENGINE_ENABLE_TELEMETRY": "true",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "false",
        **dict(options.env or ()),
    }


def _client(options: argparse.Namespace) -> Any:
    # Ten seconds to import, so only once there is something to do.
    import agentplatform

    extra: dict[str, Any] = {}
    if options.endpoint:
        extra["http_options"] = {"base_url": options.endpoint}
    if options.endpoint and options.endpoint.startswith("http://"):
        from google.oauth2.credentials import Credentials

        extra["credentials"] = Credentials(token="none")  # type: ignore[no-untyped-call]  # noqa: S106
    return agentplatform.Client(project=options.project, location=options.location, **extra)


def create(runtimes: Any, options: argparse.Namespace) -> None:
    with _packed(options) as config:
        made = runtimes.create(config=config)
    print(f"AGENT_RESOURCE={made.api_resource.name}")


def update(runtimes: Any, options: argparse.Namespace) -> None:
    with _packed(options) as config:
        made = runtimes.update(name=options.resource, config=config)
    print(f"AGENT_RESOURCE={made.api_resource.name}")


def delete(runtimes: Any, options: argparse.Namespace) -> None:
    runtimes.delete(name=options.resource, force=options.force)
    print(f"Deleted {options.resource}")


def show(runtimes: Any, options: argparse.Namespace) -> None:
    resource = runtimes.get(name=options.resource).api_resource
    spec = resource.spec
    variables = spec.deployment_spec.env if spec.deployment_spec else None
    methods = [method["name"] for method in spec.class_methods or ()]
    described = {
        "name": resource.name,
        "display_name": resource.display_name,
        "updated_at": str(resource.update_time),
        "class_methods": methods,
        "service_account": spec.service_account,
        "environment": sorted(variable.name for variable in variables or ()),
    }
    print(json.dumps(described, indent=2))


def list_all(runtimes: Any, _: argparse.Namespace) -> None:
    for runtime in runtimes.list():
        resource = runtime.api_resource
        print(f"{resource.name}  {resource.display_name}  {resource.update_time}")


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError("write NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--project", required=True, help="the Google Cloud project")
    where.add_argument("--location", default="us-central1", help="the region of the agent (%(default)s)")
    where.add_argument("--endpoint", help="another address of the interface; http:// sends no credentials")
    what = argparse.ArgumentParser(add_help=False)
    what.add_argument("--display-name", default="oprina")
    what.add_argument("--model", default="gemini-3.5-flash", help="the Gemini model (%(default)s)")
    what.add_argument("--service-account", help="the identity the agent runs as")
    what.add_argument("--env", action="append", type=_variable, metavar="NAME=VALUE", help="values are never printed")
    what.add_argument("--min-instances", type=int)
    what.add_argument("--max-instances", type=int)
    what.add_argument("--concurrency", type=int, help="turns at once in one instance")
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--resource", required=True, help="projects/P/locations/L/reasoningEngines/ID")

    parser = argparse.ArgumentParser(prog="python -m agent.deploy", description="Deploy the assistant.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("create", parents=[where, what]).set_defaults(run=create)
    commands.add_parser("update", parents=[where, what, which]).set_defaults(run=update)
    commands.add_parser("list", parents=[where]).set_defaults(run=list_all)
    commands.add_parser("show", parents=[where, which]).set_defaults(run=show)
    removal = commands.add_parser("delete", parents=[where, which])
    removal.add_argument("--force", action="store_true", help="also what belongs to the agent")
    removal.set_defaults(run=delete)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    client = _client(options)
    from google.genai.errors import APIError

    try:
        options.run(client.runtimes, options)
    except APIError as refused:
        print(f"Agent Runtime refused ({refused.code}): {refused.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
