"""An Aurora DSQL on one machine. Knows nothing of the shop."""
