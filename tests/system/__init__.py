"""Against the whole local Region."""
