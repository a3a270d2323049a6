"""A client's session: its messages in batches, its transaction, and what comes of it if others commit first.

A batch is what a client sends up to a Sync or Flush; a simple query is made one. Each message becomes steps
(backend.py), all steps of a batch leave in one write, and one answer goes back. Inside of a block everything
that it does happens in a frame, a savepoint right behind BEGIN, so that the snapshot of BEGIN outlives it:

parked      Somebody waits for a lock of a block whose client is idle. The frame is rolled back, which frees
            the locks, and what had an effect is run again before the next statement, COMMIT at the latest.
doomed      PostgreSQL said 40001, or a key turned out to be taken: another transaction has committed first.
            The frame is rolled back and the block goes on in its own copies (doomed.py). COMMIT says OC000.
acquitted   The statement that doomed the block changed nothing there: the block goes back to the real tables.

A session is made of layers, each of which knows those before it: state, replay (parked and doomed), commit,
bind (with Parse and Describe), execute, conversation. What needs none of this goes the fast path.
"""
