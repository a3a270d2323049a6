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
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=work)))
        found = stack.enter_context(engine(directory))
        ports = sorted(_ports(environment, event))
        stack.enter_context(reachable(found.bridge, ports))
        artifact = directory / "artifact"
        _build(function.id, artifact, found.architecture)
        template, event_file = directory / "template.yaml", directory / "event.json"
        template.write_text(
            yaml.safe_dump(_template(function, artifact, found.architecture, _seen_inside(environment)))
        )
        if isinstance(event, dict) and "ResponseURL" in event:
            event = {**event, "ResponseURL": event["ResponseURL"].replace(HOST, NAME_OF_HOST)}
        event_file.write_text(json.dumps(event))
        command = [str(ROOT / ".local" / "sam" / "bin" / "sam"), "local", "invoke", function.id]
        command += ["--template-file", str(template), "--event", str(event_file)]
        command += [*_reaching(found), *options]
        yield Ready(command, _clean(environment, found, directory))


def run(ready: Ready, show: Any) -> Any:
    """Run `sam local invoke` and give the function's answer; `show` gets each line that is said meanwhile.

    Raises StartError when there was none.
    """
    said: list[str] = []
    with tempfile.TemporaryFile("w+") as answer:
        process = subprocess.Popen(
            ready.command,
            env=ready.environment,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
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
    urls = [environment["AWS_ENDPOINT_URL"]]
    if isinstance(event, dict) and "ResponseURL" in event:
        urls.append(event["ResponseURL"])
    for url in urls:
        place = urlsplit(url)
        if place.hostname == HOST and place.port:
            yield place.port


def _seen_inside(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the variables with this machine's address as a container knows it."""
    inside = dict(environment)
    for name in ("DATABASE_HOST", "AWS_ENDPOINT_URL"):
        inside[name] = environment[name].replace(HOST, NAME_OF_HOST)
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
    keys = {name: value for name, value in environment.items() if name.startswith("AWS_")}
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
