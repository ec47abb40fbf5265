"""Firestore v1 (google.cloud.firestore.v1) on one SQLite file: what stands in for the Standard edition in Native mode.

Semantics follow the client's types and https://firebase.google.com/docs/firestore; docs/local-cloud.md says what it
does not do. From the inside out:

- `names`, `fields`, `values`: resource names, field paths, and values with their order
- `limits`, `writes`: what a document may be, and what a write makes of it
- `filters`, `queries`, `aggregation`, `indexes`: what a query means, and whether there is an index for it
- `versions`, `journal`, `database`: documents at any moment of the last hour, in memory and on disk
- `locks`, `transactions`: who has to wait for whom
- `databases`: all of them, and what expires in them
- `databases`: all of them, and what expires in them
- `listing`, `listening`, `api`, `server`: the protocol
- `shelf`: the file as the console reads it
- `shelf`: the file as the console reads it
"""
