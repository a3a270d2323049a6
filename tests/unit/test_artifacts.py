"""What the built artifacts hold: what a function needs, compiled, and nothing else."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

from bench.coldstart import functions
from local import bundle

#: Of the layer and any one function together.
MOST_ZIPPED_BYTES = 10_000_000

#: What Lambda's runtime carries, what only tools need, and what a start must not pay for.
NOT_IN_THE_LAYER = {"awslambdaric", "aws_xray_sdk", "boto3", "botocore", "pip", "pytest", "setuptools"}


@pytest.fixture(scope="module")
def layer() -> Path:
    return bundle.layer(for_host=True)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("artifacts")
    for function in functions():
        (root / function).mkdir()
        bundle.function(function, root / function, for_host=True)
    return {function: root / function for function in functions()}


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def zipped_bytes(directory: Path, archive: Path) -> int:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(files(directory)):
            target.write(directory / name, name)
    return archive.stat().st_size


@pytest.mark.parametrize("function", functions())
def test_an_artifact_holds_the_modules_that_its_handler_reaches_and_their_sql_and_nothing_else(
    function: str, artifacts: dict[str, Path]
) -> None:
    sources = {str(path.relative_to(bundle.ROOT)) for path in bundle.modules_of(function).values()}
    held = files(artifacts[function])

    assert {name for name in held if name.endswith(".py")} == sources
    others = {name for name in held if not name.endswith((".py", ".pyc"))}
    assert all(name.startswith("sql/") and name.endswith(".sql") for name in others), others
    assert bool(others) == ("sql.queries" in bundle.modules_of(function))


@pytest.mark.parametrize("function", functions())
def test_every_module_of_an_artifact_is_compiled(function: str, artifacts: dict[str, Path]) -> None:
    held = files(artifacts[function])
    sources = {name for name in held if name.endswith(".py")}

    assert {name for name in held if name.endswith(".pyc")} == {
        importlib.util.cache_from_source(name) for name in sources
    }


def test_every_module_of_the_layer_is_compiled(layer: Path) -> None:
    held = files(layer)

    assert {importlib.util.cache_from_source(name) for name in held if name.endswith(".py")} <= held


def test_the_layer_holds_neither_what_the_runtime_carries_nor_tools_nor_what_nobody_uses(layer: Path) -> None:
    python = layer / "python"

    assert not NOT_IN_THE_LAYER & {path.name for path in python.iterdir()}
    assert not [unused for unused in bundle.UNUSED if (python / unused).exists()]


def test_layer_and_function_are_small_enough_together(
    layer: Path, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    sizes = {name: zipped_bytes(path, tmp_path / f"{name}.zip") for name, path in artifacts.items()}

    assert zipped_bytes(layer, tmp_path / "layer.zip") + max(sizes.values()) < MOST_ZIPPED_BYTES, sizes
