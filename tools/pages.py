"""Writes the pages that are made from the code: docs/configuration.md and docs/schema.md.

    .local/dev/bin/python -m tools.pages

Parameters and schedules are the templates', flags the commands' own, tables the migrations', references those
of sql/references.py. What a variable of a command or of make is for stands here.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pglast

from local_dsql.console import run_command
from sql.migrate import DIRECTORY
from sql.references import REFERENCES
from tools.bundle import handler_module
from tools.plain_migrations import plain_migrations
from tools.template import ROOT, events, functions, template, variables

CONFIGURATION = ROOT / "docs" / "configuration.md"
SCHEMA = ROOT / "docs" / "schema.md"

#: Variables of the environment that the commands on a person's machine read: what they are for.
OF_COMMANDS = {
    "AWS_ENDPOINT_URL": "where the AWS APIs answer, for an emulator; `.local/region.env` sets it",
    "AWS_PROFILE": "whose credentials, as for every AWS tool",
    "AWS_REGION": "which Region `./rewards` looks at, unless `--region` says; then AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID": "credentials, as for every AWS tool; a secret and a session token go with it",
    "AWS_SECRET_ACCESS_KEY": "see AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN": "see AWS_ACCESS_KEY_ID",
    "REWARDS_STACK": "which stack `./rewards` looks at, unless `--stack` says",
    "SSL_CERT_FILE": "the file of certificates that a database's is checked against",
    "LOCAL_PORT": "where the API and the AWS APIs of `make up` answer, unless `--port` says",
    "LOCAL_DATABASE_PORT": "where the database of `make up` answers, unless `--database-port` says",
    "NO_PROXY": "hosts that are called directly; `.local/region.env` adds this machine",
    "REWARDS_BROWSER": "the browser that the tests of the pages drive, by its path",
    "BROWSER": "`required` makes a missing browser a failure instead of a notice",
    "CI": "`true` does the same as `BROWSER=required`",
    "DOCKER_HOST": "where the container engine answers, for `make invoke` in a container",
    "XDG_RUNTIME_DIR": "where Podman's socket is looked for, as every program of this user's does",
    "PATH": "where programs are looked for, as for every program",
}

#: Variables that one program of this project gives another, or Lambda a function.
INTERNAL = {
    "ARTIFACTS_DIR",
    "AUTHORIZATION_LOG",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "BUNDLE_FOR",
    "CLUSTER_ARN",
    "KEYS_FILE",
    "PGPASSWORD",
    "PYDANTIC_DISABLE_PLUGINS",
    "_X_AMZN_TRACE_ID",
}

#: What is given to make, as in `make chaos SEEDS=100`.
OF_MAKE = {
    "ARGS": 'options of what the target runs: `make demo ARGS="--orders 20"`; `ARGS=--help` lists them',
    "PYTHON": "the Python that `.local/` is made with, 3.11 or newer",
    "CLOUD_PYTHON": "the Python 3.13 that writes the bytecode in the artifacts for AWS",
    "FUNCTION": "the function that `make invoke` runs, by its name in the template",
    "EVENT": "the file of the event that it gets, `-` for the standard input; without it, the sample",
    "CONTAINER": "`1` runs it in a container, as on AWS",
    "BENCH": "the one measurement that `make bench` runs, in full",
    "USERNAME": "for whom `make token` asks for a token",
    "SEEDS": "how many runs `make chaos` and `make dsql-model` make",
    "FIRST": "the first seed of them",
    "SEED": "the one run that `make chaos` repeats, step by step",
    "ONLY": "words of the guards that `make mutations` takes out",
    "UPGRADE": "`1` has `make lock` take newer versions",
}

#: What in the Makefile is its own and not for whoever types.
OF_MAKEFILE = {
    *("BROWSER_PY", "CHECKOV", "CHECKS", "DEV", "EMULATOR", "FOUND", "LOCAL", "MAKE", "MAKEFILE_LIST"),
    *("CURDIR", "MOST_WORKERS", "PAGES_PY", "PY", "SAM", "SBOM", "TOOLS", "UV"),
}

#: Code that finds what commands take, for a process of its own: what a command imports has effects.
PARSERS = """
import argparse, json, runpy, sys, warnings
warnings.simplefilter("ignore")

