"""One module a transaction: read, let the domain decide, write."""
