"""What a person does to a running shop: the `rewards` command."""
