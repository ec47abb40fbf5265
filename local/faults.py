"""What the stand-ins are told to do wrong, kept in one file that any process may replace.

The file is JSON: {stand-in: {method: {spare, delay_ms, fail_rate, status, lose_answer, duplicate}}}, where the method
"*" holds for every method that is not named. A stand-in asks before each call; the console writes.
"""

from __future__ import annotations

import json
import logging
import os
import random
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import grpc
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

GRPC_STAND_INS: Final = frozenset({"speech", "texttospeech", "secrets"})
HTTP_STAND_INS: Final = frozenset({"supabase", "agent", "s3"})
STAND_INS: Final = GRPC_STAND_INS | HTTP_STAND_INS | {"smtp"}
EVERY_METHOD: Final = "*"

log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


class Fault(BaseModel):
    """What happens to a call, in this order: wait, fail, or else do the work and perhaps lose the answer.

    The first `spare` calls after the fault was set go through unharmed, so that a later step of something can fail.

    `status` is the name of a gRPC code, an HTTP status or an SMTP reply code, as the stand-in speaks; without one a
    call that fails is answered as "unavailable". `duplicate` delivers the request twice, as a network does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spare: int = Field(default=0, ge=0)
    delay_ms: int = Field(default=0, ge=0, le=600_000)
    fail_rate: float | None = Field(default=None, ge=0, le=1)
    status: str | int | None = None
    lose_answer: bool = False
    duplicate: bool = False

    def should_fail(self) -> bool:
        """Whether this call is one of those that fail: always where only a status is given."""
        rate = (0.0 if self.status is None else 1.0) if self.fail_rate is None else self.fail_rate
        return random.random() < rate  # noqa: S311 - chance, not secrecy

    @property
    def grpc_status(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE if self.status is None else grpc.StatusCode[str(self.status)]

    @property
    def http_status(self) -> int:
        return 503 if self.status is None else int(self.status)


NO_FAULT: Final = Fault()


class _Faults(RootModel[dict[str, dict[str, Fault]]]):
    @model_validator(mode="after")
    def _statuses_are_the_stand_ins_own(self) -> _Faults:
        for stand_in, methods in self.root.items():
            if stand_in not in STAND_INS:
                raise ValueError(f"There is no stand-in named {stand_in}; known are {', '.join(sorted(STAND_INS))}.")
            for method, fault in methods.items():
                if not _speaks(stand_in, fault.status):
                    raise ValueError(f"{stand_in}.{method} cannot answer with the status {fault.status}.")
        return self


def _speaks(stand_in: str, status: str | int | None) -> bool:
    if status is None:
        return True
    if stand_in in GRPC_STAND_INS:
        return status in grpc.StatusCode.__members__ and status != "OK"
    return str(status).isdecimal() and 400 <= int(status) <= 599


class FaultBook:
    """The faults of one local cloud, read again whenever the file at `path` has changed (one stat a call)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: _Stamp | None = None
        self._faults: Mapping[str, Mapping[str, Fault]] = {}
        self._spared: Counter[tuple[str, str]] = Counter()

    def for_call(self, stand_in: str, method: str) -> Fault:
        """What to do wrong in this call; `NO_FAULT` where nothing is asked."""
        methods = self._current().get(stand_in)
        if not methods:
            return NO_FAULT
        fault = methods.get(method) or methods.get(EVERY_METHOD) or NO_FAULT
        if self._spared[stand_in, method] < fault.spare:
            self._spared[stand_in, method] += 1
            return NO_FAULT
        return fault

    def read(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Everything that is asked, as JSON holds it; only what differs from no fault."""
        return {
            stand_in: {method: fault.model_dump(exclude_defaults=True) for method, fault in methods.items()}
            for stand_in, methods in self._current().items()
        }

    def write(self, faults: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace everything that is asked, in one step that no reader can see half of.

        Raises:
            ValueError: an unknown stand-in, an unknown field, or a status that the stand-in does not speak. Nothing is
                changed then.
        """
        try:
            checked = _Faults.model_validate(faults)
        except ValidationError as error:
            raise ValueError("; ".join(_say(item) for item in error.errors(include_url=False))) from None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(checked.model_dump_json(exclude_defaults=True, indent=2))
        Path(name).replace(self._path)

    def _current(self) -> Mapping[str, Mapping[str, Fault]]:
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._spared.clear()
            self._faults = {} if stamp is None else self._load()
        return self._faults

    def _look(self) -> _Stamp | None:
        try:
            seen = self._path.stat()
        except FileNotFoundError:
            return None
        return seen.st_mtime_ns, seen.st_ino, seen.st_size

    def _load(self) -> Mapping[str, Mapping[str, Fault]]:
        """A file that somebody broke by hand changes nothing: a stand-in must not fall over it."""
        try:
            return _Faults.model_validate(json.loads(self._path.read_text(encoding="utf-8"))).root
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read and is left aside: %s", self._path, error)
            return self._faults


def _say(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    sentence = cast("str", item["msg"]).removeprefix("Value error, ")
    return f"{where}: {sentence}" if where else sentence
