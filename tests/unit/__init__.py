"""No sockets."""
