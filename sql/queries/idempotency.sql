-- The stored answers of writes that a client may send again.

-- name: find_idempotency_record
-- The stored answer of an earlier request with this key, if any.
select request_hash, result_id, response_status as status, response_body as body
from xpoints.idempotency_records
where customer_id = %(customer_id)s and idempotency_key = %(idempotency_key)s

-- name: insert_idempotency_record
-- The answer, stored with what it answers.
insert into xpoints.idempotency_records
    (customer_id, idempotency_key, request_hash, result_id, response_status, response_body)
values
    (%(customer_id)s, %(idempotency_key)s, %(request_hash)s, %(result_id)s, %(response_status)s, %(response_body)s)