class Caught(BaseException):
    pass

def caught(parser, *_):
    raise Caught(parser)

argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_known_args = caught

def parsers(modules):
    for module in modules:
        sys.argv = [module]
        try:
            runpy.run_module(module, run_name="__main__")
        except Caught as parser:
            yield module, parser.args[0]

def actions(parser, words=()):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from actions(below, [*words, name])
        else:
            yield parser, words, action
"""

_ASK_PARSERS = (
    PARSERS
    + """
def options(parser):
    for parser, words, action in actions(parser):
        if action.option_strings and action.dest != "help":
            text = (action.help or "") % {**vars(action), "prog": parser.prog}
            value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
            yield list(words), action.option_strings[-1], str(value), text

print(json.dumps({module: list(options(parser)) for module, parser in parsers(json.load(sys.stdin))}))
"""
)


class Option(NamedTuple):
    """A flag of a command: the words before it, itself, what it takes, and what it is for."""

    words: list[str]
    flag: str
    value: str
    text: str


def commands() -> list[str]:
    """Give the modules that are commands and read options, but for those of the browser's environment."""
    found = []
    for path in sorted(ROOT.glob("[a-z]*/**/*.py")):
        source = path.read_text(encoding="utf-8")
        if "run_command(main" in source and re.search(
            "ArgumentParser|read_options|command import main", source
        ):
            found.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    # What drives a browser wants an environment of its own, which is not always there.
    return [one for one in found if one != "tools.pages" and not one.startswith("tests.browser.")]


def options() -> dict[str, list[Option]]:
    """Give every command's flags, as its own parser has them."""
    done = subprocess.run(
        [sys.executable, "-c", _ASK_PARSERS],
        input=json.dumps(commands()),
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return {module: [Option(*one) for one in found] for module, found in json.loads(done.stdout).items()}


def targets() -> dict[str, str]:
    """Give the target of make that runs a module, where there is one."""
    found: dict[str, str] = {}
    for target, recipe in re.findall(
        r"^([a-z-]+):.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M
    ):
        for module in re.findall(r"\$\(PY\) -m ([\w.]+)", recipe):
            found.setdefault(module, f"make {target}")
    found |= {f"bench.{path.stem}": f"make bench BENCH={path.stem}" for path in (ROOT / "bench").glob("*.py")}
    found["operations"] = "./rewards"
    return found


def environment_of_functions() -> dict[str, tuple[list[str], str]]:
    """Give each variable that the template sets with the functions that have it, and what its value is."""
    for_all = template()["Globals"]["Function"]["Environment"]["Variables"]
    found = {name: (list(functions()), _value(value)) for name, value in for_all.items()}
    for function in functions():
        for name, value in variables(function).items():
            whose, known = found.get(name, ([], _value(value)))
            found[name] = ([*whose, function], known if known == _value(value) else "each its own")
    return found


def schedules() -> Iterator[str]:
    """Give a row for each function that a schedule starts: how often, and what its module says of it."""
    when: dict[str, list[str]] = {}
    for event in events("ScheduleV2"):
        when.setdefault(event.function, []).append(f"`{event.properties['ScheduleExpression']}`")
    for function, expressions in when.items():
        tree = ast.parse((ROOT / f"{handler_module(function).replace('.', '/')}.py").read_text("utf-8"))
        said = (ast.get_docstring(tree) or "").partition("\n")[0]
        said = said.removeprefix("Scheduled: ").removeprefix("Scheduled, ").rstrip(".")
        counted = ", ".join(f"`{name}`" for name in emitted(tree))
        yield f"| `{function}` | {', '.join(expressions)} | {said} | {counted} |"


def emitted(tree: ast.AST) -> list[str]:
    """Give the names of the metrics that a module emits, with `<what>` in the place of what varies.

    They are said where a metric is added, where findings are counted under one, or as the keys of a dict.
    """
    found, by_variable = [], False
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="add_metric")
                | ast.Name(id="_count")
                | ast.Subscript(value=ast.Name(id="Findings")),
                args=[named, *_],
            ):
                names = [named.body, named.orelse] if isinstance(named, ast.IfExp) else [named]
                by_variable |= any(isinstance(name, ast.Name) for name in names)
                found += [_said(name) for name in names if isinstance(name, ast.Constant | ast.JoinedStr)]
    if by_variable:
        given = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)]
        keys = [key for value in given if isinstance(value, ast.Dict) for key in value.keys]
        said = [str(key.value) for key in keys if isinstance(key, ast.Constant)]
        found = [*(name for name in said if re.fullmatch(r"(?:[A-Z][a-z]+){2,}", name)), *found]
    return [*dict.fromkeys(found)]


