"""What a function's start may import, in modules: milliseconds depend on the machine, modules do not.

A start that exceeds its budget has begun to import something. Where that is needed, raise the number in the
same change; where it is not needed by every start, import it where it is used. `python -m bench.coldstart`
has the milliseconds.
"""

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from bench.coldstart import ENVIRONMENT
from tools.bundle import ROOT, handler_module
from tools.template import functions

FUNCTIONS = list(functions())

#: Modules beside the standard library's, ours included.
BUDGETS = {
    "CheckoutFunction": 169,
    "StorefrontFunction": 171,
    "OrdersFunction": 175,
    "AccountFunction": 172,
    "StaffFunction": 179,
    "FallbackFunction": 155,
    "RelayFunction": 163,
    "CleanCartFunction": 163,
    "NotifyFunction": 166,
    "EraseCustomerFunction": 172,
    "RetireItemFunction": 173,
    "EnrolUsersFunction": 69,
    "ExpireFunction": 163,
    "SweepOrphansFunction": 163,
    "CleanRegionFunction": 162,
    "AuditLedgerFunction": 164,
    "MeasureBacklogFunction": 160,
    "MigrateFunction": 157,
    "PublishPagesFunction": 57,
}

#: Modules of the standard library that the interpreter has not loaded by itself. With psycopg come asyncio,
#: ssl, ctypes and importlib.metadata; how many modules these are depends on the version of Python.
STANDARD_BUDGET = 172
STANDARD_BUDGET_WITHOUT_DATABASE = 70

#: What no start imports: tracing, the AWS SDK before there is something to send, generators of API documents,
#: other HTTP clients.
FORBIDDEN = (
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.data_classes",
    "aws_lambda_powertools.utilities.parser",
    "aws_xray_sdk",
    "boto3",
    "botocore",
    "httpx",
    "numpy",
    "pydantic",
    "requests",
    "unittest",
    "urllib3",
)

#: Functions that never talk to the database start without its client, and so without asyncio.
WITHOUT_DATABASE = {"EnrolUsersFunction", "PublishPagesFunction"}

_CODE = """
import importlib, json, sys
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@cache
def imported(function: str) -> frozenset[str]:
    """Give the modules that a function's start imports, in an interpreter of its own."""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "AWS_REGION": "us-east-1", **ENVIRONMENT}
    command = [sys.executable, "-c", _CODE, handler_module(function)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout))


def within(modules: frozenset[str], packages: tuple[str, ...]) -> list[str]:
    return sorted(
        module
        for module in modules
        if any(module == package or module.startswith(f"{package}.") for package in packages)
    )


def test_every_function_has_a_budget() -> None:
    assert sorted(BUDGETS) == sorted(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_within_its_budget_of_modules(function: str) -> None:
    standard = {name for name in imported(function) if name.partition(".")[0] in sys.stdlib_module_names}
    others = imported(function) - standard

    assert len(others) <= BUDGETS[function], f"{len(others)} modules: {sorted(others)}"
    limit = STANDARD_BUDGET_WITHOUT_DATABASE if function in WITHOUT_DATABASE else STANDARD_BUDGET
    assert len(standard) <= limit, f"{len(standard)} modules of the standard library: {sorted(standard)}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_without_what_it_may_never_need(function: str) -> None:
    # Powertools looks at botocore's version to name itself to AWS; it may look for the package, not into it.
    assert within(imported(function), FORBIDDEN) in ([], ["botocore"])


_COLLECTIONS = """
import gc, importlib, sys
import handlers
before = sum(generation["collections"] for generation in gc.get_stats())
importlib.import_module(sys.argv[1])
print(sum(generation["collections"] for generation in gc.get_stats()) - before)
"""


def test_no_garbage_collection_falls_into_a_start() -> None:
    function = "StaffFunction"  # the one that imports most
    imported(function)  # from here on there is bytecode: compiling makes objects of its own
    environment = {"PYTHONPATH": str(ROOT), "AWS_REGION": "us-east-1", **ENVIRONMENT}
    command = [sys.executable, "-c", _COLLECTIONS, handler_module(function)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 0


@pytest.mark.parametrize("function", sorted(WITHOUT_DATABASE))
def test_a_function_without_a_database_starts_without_its_client(function: str) -> None:
    assert within(imported(function), ("psycopg", "psycopg_binary", "asyncio")) == []
