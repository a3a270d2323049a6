"""The entry points: one module a Lambda function."""

import gc
import os

# A start makes some 100,000 objects that stay. The collector has nothing to find among them.
gc.set_threshold(200_000, 20, 20)

# No plugin of pydantic is used; it would look through every package for some in each start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")
