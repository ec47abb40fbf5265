"""Structured logs: one JSON object a line on standard output, with the field names Cloud Logging understands.

https://cloud.google.com/logging/docs/structured-logging. Messages are static sentences; what varies goes into fields.
Never content, tokens, keys or addresses of people. So an exception is written as where it came from and of what kind it
is: its own words are often somebody else's, a provider's or the database's, and quote what they were given.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from shared.runtime import telemetry
from shared.runtime.errors import OprinaError

_SEVERITIES = {"WARN": "WARNING", "FATAL": "CRITICAL"}
_LOGGER = "oprina"


class _CloudFormatter(JsonFormatter):
    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data["severity"] = _SEVERITIES.get(record.levelname, record.levelname)
        trace = telemetry.current()
        if trace is None:
            return
        log_data["request_id"] = trace.request_id
        project = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
        log_data["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace.trace_id}"
        log_data["logging.googleapis.com/spanId"] = trace.span_id
        log_data["logging.googleapis.com/trace_sampled"] = trace.sampled

    def formatException(self, ei: Any) -> str:  # noqa: N802 - named by logging
        return "\n".join(_lines(ei[1])) if ei[1] is not None else ""


def _lines(error: BaseException) -> Iterator[str]:
    """An exception after what caused it, without the words of any of them; notes are ours and are told."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _lines(before)
        yield "which led to"
    yield "Traceback (most recent call last):"
    yield from (line.rstrip("\n") for line in traceback.format_tb(error.__traceback__))
    kind = type(error)
    yield f"{kind.__module__}.{kind.__qualname__}" + (f" ({error.code})" if isinstance(error, OprinaError) else "")
    yield from getattr(error, "__notes__", [])
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _lines(part)


def logger() -> logging.Logger:
    """The product's logger, set up at the first call. Its lines do not pass through the root logger."""
    log = logging.getLogger(_LOGGER)
    if not log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(_CloudFormatter("%(message)s", timestamp=True))
        log.addHandler(handler)
        log.setLevel(os.environ.get("LOG_LEVEL", "INFO"))
        log.propagate = False
    return log
