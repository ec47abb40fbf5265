"""What requests to Cloud Tasks must look like, and what is filled in where they leave something open.

Limits: https://cloud.google.com/tasks/docs/quotas and the descriptions in the client's types. Sentences are the
service's own where they are known, since people search for them.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final
from urllib.parse import quote

from google.cloud.tasks_v2 import types
from google.protobuf import duration_pb2, field_mask_pb2

from local.backoff import Backoff
from local.delivery import BODY_METHODS, MAX_HEADER_BYTES, MAX_URL_CHARACTERS
from local.refusals import Refusal, invalid, not_found

DAY: Final = 24 * 3600
MAX_TASK_BYTES: Final = 1024 * 1024
MAX_SCHEDULE_SECONDS: Final = 30 * DAY
RETENTION_SECONDS: Final = 31 * DAY
MAX_DISPATCHES_PER_SECOND: Final = 500.0
MAX_CONCURRENT: Final = 5000
DEFAULT_CONCURRENT: Final = 1000
DEFAULT_ATTEMPTS: Final = 100
DEFAULT_DOUBLINGS: Final = 16
DEFAULT_MIN_BACKOFF_SECONDS: Final = 0.1
DEFAULT_MAX_BACKOFF_SECONDS: Final = 3600.0
DEFAULT_DEADLINE_SECONDS: Final = 600
DEADLINE_SECONDS: Final = (15, 1800)
# Cloud Tasks chooses the burst itself; "generally at least equal to the rate" is all that it says of it.
LEAST_BURST: Final = 10

_PROJECT: Final = r"projects/[A-Za-z0-9.:-]+"
LOCATION: Final = re.compile(rf"{_PROJECT}/locations/[a-z0-9-]+")
QUEUE: Final = re.compile(rf"({_PROJECT}/locations/[a-z0-9-]+)/queues/([A-Za-z0-9-]{{1,100}})")
TASK: Final = re.compile(rf"({_PROJECT}/locations/[a-z0-9-]+/queues/[A-Za-z0-9-]{{1,100}})/tasks/(.*)", re.DOTALL)
_TASK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,500}")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_OUTPUT_ONLY: Final = frozenset({"name", "state", "purge_time", "rate_limits.max_burst_size"})


def no_queue() -> Refusal:
    return not_found(
        "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
    )


def no_entity() -> Refusal:
    return not_found("Requested entity was not found.")


def checked_location(name: str) -> str:
    if not LOCATION.fullmatch(name):
        raise invalid('Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>".')
    return name


def checked_queue_name(name: str) -> str:
    if not QUEUE.fullmatch(name):
        raise invalid(
            'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".'
        )
    return name


def checked_task_name(name: str) -> str:
    """The task's name. Raises Refusal where it is none."""
    match = TASK.fullmatch(name)
    if match is None:
        raise invalid(
            'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/'
            '<TASK_ID>".'
        )
    if not _TASK_ID.fullmatch(match[2]):
        raise invalid(
            f'Task ID "{match[2][:600]}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or '
            "underscores (_). Task ID must between 1 and 500 characters."
        )
    return name


def queue_of(task_name: str) -> str:
    return task_name.rsplit("/tasks/", 1)[0]


def short(name: str) -> str:
    """The last part of a resource name."""
    return name.rsplit("/", 1)[1]


def seconds(duration: Any) -> float:
    """A duration of a message in seconds; 0 where it is not set."""
    return float(duration.total_seconds()) if duration is not None else 0.0


def duration(length_seconds: float) -> duration_pb2.Duration:
    made = duration_pb2.Duration()
    made.FromNanoseconds(round(length_seconds * 1e9))
    return made


# Queues


