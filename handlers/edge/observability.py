"""Structured logs and metrics, the same for every function.

Logs carry ids, codes and durations and never what a customer typed, an address, a name or a token.
Metrics have units and few dimensions: the function, and a code from a closed list.
"""

import os
from collections.abc import Mapping
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from sql.errors import Fault

NAMESPACE = "Rewards"

logger = Logger(service="rewards", level=os.environ.get("LOG_LEVEL", "INFO"))


@cache
def metrics() -> Metrics:
    """Give the function's metric sink; `flush_metrics` writes what was added as one log line."""
    sink = Metrics(namespace=NAMESPACE, service="rewards")
    sink.set_default_dimensions(function=os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "local"))
    return sink


def count_faults(faults: Mapping[Fault, int]) -> None:
    """Count the database faults that a retry mended, by kind."""
    for fault, times in faults.items():
        metrics().add_metric(f"DatabaseFault_{fault.value}", MetricUnit.Count, times)
