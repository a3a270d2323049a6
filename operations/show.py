"""How the command shows a record: simple values beside their names, lists of records as tables below them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def show(record: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a record, as wide as the terminal: what does not fit is wrapped, never cut."""
    console = console or Console(highlight=False, soft_wrap=False)
    _print(console, record)


def cell(value: Any) -> str:
    """Give a value as a person reads it: `-` for nothing, times in UTC to the millisecond, lists as JSON."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return str(value)


def _print(console: Console, record: Mapping[str, Any]) -> None:
    simple = {name: value for name, value in record.items() if not isinstance(value, list | Mapping)}
    if simple:
        grid = Table.grid(padding=(0, 2, 0, 0))
        for name, value in simple.items():
            grid.add_row(_label(name), Text(cell(value), overflow="fold"))
        console.print(grid)
    for name, value in record.items():
        if isinstance(value, Mapping):
            console.print(f"\n{_label(name)}:")
            _print(console, value)
        elif isinstance(value, list):
            console.print(f"\n{_label(name)}: {len(value) or 'none'}")
            if value:
                console.print(_table(value))


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        numbers = _are_numbers(row.get(name) for row in rows)
        table.add_column(_label(name), overflow="fold", justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(Text(cell(row.get(name))) for name in names))
    return table


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _label(name: str) -> str:
    return name.replace("_", " ")
