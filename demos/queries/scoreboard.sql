-- What the request log says of a sale.

-- name: read_scoreboard
-- How a sale ended: by outcome, how many buyers, how many conflicts they met, the most attempts of one.
select outcome, count(*) as buyers, sum(conflicts)::bigint as conflicts, max(attempts) as most_attempts
from xpoints.request_log
where subject_id = %(subject_id)s
group by outcome
order by outcome
