"""The SAM CLI, in its own environment: `python local/sam_process.py build ...` is `sam build ...`.

It reads a template ten times between a build and a deployment, with PyYAML's own parser, which takes most of
its processor time. libyaml's reads and writes the same (tests/unit/test_sam_process.py), in a tenth of it.
"""

import gc

import yaml

if __name__ == "__main__":
    if yaml.__with_libyaml__:
        yaml.SafeLoader, yaml.SafeDumper = yaml.CSafeLoader, yaml.CSafeDumper  # type: ignore[assignment,misc]

    # What it makes it keeps until it ends: to look for garbage takes a tenth of its time, and finds none.
    gc.set_threshold(200_000)

    from samcli.cli.main import cli

    cli(prog_name="sam")
