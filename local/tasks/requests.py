"""The HTTP request that a task becomes: the queue's overrides, the credential, and the headers that Cloud Tasks adds.

https://cloud.google.com/tasks/docs/creating-http-target-tasks and .../docs/creating-appengine-handlers for the headers;
that TaskExecutionCount leaves out answers of 5xx, that TaskRetryReason is empty for HTTP targets, and that a deadline
counts as 504, is what the service was seen to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from google.cloud.tasks_v2 import types

from local.delivery import Request
from local.google_identity import GoogleIdentity, access_token
from local.tasks.messages import encoded_url, seconds, short

USER_AGENT: Final = "Google-Cloud-Tasks"
_CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
_REPLACED: Final = frozenset({"host", "content-length", "user-agent", "transfer-encoding", "connection"})
_RESERVED: Final = ("x-google-", "x-appengine-", "x-cloudtasks-")
_Mode = types.UriOverride.UriOverrideEnforceMode


@dataclass(frozen=True)
class Progress:
    """How far a task has come: failed attempts so far, answers that were not 5xx, the last answer's status."""

    retries: int
    executions: int
    previous_status: int | None
    due: float


def request_for(task: Any, queue: Any, progress: Progress, identity: GoogleIdentity) -> Request:
    """What the worker is sent for the next attempt of `task`."""
    asked, target = task.http_request, queue.http_target
    method = types.HttpMethod(target.http_method or asked.http_method).name
    url = encoded_url(overridden_url(asked.url, target.uri_override) if "uri_override" in target else asked.url)
    headers = {name: value for name, value in asked.headers.items() if _may_be_set(name)}
    for override in target.header_overrides:
        if _may_be_set(override.header.key):
            _set(headers, override.header.key, override.header.value)
    credential = _credential(target, url, identity) or _credential(asked, url, identity)
    if credential:
        _set(headers, "Authorization", credential)
    headers |= _of_the_service(task, queue, progress)
    body = b"" if method == "GET" else asked.body
    return Request(method, url, headers, body, seconds(task.dispatch_deadline))


def _set(headers: dict[str, str], name: str, value: str) -> None:
    """Set a header in place of one that is written with other capitals."""
    for known in [known for known in headers if known.lower() == name.lower()]:
        del headers[known]
    headers[name] = value


def _may_be_set(name: str) -> bool:
    lower = name.lower()
    return lower not in _REPLACED and not lower.startswith(_RESERVED)


def _credential(holder: Any, url: str, identity: GoogleIdentity) -> str | None:
    """The Authorization header that a request or a queue's target asks for."""
    if "oidc_token" in holder:
        wanted = holder.oidc_token
        return f"Bearer {identity.id_token(wanted.service_account_email, wanted.audience or url)}"
    if "oauth_token" in holder:
        asked = holder.oauth_token
        return f"Bearer {access_token(asked.service_account_email, asked.scope or _CLOUD_PLATFORM)}"
    return None


def _of_the_service(task: Any, queue: Any, progress: Progress) -> dict[str, str]:
    headers = {
        "User-Agent": USER_AGENT,
        "X-CloudTasks-QueueName": short(queue.name),
        "X-CloudTasks-TaskName": short(task.name),
        "X-CloudTasks-TaskRetryCount": str(progress.retries),
        "X-CloudTasks-TaskExecutionCount": str(progress.executions),
        "X-CloudTasks-TaskETA": f"{progress.due:.6f}",
    }
    if progress.retries:
        headers["X-CloudTasks-TaskRetryReason"] = ""
    if progress.previous_status is not None:
        headers["X-CloudTasks-TaskPreviousResponse"] = str(progress.previous_status)
    return headers


def overridden_url(url: str, override: Any) -> str:
    """The URL with the parts replaced that a queue's uri_override names.

    With IF_NOT_EXISTS only what the task's own URL lacks is taken from the queue; a URL always has a scheme and a host.
    """
    parts = urlsplit(url)
    only_missing = override.uri_override_enforce_mode == _Mode.IF_NOT_EXISTS
    if not only_missing:
        parts = _with_origin(parts, override)
    if "port" in override and not (only_missing and parts.port is not None):
        parts = parts._replace(netloc=_netloc(parts, port=override.port or None))
    if "path_override" in override and not (only_missing and parts.path):
        path = override.path_override.path
        parts = parts._replace(path=path if path.startswith("/") or not path else f"/{path}")
    if "query_override" in override and not (only_missing and parts.query):
        parts = parts._replace(query=override.query_override.query_params)
    return parts.geturl()


def _with_origin(parts: SplitResult, override: Any) -> SplitResult:
    if "scheme" in override:
        parts = parts._replace(scheme="http" if override.scheme == types.UriOverride.Scheme.HTTP else "https")
    if "host" in override:
        parts = parts._replace(netloc=_netloc(parts, host=override.host, port=parts.port))
    return parts


def _netloc(parts: SplitResult, *, port: int | None, host: str | None = None) -> str:
    name = host if host is not None else parts.hostname or ""
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return f"{name}:{port}" if port else name
