"""Everything the database sees."""
