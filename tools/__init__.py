"""What builds and checks: artifacts, what Aurora DSQL refuses, a proxy that injects faults, a runtime."""
