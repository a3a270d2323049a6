"""The migrations as a plain PostgreSQL takes them, to compare with the local DSQL: without the word ASYNC."""

from local_dsql.dialect import parse
from sql.migrate import Migration, read_migrations


def plain_migrations() -> list[Migration]:
    """Give every migration in PostgreSQL's own grammar."""
    return [
        migration._replace(text="".join(statement.plain for statement in parse(migration.text)))
        for migration in read_migrations()
    ]
