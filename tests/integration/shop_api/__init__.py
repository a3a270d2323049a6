"""The shop's API: its handlers on a real PostgreSQL, without a gateway."""
