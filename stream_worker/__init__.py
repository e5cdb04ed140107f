"""Kinesis in, champion, Kinesis out: nothing lost, every effect once.

The guarantee, and what it rests on:

- Every record of every shard is read at least once: a checkpoint moves only after the
  prediction log and the results stream have the batch before it. The log's first home
  is the outbox under CHURN_HOME, which the processes of a machine share and adopt from
  each other: give it a disk that outlives a worker.
- A record read twice has the effect of one. Its prediction id is made from its
  position, so the log holds one row, and the second answer carries the same id: who
  reads `results` drops ids already seen.
- Answers of one key (the customer's id) are in order, as far as first occurrences go:
  a child shard starts after its parents, a worker publishes in reading order and never
  two answers of a key in one call (a partly refused `PutRecords` would reorder them).
  Where two workers overlap after a takeover both publish in order, so the first
  occurrences, the minimum of two ordered sequences, are in order too.
"""
