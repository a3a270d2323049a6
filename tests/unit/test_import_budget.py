"""What a function's start may import, in modules: milliseconds depend on the machine, modules do not.

A start that exceeds its budget has begun to import something. Where that is needed, raise the number in the
same change; where it is not needed by every start, import it where it is used. `python -m bench.coldstart`
has the milliseconds.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import pytest

from bench.coldstart import ENVIRONMENT, LIBRARIES
from tests.started import run_script
from tools.bundle import ROOT, handler_module
from tools.template import functions, template, variables

FUNCTIONS = list(functions())

#: Our own modules that a start may import, by what the function is for: the API's routes say most.
BUDGETS = {"Api": 47, "SQS": 38, "ScheduleV2": 26, "": 24}

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
    "pydantic.v1",
    "requests",
    "unittest",
    "urllib3",
)

_ANSWERS_CLOUDFORMATION = {"http", "http.client", "urllib.error", "urllib.request", "urllib.response"}

#: What functions import beside that: the relay publishes in parallel, two answer CloudFormation.
MORE: dict[str, set[str]] = {
    "RelayFunction": {"concurrent.futures.thread"},
    "MigrateFunction": _ANSWERS_CLOUDFORMATION,
    "PublishPagesFunction": _ANSWERS_CLOUDFORMATION,
}

#: Functions that never talk to the database start without its client, and so without asyncio.
WITHOUT_DATABASE = {"PublishPagesFunction", "SmokeOrderFunction", "StaffSignInFunction"}

_CODE = """
import json, sys
before = set(sys.modules)
{code}
events = sys.modules.get("domain.events")
made = [model.__name__ for model in events.Envelope.__subclasses__()] if events else []
print(json.dumps([sorted(set(sys.modules) - before), made]))
"""


#: What decides over a function's modules: our own folders, which the libraries have none of.
OURS = ("domain", "events", "handlers", "operations", "sql")


class Start(NamedTuple):
    """What a start imported, and the models of events that it made."""

    modules: frozenset[str]
    events: list[str]


def imported(function: str) -> frozenset[str]:
    """Give the modules that a function's start imports."""
    return started(function).modules


@cache
def started(function: str) -> Start:
    """Give what a function's start came to.

    It starts with the variables that the template gives it, so one that is left out there ends it here.
    """
    if function in WITHOUT_DATABASE:
        return _started(_IMPORT, handler_module(function), environment=_variables(function))
    beyond = _beyond_the_libraries()[function]
    return Start(of_the_libraries() | beyond.modules, beyond.events)


@cache
def _beyond_the_libraries() -> dict[str, Start]:
    """Start each function with a database where the libraries are imported: give what it imports beside."""
    forked = sorted({*FUNCTIONS} - WITHOUT_DATABASE)
    code = _CODE.format(code=f"import os; os.environ.update(json.loads(sys.argv[2])); {_IMPORT}")
    starts = [(handler_module(each), json.dumps(_variables(each))) for each in forked]
    libraries = ("psycopg", "aws_lambda_powertools", "aws_lambda_powertools.metrics", "pydantic")
    ended = run_script(code, [("-c", *words) for words in starts], _EVERY_START, libraries)
    assert [done.stderr for done in ended if done.returncode] == []
    return {each: _read(done.stdout) for each, done in zip(forked, ended, strict=True)}


@cache
def of_the_libraries() -> frozenset[str]:
    """Give the modules that the libraries alone import: what a start can hardly do without."""
    return _started(LIBRARIES).modules


_IMPORT = "import importlib; importlib.import_module(sys.argv[1])"

_EVERY_START = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "AWS_REGION": "us-east-1"}


def _variables(function: str) -> dict[str, str]:
    given = {*template()["Globals"]["Function"]["Environment"]["Variables"], *variables(function)}
    return {name: value for name, value in ENVIRONMENT.items() if name in given}


def _started(code: str, *arguments: str, environment: Mapping[str, str] = ENVIRONMENT) -> Start:
    """Run code in an interpreter of its own."""
    command = [sys.executable, "-c", _CODE.format(code=code), *arguments]
    variables = {**_EVERY_START, **environment}
    return _read(subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout)


def _read(said: str) -> Start:
    modules, events = json.loads(said.splitlines()[-1])
    return Start(frozenset(modules), events)


def kind_of(function: str) -> str:
    """Give the kind of the function's events, "" for the one that none of the template's invokes."""
    return next((event["Type"] for event in functions()[function].get("Events", {}).values()), "")


def within(modules: frozenset[str], packages: tuple[str, ...]) -> list[str]:
    return sorted(
        module
        for module in modules
        if any(module == package or module.startswith(f"{package}.") for package in packages)
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_within_its_budget_of_modules(function: str) -> None:
    ours = within(imported(function), OURS)
    assert len(ours) <= BUDGETS[kind_of(function)], f"{len(ours)} modules: {ours}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_with_no_more_than_the_libraries_that_all_have(function: str) -> None:
    foreign = imported(function) - of_the_libraries() - {"gc"}
    assert sorted(foreign - set(within(foreign, OURS)) - MORE.get(function, set())) == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_without_what_it_may_never_need(function: str) -> None:
    # Powertools looks at botocore's version to name itself to AWS; it may look for the package, not into it.
    assert within(imported(function), FORBIDDEN) in ([], ["botocore"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_start_makes_no_event_s_model(function: str) -> None:
    # An annotation such as Envelope[Any] makes one, of some million instructions, unless it is quoted.
    assert started(function).events == []


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
