"""Stand-ins for the environment that handlers read when they are imported; nothing is connected to."""

import os

for _name, _value in {
    "AWS_REGION": "us-east-1",
    "DATABASE_HOST": "nowhere.invalid",
    "DATABASE_ROLE": "nobody",
    "EVENT_BUS_NAME": "none",
}.items():
    os.environ.setdefault(_name, _value)
