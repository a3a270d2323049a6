"""Run one function with one event against the Region of `make up`: `make invoke FUNCTION=CheckoutFunction`.

The function is built from the sources as they are now and started anew, in Lambda's own runtime client under
Lambda's interface emulator, or with --container by `sam local invoke`. It gets the variables that are
deployed and the Region's keys; nothing of the caller's own environment.

The answer goes to the standard output (as plain JSON where that is no terminal), what the function logs to
the standard error. The exit status is 0, 1 for a function that failed, 2 when it was not run.
"""

import argparse
import difflib
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from local import region_file
from local.container import run, sam_local
from local.functions import Function
from local.log_lines import show_answer, show_log
from local_dsql.console import run_command
from local_dsql.guard import StartError
from local_dsql.places import own_directory
from local_dsql.ports import HOST
from tools.bundle import BundleError
from tools.runtime import Artifacts, Runtime, function_lines
from tools.template import ROOT

#: The `aud` of the tokens in events/samples/: a real pool chooses its clients' names.
SAMPLE_CLIENT = "sampleclient"

RELAY = "RelayFunction"
#: Runs of one relay worker end each other. A run by hand is a worker of its own, beside the one that the
#: schedule starts: they share the shards as long as it takes.
WORKER_BY_HAND = 100
RELAY_RUN_S = "5"

FAILED, NOT_RUN = 1, 2


class UsageError(Exception):
    """What was asked for cannot be run; the message says why, in one line."""


class Invocation(NamedTuple):
    """What is run: a function, an event, and the environment that it is run in."""

    function: Function
    event: Any
    environment: dict[str, str]


class Outcome(NamedTuple):
    """What came of it: the function's answer, and the lines that it wrote."""

    answer: Any
    lines: list[str]

    @property
    def failure(self) -> str:
        """Say in a line why the function failed; empty when it did not."""
        match self.answer:
            case {"errorType": str(kind)}:
                return f"The function failed with {kind}."
            case {"statusCode": int(status)} if status >= 500:
                return f"The function answered {status}."
            case {"batchItemFailures": [_, *_] as failures}:
                return f"The function gave {len(failures)} message(s) of its batch back."
            case {"Status": "FAILED"}:
                return "The function told CloudFormation that it failed."
            case str(text) if text:
                return f"The runtime gave no answer of the function's: {text}"
        return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and show what came of it; give the exit status."""
    options = _options(arguments)
    try:
        region = region_file.read(options.region_file)
        function = choose(options.function, region_file.functions(options.region_file))
        event = read_event(options.event or str(ROOT / function.sample))
        asked = dict(pair.split("=", 1) for pair in options.set)
        invocation, note = prepare(function, event, region, asked)
        if note:
            print(note, file=sys.stderr)
        outcome = in_container(invocation, options.sam) if options.container else under_emulator(invocation)
    except (StartError, UsageError, BundleError) as error:
        print(error, file=sys.stderr)
        return NOT_RUN
    show_log(outcome.lines)
    show_answer(outcome.answer)
    if outcome.failure:
        print(outcome.failure, file=sys.stderr)
    return FAILED if outcome.failure else 0


def choose(name: str | None, functions: Mapping[str, Function]) -> Function:
    """Give the function of this name. Raises UsageError with the names that there are."""
    if name is not None and name in functions:
        return functions[name]
    there_are = ", ".join(sorted(functions))
    if not name:
        raise UsageError(f"Say which function: FUNCTION=CheckoutFunction. There are {there_are}.")
    near = difflib.get_close_matches(name, functions, n=1, cutoff=0.4)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"The Region has no function {name}.{meant} There are {there_are}.")


def read_event(source: str) -> Any:
    """Read an event from a file, or from the standard input for `-`. Raises UsageError."""
    named = "The standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise UsageError(f"EVENT: {source} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"EVENT: {named} is not text in UTF-8.") from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"EVENT: {named} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None


def prepare(
    function: Function, event: Any, region: Mapping[str, str], asked: Mapping[str, str]
) -> tuple[Invocation, str]:
    """Give what to run in a Region, by the variables of its file, and what to tell whoever runs it.

    `asked` are variables that are to differ from what is deployed.
    """
    environment = {
        **function.variables,
        **{name: value for name, value in region.items() if name.startswith("AWS_")},
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout_s),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
    }
    if _audience(event) == SAMPLE_CLIENT:
        environment["USER_POOL_CLIENT_ID"] = SAMPLE_CLIENT
    note = ""
    if function.id == RELAY and isinstance(event, dict):
        environment["RELAY_RUN_S"] = RELAY_RUN_S
        if "worker" in event:
            note = (
                f"Relay worker {event['worker']} from now on is this run: a run of the same worker ends. "
                "The schedule's next run takes over in turn."
            )
        else:
            event = {**event, "worker": WORKER_BY_HAND}
            run_s = asked.get("RELAY_RUN_S", RELAY_RUN_S)
            note = (
                f"For {run_s} s this is a relay worker beside the Region's own: they share the shards. "
                'An event with {"worker": 0} takes that one\'s place.'
            )
    return Invocation(function, event, {**environment, **asked}), note


def _audience(event: Any) -> str | None:
    match event:
        case {"requestContext": {"authorizer": {"claims": {"aud": str(audience)}}}}:
            return audience
    return None


def under_emulator(invocation: Invocation) -> Outcome:
    """Run it in Lambda's runtime client, without a container. Raises StartError, BundleError."""
    with own_directory("rewards-invoke") as temporary, answered(invocation.event) as hearing:
        directory = Path(temporary)
        artifacts = Artifacts(directory / "artifacts")
        function, output = invocation.function, directory / "log"
        with Runtime.of(function.id, artifacts, invocation.environment, output) as runtime:
            answer = hearing.answer(runtime.invoke(hearing.event))
            # Places in the sources as the repository names them.
            built = f"{artifacts.function(function.id)}/"
            return Outcome(
                json.loads(json.dumps(answer).replace(built, "")),
                function_lines(runtime.log().replace(built, "")),
            )


