"""What the built artifacts hold: what a function needs, compiled, and nothing else."""

import importlib.util
import os
import re
import shutil
import zipfile
from pathlib import Path

import pydantic
import pytest

from bench.coldstart import ENVIRONMENT
from tests.started import run_script
from tools import bundle
from tools.template import functions

#: Of the layer and any one function together.
MOST_ZIPPED_BYTES = 10_000_000

#: What Lambda's runtime carries, what only tools need, and what a start must not pay for.
NOT_IN_THE_LAYER = {"awslambdaric", "aws_xray_sdk", "boto3", "botocore", "pip", "pytest", "setuptools"}


@pytest.fixture(scope="module")
def layer() -> Path:
    return bundle.layer(for_host=True)


@pytest.fixture(scope="module")
def cloud_layer() -> Path:
    return bundle.layer(for_host=False)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("artifacts")
    for function in functions():
        (root / function).mkdir()
        bundle.function(function, root / function, for_host=True)
    return {function: root / function for function in functions()}


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sizes(artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Give the bytes of each function's archive."""
    archives = tmp_path_factory.mktemp("archives")
    return {name: zipped_bytes(path, archives / f"{name}.zip") for name, path in artifacts.items()}


def zipped_bytes(directory: Path, archive: Path) -> int:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(files(directory)):
            target.write(directory / name, name)
    return archive.stat().st_size


_READ = """
import importlib, sys
from pathlib import Path
def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".sql"):
        print(Path(arguments[0]).relative_to(Path.cwd()).as_posix())
sys.addaudithook(note)
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


@pytest.fixture(scope="module")
def queries_read() -> dict[str, set[str]]:
    """Give the query files that each function's modules open as they are imported."""
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(bundle.ROOT),
        "AWS_REGION": "us-east-1",
        **ENVIRONMENT,
    }
    modules = [["-c", *bundle.modules_of(function)] for function in functions()]
    started = run_script(_READ, modules, environment)
    assert [done.stderr for done in started if done.returncode] == []
    return {function: set(done.stdout.split()) for function, done in zip(functions(), started, strict=True)}


@pytest.mark.parametrize("function", functions())
def test_an_artifact_holds_the_modules_that_its_handler_reaches_and_their_sql_and_nothing_else(
    function: str, artifacts: dict[str, Path], queries_read: dict[str, set[str]]
) -> None:
    sources = {str(path.relative_to(bundle.ROOT)) for path in bundle.modules_of(function).values()}
    held = files(artifacts[function])

    assert {name for name in held if name.endswith(".py")} == sources
    others = {name for name in held if not name.endswith((".py", ".pyc"))}
    migrations = {f"sql/migrations/{path.name}" for path in bundle.ROOT.glob("sql/migrations/*.sql")}
    pages = {path.relative_to(bundle.ROOT).as_posix() for path in (bundle.ROOT / "web").rglob("*.*")}
    whole = {
        "MigrateFunction": migrations,
        "PublishPagesFunction": {*pages, "web/vendor/lit-html/LICENSE"} - {"web/vendor/lit-html"},
    }
    trusted = {"sql/certificates/amazon.pem"} if "sql/connection.py" in sources else set()
    assert others == queries_read[function] | whole.get(function, set()) | trusted


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


@pytest.mark.parametrize("built", ["layer", "cloud_layer"])
def test_the_layer_holds_neither_what_the_runtime_carries_nor_tools_nor_what_nobody_uses(
    built: str, request: pytest.FixtureRequest
) -> None:
    python = request.getfixturevalue(built) / "python"

    assert not NOT_IN_THE_LAYER & {path.name for path in python.iterdir()}
    assert not [unused for unused in bundle.UNUSED if (python / unused).exists()]


def test_what_is_left_out_is_there_to_be_left_out() -> None:
    installed = Path(pydantic.__file__).parents[1]

    assert [unused for unused in bundle.UNUSED if not (installed / unused).is_dir()] == []


@pytest.mark.parametrize("built", ["layer", "cloud_layer"])
def test_layer_and_function_are_small_enough_together(
    built: str, request: pytest.FixtureRequest, sizes: dict[str, int], tmp_path: Path
) -> None:
    # Where there is no interpreter of Lambda's version the layer has no bytecode; this one's is as long.
    layer = tmp_path / "compiled"
    shutil.copytree(request.getfixturevalue(built), layer)
    bundle._compile(layer)

    assert zipped_bytes(layer, tmp_path / "layer.zip") + max(sizes.values()) < MOST_ZIPPED_BYTES, sizes


# --- For AWS


def test_what_is_compiled_in_the_layer_for_aws_is_for_its_processor_and_its_python(cloud_layer: Path) -> None:
    libraries = [path for path in cloud_layer.rglob("*") if ".so" in path.suffixes]
    extensions = [path.name for path in libraries if ".cpython-" in path.name]

    assert len(extensions) >= 3, "psycopg's and pydantic's"
    assert [name for name in extensions if not name.endswith(".cpython-313-aarch64-linux-gnu.so")] == []
    # The ELF header's machine, 183 for 64-bit ARM: libraries that came along have no tag in their name.
    machines = {path.name: int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries}
    assert [name for name, machine in machines.items() if machine != 183] == []
    tags = {
        tag
        for wheel in cloud_layer.glob("python/*.dist-info/WHEEL")
        for tag in re.findall(r"^Tag: (\S+)$", wheel.read_text(), re.M)
    }
    assert all(tag.endswith("-any") or re.search(r"-manylinux\w*_aarch64$", tag) for tag in tags), tags
    assert {tag.partition("-")[0] for tag in tags if not tag.endswith("-any")} == {"cp313"}


def test_the_layer_for_aws_holds_the_packages_of_the_lock_file_and_no_other(cloud_layer: Path) -> None:
    locked = re.findall(
        r"^([\w.-]+)(?:\[\w,]+)?==", (bundle.ROOT / "requirements" / "runtime.txt").read_text(), re.M
    )
    held = {path.name.partition("-")[0] for path in cloud_layer.glob("python/*.dist-info")}

    assert {name.replace("_", "-").lower() for name in held} <= {name.lower() for name in locked}
    assert {"psycopg", "psycopg_binary", "pydantic", "aws_lambda_powertools"} <= held


def test_the_layers_are_of_the_same_packages(layer: Path, cloud_layer: Path) -> None:
    names = [{path.name for path in each.glob("python/*.dist-info")} for each in (layer, cloud_layer)]

    assert names[0] == names[1]


def test_a_functions_artifact_for_aws_is_the_hosts_but_for_its_bytecode(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    bundle.function("CheckoutFunction", tmp_path, for_host=False)

    def sources(directory: Path) -> dict[str, bytes]:
        return {
            name: (directory / name).read_bytes() for name in files(directory) if not name.endswith(".pyc")
        }

    assert sources(tmp_path) == sources(artifacts["CheckoutFunction"])
