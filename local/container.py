"""Run one function in a container: the real `sam local invoke`, given what it would not find by itself.

SAM drops variables that a template does not declare, and hands the caller's own AWS credentials to the
function. So the template is written here, with every variable in it, and SAM runs in an environment that
holds the Region's keys and a home that holds nothing.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from local.engine import NAME_OF_HOST, Engine, engine, reachable
from local.functions import Function
from local_dsql.guard import StartError
from local_dsql.places import own_directory
from local_dsql.ports import HOST
from tools import bundle
from tools.bundle import ROOT

_PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}

_BROWSERS_ENDPOINT = "AWS_ENDPOINT_URL_S3"


class Ready(NamedTuple):
    """A command of SAM's: arguments, and an environment without anything of the caller's."""

    command: list[str]
    environment: dict[str, str]


@contextmanager
def sam_local(
    function: Function, environment: Mapping[str, str], event: Any, options: Iterable[str] = ()
) -> Iterator[Ready]:
    """Give the command that runs a function in a container, with its files, for the length of a `with` block.

    `event` may have a ResponseURL of this machine. Raises StartError, BundleError.
    """
    work = ROOT / ".local" / "invoke"  # below the home, which engines in virtual machines share
    work.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        directory = stack.enter_context(own_directory("rewards-invoke", work))
        found = stack.enter_context(engine(directory))
        reached_by = stack.enter_context(reachable(found.bridge, set(_ports(environment, event))))
        artifact = directory / "artifact"
        _build(function.id, artifact, found.architecture)
        template, event_file = directory / "template.yaml", directory / "event.json"
        variables = _seen_inside(environment, reached_by)
        text = yaml.safe_dump(_template(function, artifact, found.architecture, variables))
        template.write_text(text, encoding="utf-8")
        event_file.write_text(json.dumps(_event_inside(event, reached_by)), encoding="utf-8")
        command = [str(ROOT / ".local" / "sam" / "bin" / "sam"), "local", "invoke", function.id]
        command += ["--template-file", str(template), "--event", str(event_file)]
        command += [*_reaching(found), *options]
        yield Ready(command, _clean(environment, found, directory))


def run(ready: Ready, show: Any) -> Any:
    """Run `sam local invoke` and give the function's answer; `show` gets each line that is said meanwhile.

    Raises StartError when there was none.
    """
    said: list[str] = []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as answer:
        process = subprocess.Popen(
            ready.command,
            env=ready.environment,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line.rstrip())
            show(said[-1:])
        status = process.wait()
        answer.seek(0)
        text = answer.read().strip()
    if status or not text:
        raise StartError(f"sam local invoke gave no answer (exit code {status}).")
    try:
        return json.loads(text.splitlines()[-1])
    except ValueError:
        return text


def _build(function: str, directory: Path, architecture: str) -> None:
    """Put a function and the layer's packages into one directory: SAM would build an image for a layer."""
    layer = bundle.layer(for_host=False, platform=_PLATFORMS[architecture]) / "python"
    shutil.copytree(layer, directory, copy_function=_link)
    bundle.function(function, directory, for_host=False)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _template(
    function: Function, artifact: Path, architecture: str, variables: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Description": "Written by local/container.py for one call; template.yaml is what is deployed.",
        "Resources": {
            function.id: {
                "Type": "AWS::Serverless::Function",
                "Properties": {
                    "CodeUri": str(artifact),
                    "Handler": f"{bundle.handler_module(function.id)}.handler",
                    "Runtime": f"python{bundle.CLOUD_VERSION}",
                    "Architectures": [architecture],
                    "MemorySize": function.memory_mb,
                    "Timeout": function.timeout_s,
                    "Environment": {"Variables": dict(variables)},
                },
            }
        },
    }


def _ports(environment: Mapping[str, str], event: Any) -> Iterator[int]:
    """Give the ports of this machine that a function calls."""
    yield int(environment["DATABASE_PORT"])
    yield from _port_of(environment["AWS_ENDPOINT_URL"])
    if _has_url(event):
        yield from _port_of(event["ResponseURL"])


def _port_of(url: str) -> Iterator[int]:
    place = urlsplit(url)
    if place.hostname == HOST and place.port:
        yield place.port


def _has_url(event: Any) -> bool:
    return isinstance(event, dict) and "ResponseURL" in event


def _url_inside(url: str, reached_by: Mapping[int, int]) -> str:
    for port in _port_of(url):
        return url.replace(f"{HOST}:{port}", f"{NAME_OF_HOST}:{reached_by[port]}", 1)
    return url


def _event_inside(event: Any, reached_by: Mapping[int, int]) -> Any:
    return (
        {**event, "ResponseURL": _url_inside(event["ResponseURL"], reached_by)} if _has_url(event) else event
    )


def _seen_inside(environment: Mapping[str, str], reached_by: Mapping[int, int]) -> dict[str, str]:
    """Give the variables with this machine's addresses as a container knows them."""
    inside = {
        **environment,
        "DATABASE_HOST": environment["DATABASE_HOST"].replace(HOST, NAME_OF_HOST),
        "DATABASE_PORT": str(reached_by[int(environment["DATABASE_PORT"])]),
        "AWS_ENDPOINT_URL": _url_inside(environment["AWS_ENDPOINT_URL"], reached_by),
    }
    if "PICTURES_BUCKET" in environment:
        # It signs URLs, which are kept and given to browsers: those are outside.
        inside[_BROWSERS_ENDPOINT] = environment["AWS_ENDPOINT_URL"]
    return inside


def _reaching(found: Engine) -> list[str]:
    return [] if found.bridge is None else ["--add-host", f"{NAME_OF_HOST}:{found.bridge.ip}"]


def _clean(environment: Mapping[str, str], found: Engine, directory: Path) -> dict[str, str]:
    """Give what SAM is run with: the Region's keys and no other, whatever the caller has."""
    home = directory / "home"
    home.mkdir()
    # What stands here goes before what the template says: the address of outside must not.
    keys = {
        name: value
        for name, value in environment.items()
        if name.startswith("AWS_") and not name.startswith("AWS_ENDPOINT_URL")
    }
    keys["AWS_ENDPOINT_URL_STS"] = environment["AWS_ENDPOINT_URL"]  # SAM asks whose account it is
    return {
        **keys,
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(directory),
        "DOCKER_HOST": found.url,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(home),
    }