def _said(name: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(name, ast.Constant):
        return str(name.value)
    return "".join(_said(part) if isinstance(part, ast.Constant) else "<what>" for part in name.values)


def _value(value: Any) -> str:
    text = json.dumps(value)
    named = re.findall(r'"(?:Ref|Fn::GetAtt)": "([\w.:]+)"', text)
    return ", ".join(f"`{name}`" for name in dict.fromkeys(named)) or f"`{text.strip(chr(34))[:60]}`"


def _parameters(file: str) -> Iterator[str]:
    for name, given in template(file)["Parameters"].items():
        default = given.get("Default")
        said = "no default" if default is None else "empty" if default == "" else f"`{default}`"
        allowed = ", ".join(f"`{one}`" for one in given.get("AllowedValues", ()))
        bounds = [f"at least {given['MinValue']}"] if "MinValue" in given else []
        bounds += [f"at most {given['MaxValue']}"] if "MaxValue" in given else []
        extra = f"; one of {allowed}" if allowed else f"; {', '.join(bounds)}" if bounds else ""
        yield f"- `{name}` ({said}{extra}): {' '.join(given['Description'].split())}"


def configuration() -> str:
    """Give the page. Raises KeyError for a parameter without a description."""
    lines = [
        "# Configuration",
        "",
        "Everything that can be set, and where. `.local/dev/bin/python -m tools.pages` makes this page from",
        "the templates and the commands.",
        "",
        "## Parameters of a Region: template.yaml",
        "",
        "Given by `samconfig.toml`, or by `--parameter-overrides`: [deploy.md](deploy.md).",
        "",
        *_parameters("template.yaml"),
        "",
        "## Parameters of a cluster: cluster.yaml",
        "",
        "Given by `./rewards region`: [regions.md](regions.md).",
        "",
        *_parameters("cluster.yaml"),
        "",
        "## Variables of the functions",
        "",
        "The template sets these. A function whose variable is missing or wrong fails at its first start,",
        "and names it.",
        "",
        "| variable | whose | from |",
        "|---|---|---|",
    ]
    every = len(functions())
    for name, (whose, value) in sorted(environment_of_functions().items()):
        which = "all" if len(whose) == every else _few(whose)
        lines.append(f"| `{name}` | {which} | {value} |")
    lines += ["", "## Schedules", "", "What each job is for is the first line of its module.", ""]
    lines += ["| function | when | what for | metrics |", "|---|---|---|---|", *schedules()]
    lines += ["", "## Variables of the commands", "", "| variable | what for |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in OF_COMMANDS.items()]
    lines += ["", "## What make is given", "", "`make help` lists the targets.", ""]
    lines += [
        "| name | what for |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in OF_MAKE.items()),
    ]
    lines += ["", "## Flags", "", "Each command lists its own with `--help`."]
    run_by = targets()
    alike: dict[str, list[str]] = {}
    for module, found in options().items():
        alike.setdefault(json.dumps(found), []).append(module)
    for text, modules in alike.items():
        found = [Option(*one) for one in json.loads(text)]
        if not found:
            continue
        runs = [run_by.get(module, f".local/dev/bin/python -m {module}") for module in modules]
        lines += ["", f"### {', '.join(modules)}", "", ", ".join(f"`{run}`" for run in runs), ""]
        said: dict[tuple[str, str, str], list[str]] = {}
        for option in found:
            said.setdefault((option.flag, option.value, option.text), []).append(" ".join(option.words))
        for (flag, value, text), words in said.items():
            where = f" of {', '.join(f'`{one}`' for one in words)}" if any(words) and len(words) < 6 else ""
            lines.append(f"- `{flag}{f' {value}' if value else ''}`{where}: {' '.join(text.split())}")
    return "\n".join(lines) + "\n"


def _few(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) if len(names) < 6 else "many"


# --- The schema -----------------------------------------------------------------------------------------


class Table(NamedTuple):
    """A table as the migrations leave it: its columns with their types, its key, the comment before it."""

    columns: dict[str, str]
    key: list[str]
    comment: str


def tables() -> dict[str, Table]:
    """Give the tables of the schema by their names."""
    found: dict[str, Table] = {}
    comments = {}
    for path in sorted(DIRECTORY.glob("*.sql")):
        said = r"((?:^-- .*\n)+)create table if not exists xpoints\.(\w+) \("
        for text, name in re.findall(said, path.read_text(encoding="utf-8"), re.M):
            comments[name] = re.split(r"\.(?:\s|$)", " ".join(re.findall(r"^-- (.*)$", text, re.M)))[0]
    for migration in plain_migrations():
        (statement,) = pglast.parse_sql(migration.text)
        made: Any = statement.stmt
        name = getattr(getattr(made, "relation", None), "relname", "")
        if isinstance(made, pglast.ast.CreateStmt):
            found[name] = Table({}, [], comments.get(name, ""))
            for each in made.tableElts or ():
                _element(found[name], each)
        elif isinstance(made, pglast.ast.AlterTableStmt) and name in found:
            for command in made.cmds or ():
                _element(found[name], command.def_)
    return found


def _element(table: Table, element: Any) -> None:
    primary = pglast.enums.ConstrType.CONSTR_PRIMARY
    kind = type(element).__name__
    if kind == "ColumnDef":
        table.columns[element.colname] = element.typeName.names[-1].sval
        if any(each.contype == primary for each in element.constraints or ()):
            table.key.append(element.colname)
    elif kind == "Constraint" and element.contype == primary:
        table.key.extend(each.sval for each in element.keys)


def schema() -> str:
    """Give the page of the schema: a picture of keys and references, and what each table is for."""
    known = tables()
    referring: dict[str, set[str]] = defaultdict(set)
    for reference in REFERENCES:
        referring[reference.table].add(reference.column)
    lines = [
        "# The schema",
        "",
        "The tables of the schema `xpoints`, with their keys and what refers to what; the others stand",
        "in `sql/migrations/`. Aurora DSQL has no foreign keys: the references are declared in",
        "`sql/references.py`, and kept whole by [cascades](cascades.md) and the [orphan sweep](jobs.md).",
        "`.local/dev/bin/python -m tools.pages` makes this page from both.",
        "",
        "```mermaid",
        "erDiagram",
    ]
    for name, table in known.items():
        lines.append(f"    {name} {{")
        for column, kind in table.columns.items():
            marks = ["PK"] * (column in table.key) + ["FK"] * (column in referring[name])
            if marks:
                lines.append(f"        {kind} {column} {', '.join(marks)}")
        lines.append("    }")
    for reference in REFERENCES:
        unique = known[reference.table].key == [reference.column]
        lines.append(
            f"    {reference.parent} ||--o{'|' if unique else '{'} {reference.table} : {reference.column}"
        )
    lines += ["```", "", "## Tables", "", "| table | key | what it holds |", "|---|---|---|"]
    for name, table in known.items():
        lines.append(f"| `{name}` | {', '.join(f'`{column}`' for column in table.key)} | {table.comment} |")
    lines += ["", "## References", "", "| column | names a row of | when that is gone |", "|---|---|---|"]
    for reference in REFERENCES:
        gone = f", or its `{reference.gone_column}` is set" if reference.gone_column else ""
        action = "the sweep deletes the row" if reference.on_orphan == "delete" else "the sweep reports it"
        lines.append(f"| `{reference}` | `{reference.parent}`{gone} | {action} |")
    return "\n".join(lines) + "\n"


#: The pages, and what makes each.
PAGES = {CONFIGURATION: configuration, SCHEMA: schema}


def main() -> None:
    """Write both."""
    argparse.ArgumentParser(prog="python -m tools.pages", description=main.__doc__).parse_args()
    for path, make in PAGES.items():
        write(path, make())


def write(path: Path, text: str) -> None:
    """Write a page and say so."""
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    run_command(main)
