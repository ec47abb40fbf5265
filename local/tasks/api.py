"""The API of Cloud Tasks v2 (google.cloud.tasks.v2) over the kept queues and tasks.

Semantics: the client's types and https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2. What is not
served (locations, IAM, CMEK, App Engine) is refused in words.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
from google.cloud.tasks_v2 import types
from google.longrunning import operations_pb2  # type: ignore[import-untyped]
from google.protobuf import empty_pb2
from google.rpc import status_pb2  # type: ignore[import-untyped]

from local.clock import LocalClock
from local.refusals import Refusal, failed_precondition, invalid, not_found
from local.tasks import messages
from local.tasks.dispatcher import NAME_KEPT_SECONDS, Dispatcher, moment
from local.tasks.messages import checked_location, checked_queue_name, checked_task_name, no_entity, no_queue, queue_of
from local.tasks.store import Kept, TaskStore

MAX_QUEUES_PAGE: Final = 9800
MAX_TASKS_PAGE: Final = 1000
MAX_QUEUES: Final = 1000
MAX_BATCH_CREATE: Final = 100
MAX_BATCH_DELETE: Final = 1000
QUEUE_NAME_KEPT_SECONDS: Final = 7 * messages.DAY
_STATE_FILTER: Final = re.compile(r"\s*state\s*(!=|=|:)\s*\"?([A-Z_]+)\"?\s*")
_State = types.Queue.State


class TasksApi:
    """Methods named as in the API; each is done on the event loop, in turn."""

    def __init__(self, store: TaskStore, dispatcher: Dispatcher, clock: LocalClock) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock

    # Queues

    async def CreateQueue(self, request: Any) -> Any:  # noqa: N802 - named by the API
        checked_location(request.parent)
        name = checked_queue_name(request.queue.name)
        if not name.startswith(f"{request.parent}/queues/"):
            raise invalid("The queue name must begin with the name of the parent location.")
        if self._store.queue(name) is not None:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "Queue already exists")
        return self._new_queue(request.queue)

    async def GetQueue(self, request: Any) -> Any:  # noqa: N802 - named by the API
        return self._queue(request.name)

    async def ListQueues(self, request: Any) -> Any:  # noqa: N802 - named by the API
        location = checked_location(request.parent)
        wanted = _queue_filter(request.filter)
        size = _page_size(request.page_size, MAX_QUEUES_PAGE)
        queues = [queue for queue in self._store.queues(location, _token(request, request.filter)) if wanted(queue)]
        more = _new_token(request.filter, queues[size - 1].name) if len(queues) > size else ""
        return types.ListQueuesResponse(queues=queues[:size], next_page_token=more)

    async def UpdateQueue(self, request: Any) -> Any:  # noqa: N802 - named by the API
        name = checked_queue_name(request.queue.name)
        stored = self._store.queue(name)
        if stored is None:
            return self._new_queue(messages.merged_queue(types.Queue(name=name), request.queue, request.update_mask))
        merged = messages.completed_queue(messages.merged_queue(stored, request.queue, request.update_mask))
        return self._changed(merged)

    async def DeleteQueue(self, request: Any) -> Any:  # noqa: N802 - named by the API
        if self._store.queue(checked_queue_name(request.name)) is None:
            raise no_entity()
        self._store.drop_queue(request.name, self._clock.now())
        self._dispatcher.forget_queue(request.name)
        return empty_pb2.Empty()

    async def PurgeQueue(self, request: Any) -> Any:  # noqa: N802 - named by the API
        queue = self._queue(request.name)
        now = self._clock.now()
        self._store.purge(queue.name, now, now + NAME_KEPT_SECONDS)
        queue.purge_time = moment(now)
        return self._changed(queue)

    async def PauseQueue(self, request: Any) -> Any:  # noqa: N802 - named by the API
        queue = self._queue(request.name)
        queue.state = _State.PAUSED
        return self._changed(queue)

    async def ResumeQueue(self, request: Any) -> Any:  # noqa: N802 - named by the API
        queue = self._queue(request.name)
        queue.state = _State.RUNNING
        return self._changed(queue)

    def _queue(self, name: str) -> Any:
        queue = self._store.queue(checked_queue_name(name))
        if queue is None:
            raise no_queue()
        return queue

    def _changed(self, queue: Any) -> Any:
        self._store.keep_queue(queue)
        self._dispatcher.poke()
        return queue

    def _new_queue(self, queue: Any) -> Any:
        deleted = self._store.deleted_at(queue.name)
        if deleted is not None and self._clock.now() < deleted + QUEUE_NAME_KEPT_SECONDS:
            raise failed_precondition(
                "The queue cannot be created because a queue with this name existed too recently."
            )
        if len(self._store.queues(queue.name.rsplit("/queues/", 1)[0])) >= MAX_QUEUES:
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "The location has as many queues as it may have.")
        made = types.Queue.deserialize(types.Queue.serialize(queue))
        messages.completed_queue(made)
        made.state, made.purge_time = _State.RUNNING, None
        return self._changed(made)

    # Tasks

    async def CreateTask(self, request: Any) -> Any:  # noqa: N802 - named by the API
        task = self._create(request)
        self._dispatcher.poke()
        return messages.viewed(task, request.response_view)

    async def GetTask(self, request: Any) -> Any:  # noqa: N802 - named by the API
        return messages.viewed(self._kept(request.name).task, request.response_view)

    async def ListTasks(self, request: Any) -> Any:  # noqa: N802 - named by the API
        queue = self._queue(request.parent)
        size = _page_size(request.page_size, MAX_TASKS_PAGE)
        after = _token(request, queue.name)
        if after and not after.isdecimal():
            raise invalid("The page token is invalid.")
        found = self._store.tasks(queue.name, size + 1, int(after or 0))
        shown = [messages.viewed(kept.task, request.response_view) for kept in found[:size]]
        more = _new_token(queue.name, str(found[size - 1].id)) if len(found) > size else ""
        return types.ListTasksResponse(tasks=shown, next_page_token=more)

    async def DeleteTask(self, request: Any) -> Any:  # noqa: N802 - named by the API
        self._delete(request.name)
        return empty_pb2.Empty()

    async def RunTask(self, request: Any) -> Any:  # noqa: N802 - named by the API
        kept = self._kept(request.name)
        kept.due = self._clock.now()
        kept.task.schedule_time = moment(kept.due)
        self._dispatcher.force(kept)
        return messages.viewed(kept.task, request.response_view)

    def _create(self, request: Any) -> Any:
        queue, now = self._queue(request.parent), self._clock.now()
        task = types.Task.deserialize(types.Task.serialize(request.task))
        if task.name:
            _check_belongs(checked_task_name(task.name), queue.name)
        messages.completed_task(task, now)
        if task.name and self._store.name_taken(task.name, now):
            raise _taken()
        task.name = task.name or f"{queue.name}/tasks/{secrets.randbelow(9 * 10**18) + 10**18}"
        due = max(task.schedule_time.timestamp(), now) if "schedule_time" in task else now
        task.schedule_time, task.create_time = moment(due), moment(float(int(now)))
        try:
            self._store.add(task, queue.name, due, now)
        except sqlite3.IntegrityError:
            raise _taken() from None
        return task

    def _kept(self, name: str) -> Kept:
        kept = self._store.task(checked_task_name(name))
        if kept is not None:
            return kept
        if self._store.existed(name, self._clock.now()):
            raise not_found(
                "The task no longer exists, though a task with this name existed recently. "
                "The task either successfully completed or was deleted."
            )
        raise no_entity()

    def _delete(self, name: str) -> None:
        kept = self._kept(name)
        self._store.remove(kept, queue_of(name), self._clock.now() + NAME_KEPT_SECONDS)

    # Batches: long-running operations that are done when they are answered

    async def BatchCreateTasks(self, request: Any) -> Any:  # noqa: N802 - named by the API
        queue = self._queue(request.parent)
        if not 1 <= len(request.requests) <= MAX_BATCH_CREATE:
            raise invalid(f"BatchCreateTasksRequest.requests must have between 1 and {MAX_BATCH_CREATE} requests.")
        if any(wanted.parent != queue.name for wanted in request.requests):
            raise invalid("Each request's parent must be the parent of the batch.")
        name = _operation_name(queue.name, request.request_id)
        if (known := self._store.operation(name)) is not None:
            return operations_pb2.Operation.FromString(known)
        return self._batch_created(name, request)

    def _batch_created(self, name: str, request: Any) -> Any:
        made, failed = [], {}
        with self._store.changing():
            for index, wanted in enumerate(request.requests):
                try:
                    made.append(messages.viewed(self._create(wanted), wanted.response_view))
                except Refusal as refusal:
                    failed[index] = refusal
            operation = self._operation(
                name, types.BatchCreateTasksMetadata, types.BatchCreateTasksResponse(tasks=made), failed, len(made)
            )
        self._dispatcher.poke()
        return operation

    async def BatchDeleteTasks(self, request: Any) -> Any:  # noqa: N802 - named by the API
        queue = self._queue(request.parent)
        if not 1 <= len(request.names) <= MAX_BATCH_DELETE:
            raise invalid(f"BatchDeleteTasksRequest.names must have between 1 and {MAX_BATCH_DELETE} names.")
        for task in request.names:
            _check_belongs(checked_task_name(task), queue.name)
        name = _operation_name(queue.name, request.request_id)
        if (known := self._store.operation(name)) is not None:
            return operations_pb2.Operation.FromString(known)
        failed = {}
        for index, task in enumerate(request.names):
            try:
                self._delete(task)
            except Refusal as refusal:
                failed[index] = refusal
        gone = len(request.names) - len(failed)
        return self._operation(name, types.BatchDeleteTasksMetadata, empty_pb2.Empty(), failed, gone)

    async def GetOperation(self, request: bytes) -> Any:  # noqa: N802 - named by the API
        # Not a message of this client's own: the server cannot know its type from the transport.
        name = operations_pb2.GetOperationRequest.FromString(request).name
        known = self._store.operation(name)
        if known is None:
            raise no_entity()
        return operations_pb2.Operation.FromString(known)

    def _operation(
        self, name: str, metadata_type: Any, answer: Any, failed: Mapping[int, Refusal], succeeded: int
    ) -> Any:
        now = moment(self._clock.now())
        states = metadata_type.State
        metadata = metadata_type(
            start_time=now,
            end_time=now,
            state=states.PARTIALLY_SUCCEEDED if failed else states.SUCCEEDED,
            failed_requests={
                index: status_pb2.Status(code=refusal.code.value[0], message=refusal.sentence)
                for index, refusal in failed.items()
            },
        )
        operation = operations_pb2.Operation(name=name, done=True)
        operation.metadata.Pack(metadata_type.pb(metadata))
        if succeeded:
            operation.response.Pack(getattr(answer, "_pb", answer))
        else:
            operation.error.code = grpc.StatusCode.ABORTED.value[0]
            operation.error.message = (
                "None of the requests succeeded, refer to "
                f"{metadata_type.__name__}.failed_requests for individual error details"
            )
        self._store.keep_operation(name, operation.SerializeToString())
        return operation


def _taken() -> Refusal:
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, "Requested entity already exists")


def _check_belongs(task: str, queue: str) -> None:
    if queue_of(task) != queue:
        raise invalid(
            f"The queue name from request ('{queue}') must be the same as the queue name in the named task "
            f"('{queue_of(task)}')."
        )


def _operation_name(queue: str, request_id: str) -> str:
    location = queue.rsplit("/queues/", 1)[0]
    return f"{location}/operations/{request_id or uuid.uuid4()}"


def _queue_filter(text: str) -> Callable[[Any], bool]:
    """Only what is asked of a queue's state can be filtered for here."""
    if not text:
        return lambda _: True
    found = _STATE_FILTER.fullmatch(text)
    if found is None or found[2] not in _State.__members__:
        raise invalid("The local stand-in filters queues by state only, for example: state = PAUSED.")
    named, same = found[2], found[1] != "!="
    return lambda queue: (_State(queue.state).name == named) == same


def _page_size(asked: int, most: int) -> int:
    if asked < 0:
        raise invalid("The page size cannot be negative.")
    return min(asked or most, most)


def _new_token(kind: str, last: str) -> str:
    return base64.urlsafe_b64encode(f"{kind}\0{last}".encode()).decode()


def _token(request: Any, kind: str) -> str:
    """What the last page ended with; empty at the first page."""
    if not request.page_token:
        return ""
    try:
        asked, _, last = base64.b64decode(request.page_token, altchars=b"-_", validate=True).decode().partition("\0")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        asked, last = "", ""
    if asked != kind or not last:
        raise invalid("The page token is invalid, or belongs to another request.")
    return last
