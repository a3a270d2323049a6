"""What SAM makes of a template: the translator that CloudFormation runs, in the SAM CLI's environment."""

import json
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

from tools.template import ROOT, template

REQUIRED = {"SenderAddress": "orders@example.com", "DemoPassword": "Shop-Points-2026"}

#: Runs there: reads {"template", "parameters"}, writes the result. No policy is named by a short name.
_TRANSLATE = """
import json, sys
from types import SimpleNamespace
from samtranslator.translator.transform import transform
given = json.load(sys.stdin)
nothing = SimpleNamespace(load=lambda: {})
json.dump(transform(given["template"], given["parameters"], nothing), sys.stdout)
"""


def translated(source: Mapping[str, Any], parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Give a template's resources after SAM's transform, its code paths standing for uploaded code."""
    uploaded = json.loads(json.dumps(source), object_hook=_upload)
    given = {"template": uploaded, "parameters": {**REQUIRED, **(parameters or {})}}
    done = subprocess.run(
        [ROOT / ".local" / "sam" / "bin" / "python", "-c", _TRANSLATE],
        input=json.dumps(given),
        env={"AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resources: dict[str, Any] = json.loads(done.stdout)["Resources"]
    return resources


@cache
def deployed() -> dict[str, Any]:
    """Give the resources of template.yaml as CloudFormation gets them."""
    return translated(template())


def _upload(each: dict[str, Any]) -> dict[str, Any]:
    paths = {key for key in ("CodeUri", "ContentUri") if each.get(key) == "."}
    return {**each, **dict.fromkeys(paths, "s3://artifacts/code")}
