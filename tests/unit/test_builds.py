"""What `sam build` has made is taken again for as long as nothing has changed that it is made of."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import builds
from tools.template import ROOT


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project with a file of each kind, and nothing kept."""
    for name in (*builds._FILES, *(f"{folder}/deep/file" for folder in builds._FOLDERS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(builds, "ROOT", tmp_path)
    monkeypatch.setattr(builds, "_KEPT", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "built" / "OneFunction").mkdir(parents=True)
    (tmp_path / "built" / "template.yaml").write_text("built")
    return tmp_path


def kept(tree: Path) -> list[str]:
    return sorted(path.name for path in (tree / "kept").iterdir())


def test_a_build_is_kept_whole_and_found_until_a_source_changes(tree: Path) -> None:
    digest = builds.made_of()
    assert builds.find(digest) is None

    builds.keep(tree / "built", digest)

    found = builds.find(builds.made_of())
    assert found is not None
    assert (found / "OneFunction").is_dir()
    assert (found / "template.yaml").read_text() == "built"
    assert kept(tree) == [found.name]

    for path in builds._sources():
        path.write_text("new")
        assert builds.find(builds.made_of()) is None, path
        path.write_text("old")
        assert builds.find(builds.made_of()) == found
        path.rename(path.with_name("renamed"))
        if path.parent.name == "deep":
            assert builds.find(builds.made_of()) is None, path
        path.with_name("renamed").rename(path)


def test_bytecode_that_lies_about_is_no_source(tree: Path) -> None:
    digest = builds.made_of()
    (tree / "sql" / "deep" / "file.pyc").write_text("compiled")

    assert builds.made_of() == digest


def test_a_build_whose_sources_were_edited_meanwhile_is_not_kept(tree: Path) -> None:
    digest = builds.made_of()
    (tree / "handlers" / "deep" / "file").write_text("edited")

    builds.keep(tree / "built", digest)

    assert kept(tree) == []


def test_the_quicker_of_two_starts_is_the_one_whose_build_is_kept(tree: Path) -> None:
    digest = builds.made_of()
    builds.keep(tree / "built", digest)
    (tree / "built" / "template.yaml").write_text("later")

    builds.keep(tree / "built", digest)

    assert kept(tree) == [f"functions-{digest}"]
    assert (tree / "kept" / f"functions-{digest}" / "template.yaml").read_text() == "built"


def test_the_builds_that_were_last_used_are_kept(tree: Path) -> None:
    digest = builds.made_of()
    names = [f"functions-{name}" for name in "abcdef"]
    now = (tree / "kept").stat().st_mtime
    for hours, name in enumerate(reversed(["0123456789abcdef", *names]), start=1):
        (tree / "kept" / name).mkdir()
        os.utime(tree / "kept" / name, (now - hours * 3600,) * 2)
    assert builds.find("a")  # the oldest is used again

    builds.keep(tree / "built", digest)

    # Layers, which have no such name, stay however old they are.
    assert kept(tree) == sorted(["0123456789abcdef", "functions-a", *names[-3:], f"functions-{digest}"])


_BUILD = """
import json, os, sys
from pathlib import Path
from local_dsql.places import own_directory
opened = set()
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        opened.add(os.path.abspath(arguments[0]))
sys.addaudithook(note)
from tools import bundle
from tools.template import functions
for function in functions():
    with own_directory("rewards-tests") as directory:
        bundle.function(function, directory, for_host=True, bytecode=False)
print(json.dumps(sorted(opened)))
"""


def test_everything_that_a_build_reads_is_among_what_it_is_made_of() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BUILD], cwd=ROOT, capture_output=True, text=True, check=True
    )

    opened = map(Path, json.loads(done.stdout))
    own = {path for path in opened if path.is_relative_to(ROOT) and path.is_file()}
    read = {path for path in own if ".local" not in path.parts and "__pycache__" not in path.parts}
    # What names the functions for this test, and what SAM reads the template by.
    read -= {ROOT / "tools" / "template.py", ROOT / "tools" / "__init__.py"}
    assert len(read) > 100
    assert read <= set(builds._sources())