def completed_queue(queue: Any) -> Any:
    """Check a queue's settings and fill in the defaults, in place.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    if "app_engine_routing_override" in queue:
        raise invalid("The local stand-in has no App Engine: app_engine_routing_override cannot be used.")
    _complete_rates(queue.rate_limits)
    complete_retries(queue.retry_config, "RetryConfig")
    if "http_target" in queue:
        _check_target(queue.http_target)
    if not 0 <= queue.stackdriver_logging_config.sampling_ratio <= 1:
        raise invalid("StackdriverLoggingConfig.samplingRatio must lie between 0.0 and 1.0.")
    return queue


def _complete_rates(limits: Any) -> None:
    if limits.max_dispatches_per_second < 0:
        raise invalid("RateLimits.maxDispatchesPerSecond cannot be negative.")
    if not limits.max_dispatches_per_second <= MAX_DISPATCHES_PER_SECOND:
        raise invalid("RateLimits.maxDispatchesPerSecond must be less than or equal to 500.")
    if limits.max_concurrent_dispatches < 0:
        raise invalid("RateLimits.maxConcurrentDispatches cannot be negative.")
    if limits.max_concurrent_dispatches > MAX_CONCURRENT:
        raise invalid("RateLimits.maxConcurrentDispatches must be less than or equal to 5000.")
    limits.max_dispatches_per_second = limits.max_dispatches_per_second or MAX_DISPATCHES_PER_SECOND
    limits.max_concurrent_dispatches = limits.max_concurrent_dispatches or DEFAULT_CONCURRENT
    limits.max_burst_size = max(LEAST_BURST, math.ceil(limits.max_dispatches_per_second))


def complete_retries(retries: Any, named: str) -> None:
    """Check a retry configuration and fill in the defaults, in place. `named` is how a refusal calls it."""
    if retries.max_attempts < -1:
        raise invalid(f"{named}.maxAttempts must be greater or equal to -1.")
    if retries.max_doublings < 0:
        raise invalid(f"{named}.maxDoublings cannot be negative.")
    for field in ("min_backoff", "max_backoff", "max_retry_duration"):
        if field in retries and seconds(getattr(retries, field)) < 0:
            camel = re.sub(r"_(.)", lambda found: found[1].upper(), field)
            raise invalid(f"{named}.{camel} cannot be negative.")
    lowest = seconds(retries.min_backoff) or DEFAULT_MIN_BACKOFF_SECONDS
    highest = seconds(retries.max_backoff) or max(DEFAULT_MAX_BACKOFF_SECONDS, lowest)
    if lowest > highest:
        raise invalid(f"{named}.minBackoff must be less than or equal to {named}.maxBackoff.")
    retries.max_attempts = retries.max_attempts or DEFAULT_ATTEMPTS
    retries.max_doublings = retries.max_doublings or DEFAULT_DOUBLINGS
    retries.min_backoff, retries.max_backoff = duration(lowest), duration(highest)
    if "max_retry_duration" in retries:
        retries.max_retry_duration = duration(float(math.floor(seconds(retries.max_retry_duration))))


def backoff_of(retries: Any) -> Backoff:
    return Backoff(seconds(retries.min_backoff), seconds(retries.max_backoff), retries.max_doublings)


def _check_target(target: Any) -> None:
    uri = target.uri_override
    if "host" in uri and not uri.host:
        raise invalid("UriOverride.host cannot be an empty string.")
    if "port" in uri and not 0 <= uri.port <= 65_535:
        raise invalid("UriOverride.port must be a port number; 0 clears the port.")
    if "oidc_token" in target and not (target.oidc_token.service_account_email and target.oidc_token.audience):
        raise invalid("HttpTarget.oidcToken needs both the service account email and the audience.")
    if "oauth_token" in target and not (target.oauth_token.service_account_email and target.oauth_token.scope):
        raise invalid("HttpTarget.oauthToken needs both the service account email and the scope.")
    _check_headers({override.header.key: override.header.value for override in target.header_overrides})


def merged_queue(stored: Any, wanted: Any, mask: Any) -> Any:
    """The stored queue with the wanted queue's fields, or those that the mask names.

    Raises:
        Refusal: the mask names a field that queues do not have.
    """
    merged = types.Queue.deserialize(types.Queue.serialize(stored))
    paths = [path for path in mask.paths if path not in _OUTPUT_ONLY] if mask.paths else _all_settable()
    chosen = field_mask_pb2.FieldMask(paths=paths)
    if not chosen.IsValidForDescriptor(types.Queue.pb(wanted).DESCRIPTOR):
        raise invalid(f"update_mask names fields that a queue does not have: {', '.join(paths)}.")
    chosen.MergeMessage(
        types.Queue.pb(wanted), types.Queue.pb(merged), replace_message_field=True, replace_repeated_field=True
    )
    return merged


def _all_settable() -> list[str]:
    return [name for name in types.Queue.meta.fields if name not in _OUTPUT_ONLY]


# Tasks


def completed_task(task: Any, now: float) -> Any:
    """Check a new task and fill in the defaults, in place; what is the service's own to say is taken out.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    if "http_request" not in task:
        raise invalid("Task.httpRequest is required: the local stand-in has no App Engine to send tasks to.")
    _check_request(task.http_request)
    _check_times(task, now)
    if "retry_config" in task:
        complete_retries(task.retry_config, "Task.retryConfig")
    for field in ("create_time", "first_attempt", "last_attempt"):
        setattr(task, field, None)
    task.dispatch_count = task.response_count = 0
    task.view = types.Task.View.VIEW_UNSPECIFIED
    if len(types.Task.serialize(task)) > MAX_TASK_BYTES:
        raise invalid("Task size too large: the maximum size of a task is 1 MB.")
    return task


