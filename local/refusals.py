"""How a gRPC stand-in says no: a status, a sentence, and the details Google's services attach."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import status_pb2  # type: ignore[import-untyped]

DETAILS_KEY = "grpc-status-details-bin"
_BAD_REQUEST = grpc.StatusCode.INVALID_ARGUMENT


class Refusal(Exception):
    """An error status that a stand-in answers with. `details` are google.rpc messages (https://google.aip.dev/193)."""

    def __init__(self, code: grpc.StatusCode, sentence: str, details: tuple[Any, ...] = ()) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.details = details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The details as gRPC carries them; nothing where there are none."""
        if not self.details:
            return ()
        status = status_pb2.Status(code=self.code.value[0], message=self.sentence)
        for detail in self.details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return ((DETAILS_KEY, status.SerializeToString()),)


def invalid(sentence: str) -> Refusal:
    return Refusal(_BAD_REQUEST, sentence)


def not_found(sentence: str) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, sentence)


def failed_precondition(sentence: str) -> Refusal:
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, sentence)
