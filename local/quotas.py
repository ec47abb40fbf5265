"""The project's quotas, refused as Google refuses them: so many requests in a minute of the clock.

The figures and the shape of the refusal (google.rpc.ErrorInfo, QuotaFailure and RetryInfo in the status details) follow
https://cloud.google.com/speech-to-text/quotas, https://cloud.google.com/text-to-speech/quotas and
https://google.aip.dev/193. What a window has left is not kept across restarts.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2  # type: ignore[import-untyped]

from local.refusals import Refusal

WINDOW_SECONDS = 60


@dataclass(frozen=True)
class Quota:
    """One limit that some methods of a service share: `per_minute` requests, 0 meaning no limit."""

    metric: str
    methods: frozenset[str]
    per_minute: int


class Quotas:
    """Counts the calls of one service against its quotas; one instance for each server process."""

    def __init__(
        self, service: str, project: str, quotas: Iterable[Quota], clock: Callable[[], float] = time.time
    ) -> None:
        """`service` as in "speech.googleapis.com"; `clock` gives seconds since the epoch."""
        self._service = service
        self._project = project
        self._clock = clock
        self._by_method = {method: quota for quota in quotas if quota.per_minute for method in quota.methods}
        self._window = -1
        self._used: dict[str, int] = {}

    def take(self, method: str) -> None:
        """Take one request of `method`.

        Raises:
            Refusal: RESOURCE_EXHAUSTED, when the minute's requests are used up. A refused request costs nothing.
        """
        quota = self._by_method.get(method)
        if quota is None:
            return
        now = self._clock()
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._window, self._used = window, {}
        used = self._used.get(quota.metric, 0)
        if used >= quota.per_minute:
            raise self._refusal(quota, math.ceil((window + 1) * WINDOW_SECONDS - now))
        self._used[quota.metric] = used + 1

    def used(self, metric: str) -> int:
        """Requests taken from `metric` in the current minute."""
        current = int(self._clock() // WINDOW_SECONDS) == self._window
        return self._used.get(metric, 0) if current else 0

    def _refusal(self, quota: Quota, wait_seconds: int) -> Refusal:
        sentence = (
            f"Quota exceeded for quota metric '{quota.metric}' and limit '{quota.metric} per minute' of service "
            f"'{self._service}' for consumer 'project:{self._project}'."
        )
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence, self._details(quota, sentence, wait_seconds))

    def _details(self, quota: Quota, sentence: str, wait_seconds: int) -> tuple[Any, ...]:
        consumer = f"projects/{self._project}"
        violation = error_details_pb2.QuotaFailure.Violation(subject=consumer, description=sentence)
        return (
            error_details_pb2.ErrorInfo(
                reason="RATE_LIMIT_EXCEEDED",
                domain="googleapis.com",
                metadata={
                    "service": self._service,
                    "consumer": consumer,
                    "quota_metric": quota.metric,
                    "quota_limit": f"{quota.metric} per minute",
                    "quota_limit_value": str(quota.per_minute),
                },
            ),
            error_details_pb2.QuotaFailure(violations=[violation]),
            error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=max(wait_seconds, 1))),
        )


def speech_quotas(
    project: str, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.time
) -> Quotas:
    """QUOTA_SPEECH_RECOGNIZE_PER_MINUTE (300) and QUOTA_SPEECH_STREAMING_PER_MINUTE (60: 300 sessions in 5 minutes)."""
    return Quotas(
        "speech.googleapis.com",
        project,
        (
            Quota(
                "Recognize requests",
                frozenset({"Recognize"}),
                _rate(environment, "QUOTA_SPEECH_RECOGNIZE_PER_MINUTE", 300),
            ),
            Quota(
                "Streaming recognition sessions",
                frozenset({"StreamingRecognize"}),
                _rate(environment, "QUOTA_SPEECH_STREAMING_PER_MINUTE", 60),
            ),
        ),
        clock,
    )


def texttospeech_quotas(
    project: str, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.time
) -> Quotas:
    """QUOTA_TEXTTOSPEECH_PER_MINUTE (200): Chirp 3 requests, a stream counting as one."""
    return Quotas(
        "texttospeech.googleapis.com",
        project,
        (
            Quota(
                "Chirp3 requests",
                frozenset({"SynthesizeSpeech", "StreamingSynthesize"}),
                _rate(environment, "QUOTA_TEXTTOSPEECH_PER_MINUTE", 200),
            ),
        ),
        clock,
    )


def _rate(environment: Mapping[str, str], name: str, default: int) -> int:
    raw = environment.get(name) or str(default)
    if not raw.isdecimal():
        raise ValueError(f"{name}={raw} is not a number of requests (0 means no limit).")
    return int(raw)
