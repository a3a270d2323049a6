"""SAM and the emulator read and write templates with libyaml as they do with PyYAML's own code."""

import subprocess

import pytest

from tools.template import ROOT

_LIBYAML = """
import yaml
yaml.SafeLoader, yaml.SafeDumper = yaml.CSafeLoader, yaml.CSafeDumper
"""

_SAM = """
import json, sys
from samcli.yamlhelper import yaml_dump, yaml_parse
import yaml
for name in sys.argv[1:]:
    read = yaml_parse(open(name, encoding="utf-8").read())
    print(json.dumps(read))
    print(json.dumps(yaml_parse(yaml_dump(read))))
print("with", yaml.SafeLoader.__name__, yaml.SafeDumper.__name__, file=sys.stderr)
"""

_EMULATOR = """
import json, sys
from ministack.services.cloudformation.engine import CfnLoader, _parse_template
for name in sys.argv[1:]:
    print(json.dumps(_parse_template(open(name, encoding="utf-8").read())))
print("with", CfnLoader.__mro__[1].__name__, file=sys.stderr)
"""


@pytest.mark.parametrize(("environment", "read"), [("sam", _SAM), ("emulator", _EMULATOR)])
def test_a_template_is_read_and_written_the_same(environment: str, read: str) -> None:
    def run(program: str) -> tuple[list[str], str]:
        done = subprocess.run(
            [
                ROOT / ".local" / environment / "bin" / "python",
                "-c",
                program,
                "template.yaml",
                "cluster.yaml",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines(), done.stderr

    own, said = run(read)
    libyaml, said_with_it = run(_LIBYAML + read)

    assert (said.count("CSafe"), said_with_it.count("CSafe") > 0) == (0, True)
    assert len(own[0]) > 10_000
    for one, other in zip(own, libyaml, strict=True):
        assert one == other
