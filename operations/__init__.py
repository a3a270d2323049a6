"""What people do to a running shop: the `rewards` command."""
