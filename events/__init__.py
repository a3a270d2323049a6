"""Everything the bus sees: publishing, consuming, schemas."""
