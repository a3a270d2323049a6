"""The local Aurora DSQL, held against what is known of the real one."""
