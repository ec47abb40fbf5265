"""What requests to Cloud Scheduler must look like, and what is filled in where they leave something open.

Limits: https://cloud.google.com/scheduler/quotas and the descriptions in the client's types.
"""

from __future__ import annotations

import re
from typing import Any, Final

from google.cloud.scheduler_v1 import types
from google.protobuf import duration_pb2, field_mask_pb2

from local.backoff import Backoff
from local.delivery import BODY_METHODS, MAX_HEADER_BYTES, MAX_URL_CHARACTERS
from local.refusals import invalid
from local.scheduler.cron import BadSchedule, Cron, cron

MAX_JOB_BYTES: Final = 1024 * 1024
MAX_DESCRIPTION: Final = 500
MAX_RETRIES: Final = 5
DEFAULT_DEADLINE_SECONDS: Final = 180.0
DEADLINE_SECONDS: Final = (15, 1800)
DEFAULT_MIN_BACKOFF_SECONDS: Final = 5.0
DEFAULT_MAX_BACKOFF_SECONDS: Final = 3600.0
DEFAULT_DOUBLINGS: Final = 5

_LOCATION: Final = re.compile(r"projects/[A-Za-z0-9.:-]+/locations/[a-z0-9-]+")
_JOB: Final = re.compile(rf"({_LOCATION.pattern})/jobs/[A-Za-z0-9_-]{{1,500}}")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OUTPUT_ONLY: Final = frozenset({"name", "user_update_time", "state", "status", "schedule_time", "last_attempt_time"})


def checked_location(name: str) -> str:
    if not _LOCATION.fullmatch(name):
        raise invalid('Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>".')
    return name


def checked_job_name(name: str) -> str:
    if not _JOB.fullmatch(name):
        raise invalid('Job name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/jobs/<JOB_ID>".')
    return name


def location_of(name: str) -> str:
    return name.rsplit("/jobs/", 1)[0]


def short(name: str) -> str:
    """The last part of a resource name."""
    return name.rsplit("/", 1)[1]


def seconds(duration: Any) -> float:
    """A duration of a message in seconds; 0 where it is not set."""
    return float(duration.total_seconds()) if duration is not None else 0.0


def _duration(length_seconds: float) -> duration_pb2.Duration:
    made = duration_pb2.Duration()
    made.FromNanoseconds(round(length_seconds * 1e9))
    return made


def cron_of(job: Any) -> Cron:
    """The job's schedule. Raises BadSchedule."""
    return cron(job.schedule, job.time_zone)


def backoff_of(job: Any) -> Backoff:
    retries = job.retry_config
    return Backoff(seconds(retries.min_backoff_duration), seconds(retries.max_backoff_duration), retries.max_doublings)


def completed_job(job: Any) -> Any:
    """Check a job's settings and fill in the defaults, in place.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    if "http_target" not in job:
        raise invalid("Job.httpTarget is required: the local stand-in has no Pub/Sub and no App Engine.")
    if len(job.description) > MAX_DESCRIPTION:
        raise invalid("Job.description must not contain more than 500 characters.")
    _check_target(job.http_target)
    try:
        cron_of(job)
    except BadSchedule as refused:
        raise invalid(str(refused)) from None
    job.time_zone = job.time_zone or "Etc/UTC"
    _complete_retries(job.retry_config)
    job.attempt_deadline = _duration(seconds(job.attempt_deadline) or DEFAULT_DEADLINE_SECONDS)
    least, most = DEADLINE_SECONDS
    if not least <= seconds(job.attempt_deadline) <= most:
        raise invalid("Job.attemptDeadline must be between [15s, 30m].")
    if len(types.Job.serialize(job)) > MAX_JOB_BYTES:
        raise invalid("Job size too large: the maximum size of a job is 1 MB.")
    return job


def _check_target(target: Any) -> None:
    if not target.uri.startswith(("http://", "https://")):
        raise invalid("HttpTarget.uri is required and must start with 'http://' or 'https://'.")
    if len(target.uri) > MAX_URL_CHARACTERS:
        raise invalid("HttpTarget.uri must be at most 2083 characters.")
    target.http_method = target.http_method or types.HttpMethod.POST
    if target.body and types.HttpMethod(target.http_method).name not in BODY_METHODS:
        raise invalid("HttpTarget.body is allowed only if the HTTP method is POST, PUT, or PATCH.")
    for token in ("oidc_token", "oauth_token"):
        if token in target and not getattr(target, token).service_account_email:
            raise invalid(f"HttpTarget.{token} needs the service account email.")
    for name, value in target.headers.items():
        if not _FIELD_NAME.fullmatch(name) or any(character in value for character in "\r\n\0"):
            raise invalid(f"Header {name[:100]!r} is not a valid HTTP header.")
    if sum(len(name.encode()) + len(value.encode()) for name, value in target.headers.items()) >= MAX_HEADER_BYTES:
        raise invalid("The total size of headers must be less than 80KB.")


def _complete_retries(retries: Any) -> None:
    if not 0 <= retries.retry_count <= MAX_RETRIES:
        raise invalid("RetryConfig.retryCount must be between 0 and 5.")
    if retries.max_doublings < 0:
        raise invalid("RetryConfig.maxDoublings cannot be negative.")
    for field in ("max_retry_duration", "min_backoff_duration", "max_backoff_duration"):
        if seconds(getattr(retries, field)) < 0:
            raise invalid(f"RetryConfig.{field} cannot be negative.")
    lowest = seconds(retries.min_backoff_duration) or DEFAULT_MIN_BACKOFF_SECONDS
    highest = seconds(retries.max_backoff_duration) or max(DEFAULT_MAX_BACKOFF_SECONDS, lowest)
    if lowest > highest:
        raise invalid("RetryConfig.minBackoffDuration must be less than or equal to RetryConfig.maxBackoffDuration.")
    retries.min_backoff_duration, retries.max_backoff_duration = _duration(lowest), _duration(highest)
    retries.max_retry_duration = _duration(seconds(retries.max_retry_duration))
    retries.max_doublings = retries.max_doublings or DEFAULT_DOUBLINGS


def merged_job(stored: Any, wanted: Any, mask: Any) -> Any:
    """The stored job with the wanted job's fields, or those that the mask names.

    Raises:
        Refusal: the mask names a field that jobs do not have.
    """
    merged = types.Job.deserialize(types.Job.serialize(stored))
    fields = mask.paths or [name for name in types.Job.meta.fields if name in wanted or name == "description"]
    chosen = field_mask_pb2.FieldMask(paths=[path for path in fields if path not in _OUTPUT_ONLY])
    if not chosen.IsValidForDescriptor(types.Job.pb(wanted).DESCRIPTOR):
        raise invalid(f"update_mask names fields that a job does not have: {', '.join(mask.paths)}.")
    chosen.MergeMessage(
        types.Job.pb(wanted), types.Job.pb(merged), replace_message_field=True, replace_repeated_field=True
    )
    return merged
