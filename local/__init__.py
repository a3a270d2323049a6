"""One machine as an AWS Region."""
