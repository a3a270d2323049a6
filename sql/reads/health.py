"""Whether the database answers."""

from sql.connection import Database
from sql.queries import load
from sql.transaction import RetryPolicy, run

_ANSWER = load("health")["answer"].of(int)

#: A question about health is not worth waiting for: one attempt, and one more on a new connection.
_HEALTH = RetryPolicy(attempts=2, base_s=0.01, cap_s=0.05, deadline_s=2.0)


def ask_database(database: Database) -> None:
    """Have the database answer, whatever it says. Raises as `sql.transaction.run` does, and soon."""
    run(database, lambda transaction: transaction.commit(_ANSWER()), _HEALTH)
