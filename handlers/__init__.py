"""The doors: one module a Lambda function."""

import gc

# A start makes some hundred thousand objects that stay: the collector need not look at them again and again.
gc.set_threshold(50_000, 20, 20)
