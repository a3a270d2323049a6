"""Reads for people, by subject: one exchange with the server, one snapshot, rows as named tuples.

What a row means stands with its statement in `sql/queries/`. Where a page is read, `after` and `after_id` are
the sort value and the id of the last row that the reader has (or a bound that every row lies behind).
"""
