"""What every function shares: settings, routes, problems, observability."""
