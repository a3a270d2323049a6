"""How a function's answer and what it logged are shown to a person, or handed on to a program."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.json import JSON
from rich.text import Text

#: Members of a log line that say the same of each: who wrote it, in the format's own words.
_UNTOLD = {
    *("level", "message", "timestamp", "location", "service", "sampling_rate", "xray_trace_id"),
    *("cold_start", "function_name", "function_memory_size", "function_arn", "function_request_id"),
}

_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


def lines_of(logs: Any, group: str) -> list[str]:
    """Give every line of a log group of the emulator's, oldest first; `logs` is its client."""
    events: list[Mapping[str, Any]] = []
    since_ms = 0
    while True:
        # The emulator gives 10,000 lines at most, and no token to go on with: so from the last one's moment.
        found = logs.filter_log_events(logGroupName=group, startTime=since_ms)["events"]
        known = sum(event["timestamp"] == since_ms for event in events)
        if len(found) <= known:
            return [event["message"] for event in events]
        events += found[known:]
        since_ms = events[-1]["timestamp"]


def show_log(lines: Iterable[str]) -> None:
    """Print lines to the standard error: JSON as time, level, message and additions, others as they are."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(_told(line))


def show_answer(answer: Any) -> None:
    """Print an answer to the standard output: to a terminal an HTTP answer's parts, to others its JSON."""
    if not sys.stdout.isatty():
        print(json.dumps(answer))
        return
    console = Console(soft_wrap=True)
    match answer:
        case {"statusCode": int(status), "body": str(body)}:
            console.print(Text(f"HTTP {status}", style="bold green" if status < 400 else "bold red"))
            answer = _parsed(body)
        case {"errorType": kind, "errorMessage": message}:
            console.print(Text(f"{kind}: {message}", style="bold red"))
            for frame in answer.get("stackTrace", ()):
                console.print(Text(str(frame).rstrip(), style="dim"))
            return
    console.print(answer if isinstance(answer, str) else JSON(json.dumps(answer)))


def _told(line: str) -> Text:
    record = _parsed(line)
    if not isinstance(record, dict):
        return Text(line)
    if "_aws" in record:
        return Text(f"metrics  {_pairs(_metrics(record))}", style="cyan")
    if "level" not in record or "message" not in record:
        return Text(line)
    level = str(record["level"])
    time = str(record.get("timestamp", ""))[11:23]
    coloured = (f"{level:7}", _COLOURS.get(level, "green"))
    told = Text.assemble((time, "dim"), " ", coloured, f" {record['message']}")
    more = {name: value for name, value in record.items() if name not in _UNTOLD and name != "exception"}
    if more:
        told.append(f"  {_pairs(more)}", style="dim")
    for cause in record.get("exception") or ():
        if isinstance(cause, dict):
            told.append(f"\n  {cause.get('type')} {cause.get('code') or ''}".rstrip(), style="red")
            for place in cause.get("at", ()):
                told.append(f"\n    {place}", style="dim")
    return told


def _metrics(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of a line in CloudWatch's embedded metric format."""
    names = [
        metric["Name"]
        for directive in record["_aws"].get("CloudWatchMetrics", ())
        for metric in directive.get("Metrics", ())
    ]
    values = {name: record.get(name) for name in names}
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in values.items()
    }


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
