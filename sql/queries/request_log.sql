-- The request log: in a sale who tried what, how it ended, how often it had to be tried; and which of the
-- staff credited whom.

-- name: insert_logged_request
-- One attempt of one buyer, written after its end in a transaction of its own: what is refused is logged too. Or
-- one credit by the staff, in the transaction of the credit and under the id of its ledger entry.
insert into xpoints.request_log
    (id, operation, subject_id, actor_id, region, outcome, attempts, conflicts, started_at, ended_at)
values
    (%(id)s, %(operation)s, %(subject_id)s, %(actor_id)s, %(region)s, %(outcome)s, %(attempts)s, %(conflicts)s,
    %(started_at)s, %(ended_at)s)
