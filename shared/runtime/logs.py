"""Structured logs: one JSON object a line on standard output, with the field names Cloud Logging understands.

https://cloud.google.com/logging/docs/structured-logging. Messages are static sentences; what varies goes into fields.
Never content, tokens, keys or addresses of people.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from shared.runtime import telemetry

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
