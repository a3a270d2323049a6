"""Stand-ins for the environment that handlers read when they are imported; nothing is connected to."""

import os

for _name, _value in {
    "AWS_REGION": "us-east-1",
    "DATABASE_HOST": "nowhere.invalid",
    "DATABASE_ROLE": "nobody",
    "EVENT_BUS_NAME": "none",
    "STACK_NAME": "none",
    "FUNCTION_LOG_GROUP": "none",
    "CHECKOUT_FUNCTION": "none",
    "CLEAN_CART_FUNCTION": "none",
    "NOTIFY_FUNCTION": "none",
    "RELAY_FUNCTION": "none",
    "IN_CLOUD": "true",
}.items():
    os.environ.setdefault(_name, _value)
