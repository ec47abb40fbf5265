"""What the stand-ins are told to do wrong, kept in one file that any process may replace.

The file is JSON: {stand-in: {method: {spare, delay_ms, fail_rate, status, says, lose_answer, duplicate, reorder, seed,
nonsense, silent}}}, where the method "*" holds for every method that is not named. A stand-in asks before each call;
the console writes.
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

GRPC_STAND_INS: Final = frozenset({"speech", "texttospeech", "secrets", "firestore", "tasks", "scheduler"})
HTTP_STAND_INS: Final = frozenset({"supabase", "agent", "google", "liveavatar", "heygen", "s3"})
# Those that can also forget what they are (`nonsense`, `silent`).
PROVIDERS: Final = frozenset({"liveavatar", "heygen"})
# Those that send something out, and can do so out of order.
SENDERS: Final = frozenset({"tasks", "scheduler", "heygen"})
STAND_INS: Final = GRPC_STAND_INS | HTTP_STAND_INS | {"smtp"}
EVERY_METHOD: Final = "*"
# What the queue and the scheduler send out, beside the calls they take: `Deliver`, or `Deliver/NAME` for one queue or
# job. A delivery fails with an HTTP status, as if the worker had answered it.
DELIVER: Final = "Deliver"

log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


class Fault(BaseModel):
    """What happens to a call, in this order: wait, fail, or else do the work and perhaps lose the answer.

    The first `spare` calls after the fault was set go through unharmed, so that a later step of something can fail.

    `status` is the name of a gRPC code, an HTTP status or an SMTP reply code, as the stand-in speaks; without one a
    call that fails is answered as "unavailable". `says` is the sentence it fails with. `duplicate` delivers the request
    twice, as a network does.

    Of what is sent only: `reorder` takes the deliveries that are due in a random order, webhooks newest first. With a
    `seed` everything that chance decides about deliveries comes out the same each time, one after the other.

    Of the providers of avatars only: `nonsense` answers with status 200 and a page that is none of theirs, `silent`
    takes the request and never answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spare: int = Field(default=0, ge=0)
    delay_ms: int = Field(default=0, ge=0, le=600_000)
    fail_rate: float | None = Field(default=None, ge=0, le=1)
    status: str | int | None = None
    says: str | None = Field(default=None, max_length=2000, pattern=r"^[ -~]*$")
    lose_answer: bool = False
    duplicate: bool = False
    reorder: bool = False
    seed: int | None = None
    nonsense: bool = False
    silent: bool = False

    def should_fail(self, chance: random.Random | None = None) -> bool:
        """Whether this call is one of those that fail: always where only a status is given."""
        rate = (0.0 if self.status is None else 1.0) if self.fail_rate is None else self.fail_rate
        return (chance or random).random() < rate

    @property
    def grpc_status(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE if self.status is None else grpc.StatusCode[str(self.status)]

    @property
    def http_status(self) -> int:
        return 503 if self.status is None else int(self.status)


NO_FAULT: Final = Fault()
_ANY_CHANCE: Final = random.Random()  # noqa: S311 - chance, not secrecy


class _Faults(RootModel[dict[str, dict[str, Fault]]]):
    @model_validator(mode="after")
    def _statuses_are_the_stand_ins_own(self) -> _Faults:
        for stand_in, methods in self.root.items():
            if stand_in not in STAND_INS:
                raise ValueError(f"There is no stand-in named {stand_in}; known are {', '.join(sorted(STAND_INS))}.")
            for method, fault in methods.items():
                if not _speaks(stand_in, method, fault.status):
                    raise ValueError(f"{stand_in}.{method} cannot answer with the status {fault.status}.")
                if (fault.nonsense or fault.silent) and stand_in not in PROVIDERS:
                    raise ValueError(f"{stand_in}.{method} can be neither nonsense nor silent.")
                if fault.reorder and stand_in not in SENDERS:
                    raise ValueError(f"{stand_in}.{method} sends nothing that could be out of order.")
        return self


def _is_delivery(method: str) -> bool:
    return method == DELIVER or method.startswith(f"{DELIVER}/")


def _speaks(stand_in: str, method: str, status: str | int | None) -> bool:
    if status is None:
        return True
    if stand_in in GRPC_STAND_INS and not _is_delivery(method):
        return status in grpc.StatusCode.__members__ and status != "OK"
    return str(status).isdecimal() and 400 <= int(status) <= 599


class FaultBook:
    """The faults of one local cloud, read again whenever the file at `path` has changed (one stat a call)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: _Stamp | None = None
        self._faults: Mapping[str, Mapping[str, Fault]] = {}
        self._spared: Counter[tuple[str, str]] = Counter()
        self._chances: dict[tuple[str, int], random.Random] = {}

    def for_call(self, stand_in: str, method: str) -> Fault:
        """What to do wrong in this call; `NO_FAULT` where nothing is asked."""
        methods = self._current().get(stand_in)
        if not methods:
            return NO_FAULT
        return self._unless_spared(stand_in, method, methods.get(method) or methods.get(EVERY_METHOD) or NO_FAULT)

    def for_delivery(self, stand_in: str, name: str) -> Fault:
        """What to do wrong in a delivery of the queue or job `name` (the last part of its resource name)."""
        return self._unless_spared(stand_in, DELIVER, self.standing_for_delivery(stand_in, name))

    def standing_for_delivery(self, stand_in: str, name: str) -> Fault:
        """What is asked of the deliveries of `name`, without counting one of them."""
        methods = self._current().get(stand_in, {})
        return methods.get(f"{DELIVER}/{name}") or methods.get(DELIVER) or NO_FAULT

    def chance(self, stand_in: str, fault: Fault) -> random.Random:
        """What decides by chance for a fault: repeatable where it has a seed, begun anew when the faults are set."""
        if fault.seed is None:
            return _ANY_CHANCE
        return self._chances.setdefault((stand_in, fault.seed), random.Random(fault.seed))  # noqa: S311 - not secrecy

    def _unless_spared(self, stand_in: str, method: str, fault: Fault) -> Fault:
        if self._spared[stand_in, method] < fault.spare:
            self._spared[stand_in, method] += 1
            return NO_FAULT
        return fault

    def standing(self, stand_in: str, method: str) -> Fault:
        """What is asked of a method, without counting a call."""
        methods = self._current().get(stand_in, {})
        return methods.get(method) or methods.get(EVERY_METHOD) or NO_FAULT

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
            self._chances.clear()
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
