"""The reasoning engines of the stand-in: the one that is always there, and those that were deployed to it."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.interface import class_methods
from local.agent_runtime.errors import GoogleError

Resource = dict[str, Any]
_FREE_FORM = frozenset({"classMethods", "labels"})


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Engines:
    """Resources by name, kept in a file across restarts; and the operations that made them, which are not."""

    def __init__(self, file: Path, built_in: str) -> None:
        self._file = file
        self._built_in = built_in
        self._operations: dict[str, dict[str, Any]] = {}
        self._kept: dict[str, Resource] = json.loads(file.read_text("utf-8")) if file.exists() else {}
        self._always = {
            "name": built_in,
            "displayName": "oprina",
            "createTime": _now(),
            "updateTime": _now(),
            "spec": {"agentFramework": "google-adk", "classMethods": class_methods()},
        }

    def get(self, name: str) -> Resource:
        """Raises GoogleError 404 for a name that is no resource of this project."""
        resource = self._always if name == self._built_in else self._kept.get(name)
        if resource is None:
            raise GoogleError(404, f"The ReasoningEngine does not exist: {name}")
        return resource

    def list(self, parent: str) -> list[Resource]:
        found = [self._always, *self._kept.values()]
        return [one for one in found if one["name"].startswith(f"{parent}/reasoningEngines/")]

    def create(self, parent: str, body: Resource) -> dict[str, Any]:
        """Deploy; the answer is an operation, done by the time it is asked for."""
        name = f"{parent}/reasoningEngines/{time.time_ns()}"
        resource = {**_proto_json(body), "name": name, "createTime": _now(), "updateTime": _now()}
        return self._settle(name, resource)

    def update(self, name: str, body: Resource) -> dict[str, Any]:
        """Replace what the body carries. Raises GoogleError 404."""
        before, changes = self.get(name), _proto_json(body)
        spec = {**before.get("spec", {}), **changes.get("spec", {})}
        return self._settle(name, {**before, **changes, "spec": spec, "name": name, "updateTime": _now()})

    def delete(self, name: str) -> dict[str, Any]:
        """Raises GoogleError: 404, or 400 for the one that is always there."""
        self.get(name)
        if name == self._built_in:
            raise GoogleError(400, "This ReasoningEngine is part of the local cloud and cannot be deleted.")
        del self._kept[name]
        self._save()
        return self._done(name, {"response": {"@type": "type.googleapis.com/google.protobuf.Empty"}})

    def operation(self, name: str) -> dict[str, Any]:
        """Raises GoogleError 404."""
        if name not in self._operations:
            raise GoogleError(404, f"The operation does not exist: {name}")
        return self._operations[name]

    def _settle(self, name: str, resource: Resource) -> dict[str, Any]:
        try:
            _check_source(resource)
        except ValueError as refused:
            return self._done(name, {"error": {"code": 3, "message": str(refused), "status": "INVALID_ARGUMENT"}})
        if name == self._built_in:
            self._always = resource
        else:
            self._kept[name] = resource
            self._save()
        kind = "type.googleapis.com/google.cloud.aiplatform.v1beta1.ReasoningEngine"
        return self._done(name, {"response": {"@type": kind, **resource}})

    def _done(self, name: str, outcome: dict[str, Any]) -> dict[str, Any]:
        operation = {"name": f"{name}/operations/{time.time_ns()}", "done": True, **outcome}
        self._operations[operation["name"]] = operation
        return operation

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self._kept), "utf-8")
        partial.replace(self._file)


def _proto_json(value: Any) -> Any:
    """Field names as proto3's JSON writes them; it reads `class_methods` and `classMethods` alike.

    Class methods themselves are free-form structures, and stay as they are.
    """
    if isinstance(value, list):
        return [_proto_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {_camel(name): item for name, item in value.items()}
    return {name: item if name in _FREE_FORM else _proto_json(item) for name, item in named.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _check_source(resource: Resource) -> None:
    """What Agent Runtime's build would refuse in a source deployment.

    Raises:
        ValueError: the archive cannot be read, or lacks its entry point or its requirements.
    """
    source = resource.get("spec", {}).get("sourceCodeSpec")
    if source is None:
        return
    python = source.get("pythonSpec", {})
    wanted = {
        f"{python.get('entrypointModule', '').replace('.', '/')}.py",
        python.get("requirementsFile", "requirements.txt"),
    }
    try:
        # proto3's JSON accepts either alphabet of base64, and the official client sends the one for addresses.
        packed = base64.b64decode(source["inlineSource"]["sourceArchive"], altchars=b"-_")
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            held = {name.removeprefix("./") for name in archive.getnames()}
    except (KeyError, ValueError, OSError, tarfile.TarError) as broken:
        raise ValueError(f"The source archive cannot be read: {type(broken).__name__}.") from None
    if missing := sorted(wanted - held):
        raise ValueError(f"The source archive lacks {', '.join(missing)}.")
