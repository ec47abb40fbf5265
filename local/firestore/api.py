"""The methods of google.firestore.v1.Firestore, as local/grpc_server.py serves them.

A call is done on the event loop without a break, apart from waiting for locks: reads see one moment.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import grpc
from google.cloud.firestore_v1.types import document as document_types
from google.cloud.firestore_v1.types import firestore as types
from google.cloud.firestore_v1.types import write as write_types
from google.protobuf import empty_pb2
from google.rpc import status_pb2  # type: ignore[import-untyped]

from local.firestore import aggregation, fields, indexes, limits, listing, names, queries, writes
from local.firestore.database import Database, timestamp
from local.firestore.databases import Databases, Opened
from local.firestore.listening import Listening
from local.firestore.queries import Query
from local.firestore.transactions import Transaction
from local.firestore.versions import Version
from local.refusals import Refusal, invalid, not_found

_ID_LETTERS: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 20
_Write: Any = write_types.Write.pb()
_GetResponse: Any = types.BatchGetDocumentsResponse.pb()
_QueryResponse: Any = types.RunQueryResponse.pb()
_AggregationResponse: Any = types.RunAggregationQueryResponse.pb()


class Firestore:
    """The API over a set of databases. Methods that are not here are refused in words."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def GetDocument(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        home, path = names.document(asked.name)
        opened = self._databases.open(home)
        _, at = await _reading(opened, asked, [path])
        found = opened.database.versions.get(path, at)
        if found is None:
            raise not_found(f'Document "{asked.name}" not found.')
        return document_types.Document.wrap(fields.masked(found.document, _mask(asked)))

    async def BatchGetDocuments(self, request: Any) -> AsyncIterator[Any]:  # noqa: N802 - named by the API
        asked = _plain(request)
        opened = self._databases.open(asked.database)
        wanted = dict.fromkeys(_path_in(opened.database, name) for name in asked.documents)
        transaction, at = await _reading(opened, asked, wanted)
        moment = timestamp(opened.database.clock.now() if at is None else at)
        shown = None if _mask(asked) is None else [fields.parse(path) for path in asked.mask.field_paths]
        first = transaction.identifier if transaction is not None and asked.HasField("new_transaction") else b""
        answers = []
        for path in wanted:
            found = opened.database.versions.get(path, at)
            answer = _GetResponse(read_time=moment, transaction=first)
            if found is None:
                answer.missing = names.full(opened.database.name, path)
            else:
                document = found.document if shown is None else fields.projected(found.document, shown)
                answer.found.CopyFrom(document)
            answers.append(answer)
            first = b""
        if not answers:
            answers.append(_GetResponse(read_time=moment, transaction=first))
        for answer in answers:
            yield types.BatchGetDocumentsResponse.wrap(answer)

    async def ListDocuments(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        message = listing.query_of(asked)
        home, query = queries.read(asked.parent, message)
        opened = self._databases.open(home)
        answer = types.ListDocumentsResponse.pb()()
        if asked.show_missing:
            if asked.order_by or asked.WhichOneof("consistency_selector") == "transaction":
                raise invalid("show_missing can be combined neither with order_by nor with a transaction.")
            _, at = await _reading(opened, asked, ())
            collection = names.child(query.parent, asked.collection_id)
            every = listing.with_missing(opened.database.versions, home, collection, at)
            page, answer.next_page_token = listing.page_by_name(every, asked)
        else:
            indexes.check(query, self._databases.indexes.current())
            found, _ = await self._found(opened, query, message, asked)
            size = listing.page_size(asked)
            page = [version.document for version in found[:size]]
            if len(found) > size:
                answer.next_page_token = listing.token_after(query, found[size - 1])
        answer.documents.extend(fields.masked(document, _mask(asked)) for document in page)
        return types.ListDocumentsResponse.wrap(answer)

    async def CreateDocument(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        home, parent = names.parent(asked.parent)
        collection = names.child(parent, names.check_collection_id(asked.collection_id))
        identifier = asked.document_id or "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
        if asked.document.name:
            raise invalid("document.name must not be set: it follows from parent, collection_id and document_id.")
        write = _Write(update=asked.document)
        write.update.name = names.full(home, f"{collection}/{names.check_document_id(identifier)}")
        write.current_document.exists = False
        return await self._write_one(home, write, _mask(asked))

    async def UpdateDocument(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        home, _ = names.document(asked.document.name)
        write = _Write(update=asked.document, current_document=asked.current_document)
        if asked.HasField("update_mask"):
            write.update_mask.CopyFrom(asked.update_mask)
        return await self._write_one(home, write, _mask(asked))

    async def DeleteDocument(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        home, _ = names.document(asked.name)
        write = _Write(delete=asked.name, current_document=asked.current_document)
        await self._databases.open(home).transactions.commit(None, writes.read([write], home))
        return empty_pb2.Empty()

    async def BeginTransaction(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        started = self._databases.open(asked.database).transactions.begin(asked.options)
        return types.BeginTransactionResponse(transaction=started.identifier)

    async def Rollback(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        if not asked.transaction:
            raise invalid("A transaction is needed.")
        self._databases.open(asked.database).transactions.roll_back(asked.transaction)
        return empty_pb2.Empty()

    async def Commit(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        _check_size(asked)
        opened = self._databases.open(asked.database)
        transaction = opened.transactions.running(asked.transaction) if asked.transaction else None
        staged, moment = await opened.transactions.commit(transaction, writes.read(asked.writes, asked.database))
        answer = types.CommitResponse.pb()(write_results=staged.results, commit_time=timestamp(moment))
        return types.CommitResponse.wrap(answer)

    async def BatchWrite(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        _check_size(asked)
        opened = self._databases.open(asked.database)
        changes = writes.read(asked.writes, asked.database)
        if len({change.path for change in changes}) != len(changes):
            raise invalid("A document cannot be written to more than once in a batch write.")
        answer = types.BatchWriteResponse.pb()()
        for change in changes:
            result, status = answer.write_results.add(), status_pb2.Status()
            try:
                staged, _ = await opened.transactions.commit(None, [change])
                result.CopyFrom(staged.results[0])
            except Refusal as refusal:
                status = status_pb2.Status(code=refusal.code.value[0], message=refusal.sentence)
            answer.status.append(status)
        return types.BatchWriteResponse.wrap(answer)

    async def RunQuery(self, request: Any) -> AsyncIterator[Any]:  # noqa: N802 - named by the API
        asked = _plain(request)
        _check_not_explained(asked)
        home, query = queries.read(asked.parent, asked.structured_query)
        opened = self._databases.open(home)
        indexes.check(query, self._databases.indexes.current())
        transaction = _new_transaction(opened, asked)
        if transaction is not None:
            yield types.RunQueryResponse.wrap(_QueryResponse(transaction=transaction.identifier))
        found, at = await self._found(opened, query, asked.structured_query, asked, transaction)
        moment = timestamp(opened.database.clock.now() if at is None else at)
        skipped = min(query.offset, len(found))
        if len(found) == skipped:
            yield types.RunQueryResponse.wrap(_QueryResponse(read_time=moment, skipped_results=skipped))
        for version in found[query.offset :]:
            document = query.show(version.document)
            yield types.RunQueryResponse.wrap(
                _QueryResponse(document=document, read_time=moment, skipped_results=skipped)
            )
            skipped = 0

    async def RunAggregationQuery(self, request: Any) -> AsyncIterator[Any]:  # noqa: N802 - named by the API
        asked = _plain(request)
        _check_not_explained(asked)
        message = asked.structured_aggregation_query
        home, query = queries.read(asked.parent, message.structured_query)
        opened = self._databases.open(home)
        wanted = aggregation.read(message)
        needed = aggregation.aggregated_fields(wanted)
        indexes.check(query, self._databases.indexes.current(), needed)
        started = _new_transaction(opened, asked)
        found, at = await self._found(opened, query, message, asked, started, documents=False)
        moment = opened.database.clock.now() if at is None else at
        held = [version for version in found[query.offset :] if all(version.key(path) is not None for path in needed)]
        answer = _AggregationResponse(read_time=timestamp(moment))
        if started is not None:
            answer.transaction = started.identifier
        for item in wanted:
            answer.result.aggregate_fields[item.alias].CopyFrom(item.over(held))
        yield types.RunAggregationQueryResponse.wrap(answer)

    async def PartitionQuery(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        home, query = queries.read(asked.parent, asked.structured_query)
        if not query.all_descendants or query.filter.leaves or len(query.orders) != 1 or query.orders[0].descending:
            raise invalid("Only collection group queries without filters, ordered by __name__, can be partitioned.")
        if query.start or query.end or query.offset or query.limit is not None:
            raise invalid("A query that is partitioned has neither cursors nor offset nor limit.")
        if asked.partition_count <= 0:
            raise invalid("partition_count must be greater than zero.")
        opened = self._databases.open(home)
        _, at = await _reading(opened, asked, ())
        cursors = listing.partitions(query.run(opened.database.versions, at), asked.partition_count)
        answer = types.PartitionQueryResponse.pb()()
        page, answer.next_page_token = listing.page_of_partitions(cursors, asked)
        answer.partitions.extend(page)
        return types.PartitionQueryResponse.wrap(answer)

    async def ListCollectionIds(self, request: Any) -> Any:  # noqa: N802 - named by the API
        asked = _plain(request)
        home, below = names.parent(asked.parent)
        opened = self._databases.open(home)
        _, at = await _reading(opened, asked, ())
        every = listing.collection_ids(opened.database.versions, below, at)
        page, token = listing.page_of_ids(every, asked)
        return types.ListCollectionIdsResponse(collection_ids=page, next_page_token=token)

    async def Listen(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:  # noqa: N802 - named by the API
        def check(query: Query) -> None:
            indexes.check(query, self._databases.indexes.current())

        listening = Listening(lambda name: self._databases.open(name).database, check)
        async for answer in listening.answers(requests):
            yield types.ListenResponse.wrap(answer)

    async def _write_one(self, home: str, write: Any, mask: Any | None) -> Any:
        opened = self._databases.open(home)
        changes = writes.read([write], home)
        await opened.transactions.commit(None, changes)
        found = opened.database.versions.get(changes[0].path)
        if found is None:
            raise not_found(f'Document "{write.update.name}" was deleted.')
        return document_types.Document.wrap(fields.masked(found.document, mask))

    async def _found(
        self,
        opened: Opened,
        query: Query,
        message: Any,
        asked: Any,
        started: Transaction | None = None,
        *,
        documents: bool = True,
    ) -> tuple[list[Version], int | None]:
        """The documents of a query with the consistency that a request asks for, and their moment (None: now)."""
        transaction = started
        if asked.WhichOneof("consistency_selector") == "transaction":
            transaction = opened.transactions.running(asked.transaction)
        if transaction is not None:
            return await opened.transactions.query(
                transaction, query, message.SerializeToString(deterministic=True), documents=documents
            )
        _, at = await _reading(opened, asked, ())
        return query.run(opened.database.versions, at), at


async def _reading(opened: Opened, asked: Any, paths: Iterable[str]) -> tuple[Transaction | None, int | None]:
    """The transaction that a request reads in, and the moment (None: now); both None for a plain read."""
    match asked.WhichOneof("consistency_selector"):
        case "read_time":
            return None, opened.database.read_time(asked.read_time)
        case "transaction":
            transaction = opened.transactions.running(asked.transaction)
        case "new_transaction":
            transaction = opened.transactions.begin(asked.new_transaction, read_only_by_default=True)
        case _:
            return None, None
    return transaction, await opened.transactions.read(transaction, paths)


def _new_transaction(opened: Opened, asked: Any) -> Transaction | None:
    if asked.WhichOneof("consistency_selector") != "new_transaction":
        return None
    return opened.transactions.begin(asked.new_transaction, read_only_by_default=True)


def _plain(request: Any) -> Any:
    """The protobuf message inside the client's own type."""
    return type(request).pb(request)


def _mask(asked: Any) -> Any | None:
    return asked.mask if asked.HasField("mask") else None


def _path_in(database: Database, name: str) -> str:
    home, path = names.document(name)
    if home != database.name:
        raise invalid(f'Document name "{name}" is not in the database "{database.name}" of the request.')
    return path


def _check_size(asked: Any) -> None:
    if asked.ByteSize() > limits.MAX_REQUEST_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {limits.MAX_REQUEST_BYTES} bytes.")


def _check_not_explained(asked: Any) -> None:
    if asked.HasField("explain_options"):
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "The local stand-in does not implement explain_options.")
