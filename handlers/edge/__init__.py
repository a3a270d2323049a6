"""What every door shares: settings, routes, problems, observability."""
