"""The doors: one module a Lambda function."""
