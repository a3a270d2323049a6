"""Everything the bus sees: contracts' schemas, publishing, the relay."""