def _check_request(request: Any) -> None:
    if not request.url:
        raise invalid("HttpRequest.url is required.")
    if not request.url.startswith(("http://", "https://")):
        raise invalid("HttpTarget.url must start with 'http://' or 'https://'.")
    if len(encoded_url(request.url)) > MAX_URL_CHARACTERS:
        raise invalid("HttpRequest.url must be at most 2083 characters after encoding.")
    request.http_method = request.http_method or types.HttpMethod.POST
    if request.body and types.HttpMethod(request.http_method).name not in BODY_METHODS:
        raise invalid("HttpRequest.body is allowed only if the HTTP method is POST, PUT, or PATCH.")
    if "oidc_token" in request and not request.oidc_token.service_account_email:
        raise invalid("HttpRequest.oidcToken.serviceAccountEmail is required.")
    if "oauth_token" in request and not request.oauth_token.service_account_email:
        raise invalid("HttpRequest.oauthToken.serviceAccountEmail is required.")
    _check_headers(request.headers)


def _check_headers(headers: Any) -> None:
    for name, value in headers.items():
        if not _FIELD_NAME.fullmatch(name) or any(character in value for character in "\r\n\0"):
            raise invalid(f"Header {name[:100]!r} is not a valid HTTP header.")
    if sum(len(name.encode()) + len(value.encode()) for name, value in headers.items()) >= MAX_HEADER_BYTES:
        raise invalid("The size of the headers must be less than 80KB.")


def _check_times(task: Any, now: float) -> None:
    if "schedule_time" in task and task.schedule_time.timestamp() > now + MAX_SCHEDULE_SECONDS:
        raise invalid("Task.scheduleTime must be at most 30 days in the future.")
    if "dispatch_deadline" not in task:
        task.dispatch_deadline = duration(DEFAULT_DEADLINE_SECONDS)
    least, most = DEADLINE_SECONDS
    if not least <= seconds(task.dispatch_deadline) <= most:
        raise invalid("Task.dispatchDeadline must be between [15s, 30m].")


def encoded_url(url: str) -> str:
    """The URL with what may not stand in one percent-encoded."""
    return quote(url, safe="!#$%&'()*+,/:;=?@[]~")


def viewed(task: Any, view: Any) -> Any:
    """The task as an answer shows it: without its body, unless the view is FULL."""
    shown = types.Task.deserialize(types.Task.serialize(task))
    if view == types.Task.View.FULL:
        shown.view = types.Task.View.FULL
        return shown
    shown.view = types.Task.View.BASIC
    shown.http_request.body = b""
    return shown