def in_container(invocation: Invocation, options: Sequence[str] = ()) -> Outcome:
    """Run it by `sam local invoke`, which shows what it says meanwhile. Raises StartError, BundleError."""
    function, event, environment = invocation
    with answered(event) as hearing, sam_local(function, environment, hearing.event, options) as ready:
        return Outcome(hearing.answer(run(ready, show_log)), [])


class Hearing(NamedTuple):
    """An event whose answer may go elsewhere than to its caller: a custom resource's goes to a URL."""

    event: Any
    received: list[Any]

    def answer(self, returned: Any) -> Any:
        """Give what the function answered, there or here."""
        return self.received[0] if self.received and not _failed(returned) else returned


def _failed(returned: Any) -> bool:
    return isinstance(returned, dict) and "errorType" in returned


@contextmanager
def answered(event: Any) -> Iterator[Hearing]:
    """Stand where CloudFormation waits for a custom resource's answer, if the event is one's."""
    if not isinstance(event, dict) or "ResponseURL" not in event:
        yield Hearing(event, [])
        return
    received: list[Any] = []

    class Answers(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # its name there
            pass

    with HTTPServer((HOST, 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Hearing({**event, "ResponseURL": f"http://{HOST}:{server.server_port}/answer"}, received)
        server.shutdown()
        thread.join()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.invoke", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("function", nargs="?", help="its name in template.yaml")
    parser.add_argument("--event", help="a file with the event, or - (default: the function's sample)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="a variable that is to differ from what is deployed; may be given several times",
    )
    parser.add_argument("--container", action="store_true", help="run it by `sam local invoke`")
    parser.add_argument(
        "--sam",
        action="append",
        default=[],
        metavar="OPTION",
        help="with --container: an option for `sam local invoke`, say --sam=--skip-pull-image",
    )
    parser.add_argument("--region-file", type=Path, default=region_file.PATH, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _assignment(text: str) -> str:
    if not text.partition("=")[0].isidentifier() or "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return text


if __name__ == "__main__":
    run_command(main)
