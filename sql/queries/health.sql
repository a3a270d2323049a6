-- name: answer
-- The least that a database can say: that it answers.
select 1
