"""What SAM makes of a template: the translator that CloudFormation runs, in the SAM CLI's environment."""

import atexit
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

from tools.template import ROOT, template

REQUIRED = {"SenderAddress": "orders@example.com", "DemoPassword": "Shop-Points-2026"}

#: Runs there: reads a line of {"template", "parameters"}, writes one of the result, or of why SAM refuses
#: it. No policy is named by a short name.
_TRANSLATE = """
import json, sys
from types import SimpleNamespace
from samtranslator.translator.transform import transform
nothing = SimpleNamespace(load=lambda: {})
for line in sys.stdin:
    given = json.loads(line)
    try:
        answer = transform(given["template"], given["parameters"], nothing)
    except Exception as error:
        causes = getattr(error, "causes", [error])
        answer = {"refusal": [getattr(cause, "message", repr(cause)) for cause in causes]}
    print(json.dumps(answer), flush=True)
"""


def translated(source: Mapping[str, Any], parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Give a template's resources after SAM's transform, its code paths standing for uploaded code."""
    uploaded = json.loads(json.dumps(source), object_hook=_upload)
    given = {"template": uploaded, "parameters": {**REQUIRED, **(parameters or {})}}
    process = _translator()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(given) + "\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    assert "refusal" not in answer, answer["refusal"]
    resources: dict[str, Any] = answer["Resources"]
    return resources


@cache
def _translator() -> subprocess.Popen[str]:
    # One for all: to import what translates takes longer than to translate.
    process = subprocess.Popen(
        [ROOT / ".local" / "sam" / "bin" / "python", "-c", _TRANSLATE],
        env={"AWS_DEFAULT_REGION": "us-east-1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    return process


@cache
def deployed() -> dict[str, Any]:
    """Give the resources of template.yaml as CloudFormation gets them."""
    return translated(template())


def _upload(each: dict[str, Any]) -> dict[str, Any]:
    paths = {key for key in ("CodeUri", "ContentUri") if each.get(key) == "."}
    return {**each, **dict.fromkeys(paths, "s3://artifacts/code")}
