"""Build one Lambda artifact: `python tools/bundle.py FUNCTION_OR_LAYER DIRECTORY`, called by `sam build`.

A function's artifact holds the project's modules that its handler reaches and the SQL they read; the layer
holds what requirements/runtime.txt locks. Standard library only: it runs in the interpreter that the artifact
is for, wherever there is one, because bytecode fits one version of Python alone.
"""

import ast
import compileall
import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("domain", "sql", "events", "handlers")
LAYER = "DependenciesLayer"

#: The runtime in template.yaml. BUNDLE_FOR=host builds for this interpreter and processor instead.
CLOUD_VERSION = "3.13"
CLOUD_PLATFORM = "aarch64-manylinux_2_28"

#: Parts of the dependencies that nothing here can come to use: a seventh of the zip. Each function is run
#: with its sample event against the layer without them, and one that imports them is not built.
UNUSED = (
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",  # a web page's scripts
    "pydantic/v1",  # imported for a class of version 1 alone
    # Tools of Powertools beside Logger and Metrics, which import none of them, not even inside a function.
    "aws_lambda_powertools/utilities/auth_alpha",
    "aws_lambda_powertools/utilities/batch",
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_masking",
    "aws_lambda_powertools/utilities/feature_flags",
    "aws_lambda_powertools/utilities/idempotency",
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/utilities/parameters",
    "aws_lambda_powertools/utilities/parser",
    "aws_lambda_powertools/utilities/streaming",
    "aws_lambda_powertools/utilities/validation",
)

#: What a module reads beside SQL: folders that go into its artifact whole.
FOLDERS = {"handlers.publish_pages": "web", "sql.connection": "sql/certificates"}


class BundleError(RuntimeError):
    """The artifact cannot be built; the message says what to change."""


def main(name: str, directory: Path) -> None:
    """Fill `directory` with the artifact of the function or layer `name` (its logical id in the template)."""
    for_host = os.environ.get("BUNDLE_FOR") == "host"
    if not for_host and not _is_cloud_version():
        print(f"note: no python{CLOUD_VERSION} here, so the artifact carries no bytecode", file=sys.stderr)
    if name == LAYER:
        _point_to(layer(for_host), directory) if for_host else _link_tree(layer(for_host), directory)
        return
    function(name, directory, for_host)


def function(name: str, directory: Path, for_host: bool, *, bytecode: bool = True) -> None:
    """Fill `directory` with the artifact of one function. Raises BundleError.

    Without bytecode it is built sooner, and compiled where it runs.
    """
    _copy_function(name, directory)
    if bytecode and (for_host or _is_cloud_version()):
        _compile(directory)


def modules_of(name: str) -> dict[str, Path]:
    """Give the project's modules that a function's handler reaches, by name. Raises BundleError."""
    found: dict[str, Path] = {}
    waiting = [(handler_module(name), "its name")]
    while waiting:
        module, wanted_by = waiting.pop()
        if any(f"{module}.".startswith(f"{unused.replace('/', '.')}.") for unused in UNUSED):
            raise BundleError(f"{name}: {wanted_by} wants {module}, which the layer leaves out (UNUSED)")
        if module in found or module.partition(".")[0] not in PACKAGES:
            continue
        path = _path(module)
        if path is None:
            raise BundleError(f"{name}: {wanted_by} wants {module}, which is no module of this project")
        found[module] = path
        if "." in module:
            waiting.append((module.rpartition(".")[0], module))
        waiting.extend((imported, module) for imported in _imports(path))
    return found


def sql_of(modules: dict[str, Path]) -> list[Path]:
    """Give the SQL that modules read: the queries that they load, and the migrations. Raises BundleError.

    Nothing beyond it, so that a function is deployed anew when what it runs has changed, and only then.
    """
    names = {name for module, path in modules.items() if module.startswith("sql.") for name in _loads(path)}
    queries = [ROOT / "sql" / "queries" / f"{name}.sql" for name in sorted(names)]
    missing = [str(path.relative_to(ROOT)) for path in queries if not path.is_file()]
    if missing:
        raise BundleError(f"{', '.join(missing)} is loaded and does not exist")
    migrations = ROOT.glob("sql/migrations/*.sql") if "sql.migrate" in modules else ()
    return [*queries, *sorted(migrations)]


def files_of(modules: dict[str, Path]) -> list[Path]:
    """Give the other files that modules read."""
    folders = [ROOT / folder for module, folder in FOLDERS.items() if module in modules]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


class _Facts(NamedTuple):
    """What a module's source says: modules that it imports, names that it takes from one, what it loads."""

    imports: tuple[str, ...]
    taken: tuple[tuple[str, str], ...]
    loads: tuple[str, ...]
    unreadable_loads: tuple[int, ...]


@lru_cache(maxsize=1024)
def _facts(source: bytes, file: str) -> _Facts:
    """Read a source once, however many functions reach it. Raises SyntaxError."""
    imports, taken, loads, unreadable = [], [], [], []
    for node in ast.walk(ast.parse(source, file)):
        match node:
            case ast.Import(names=names):
                imports += [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names):
                imports.append(module)
                taken += [(module, alias.name) for alias in names]
            case ast.Call(func=ast.Name(id="load"), args=[ast.Constant(value=str(name))]):
                loads.append(name)
            case ast.Call(func=ast.Name(id="load")):
                unreadable.append(node.lineno)
    return _Facts(tuple(imports), tuple(taken), tuple(loads), tuple(unreadable))


def _loads(path: Path) -> tuple[str, ...]:
    facts = _facts(path.read_bytes(), str(path))
    for line in facts.unreadable_loads:
        raise BundleError(f"{path.relative_to(ROOT)}:{line}: give load() the file's name itself")
    return facts.loads


def handler_module(name: str) -> str:
    """Give a function's module: handlers.clean_cart for CleanCartFunction. Raises BundleError."""
    stem = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Function")).lower()
    if _path(f"handlers.{stem}") is None:
        raise BundleError(f"{name} has no handlers/{stem}.py; a function is named after its module")
    return f"handlers.{stem}"


def _path(module: str) -> Path | None:
    stem = ROOT.joinpath(*module.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    facts = _facts(path.read_bytes(), str(path))
    yield from facts.imports
    # What is imported from a package may be a module or a name in the package.
    yield from (f"{module}.{name}" for module, name in facts.taken if _path(f"{module}.{name}"))


def _copy_function(name: str, directory: Path) -> None:
    found = modules_of(name)
    for path in [*found.values(), *sql_of(found), *files_of(found)]:
        target = directory / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def layer(for_host: bool, platform: str = CLOUD_PLATFORM) -> Path:
    """Give the layer's tree, built if it was not built from this lock file for this target before.

    `platform` is what it is for unless it is for the host, in uv's words.
    """
    lock = ROOT / "requirements" / "runtime.txt"
    target = f"{sys.version}-{sysconfig.get_platform()}" if for_host else f"{CLOUD_VERSION}-{platform}"
    compiled = for_host or _is_cloud_version()
    if not compiled:
        target += "-uncompiled"  # not to be taken for the artifact once something here can compile it
    digest = hashlib.sha256(lock.read_bytes() + Path(__file__).read_bytes() + target.encode())
    built = ROOT / ".local" / "layers" / digest.hexdigest()[:16]
    if built.exists():
        return built
    # Built aside and renamed, so that an interrupted or concurrent build never leaves half a layer.
    building = built.with_name(f"{built.name}.{os.getpid()}")
    for_target = (
        ["--python", sys.executable]
        if for_host
        else ["--python-version", CLOUD_VERSION, "--python-platform", platform]
    )
    uv = ROOT / ".local" / "tools" / "bin" / "uv"
    if not uv.exists():
        raise BundleError(f"{uv.relative_to(ROOT)} is missing: run `make tools` once")
    command: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    command += ["--link-mode", "copy", "--target", building / "python", *for_target, "-r", lock]
    try:
        subprocess.run(command, check=True)
        for leftover in ("bin", ".lock", *UNUSED):
            _remove(building / "python" / leftover)
        if compiled:
            _compile(building)
        building.rename(built)
    except OSError:
        if not built.exists():
            raise
    finally:
        _remove(building)
    return built


def _is_cloud_version() -> bool:
    return f"{sys.version_info.major}.{sys.version_info.minor}" == CLOUD_VERSION


def _compile(directory: Path) -> None:
    # Lambda's folders are read-only: without bytecode every cold start compiles. Unchecked, because the
    # deployment unpacks files with other times than these.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(directory, quiet=1, invalidation_mode=mode, stripdir=str(directory)):
        raise BundleError(f"{directory} holds a module that does not compile; the message stands above")


def _point_to(layer: Path, directory: Path) -> None:
    # On this machine every function process would unpack its own 20 MB. A path file leads them all to one
    # copy instead; ahead of the emulator's own packages, as a layer is.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = directory / "python" / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    (site / "dependencies.pth").write_text(
        f"import sys; sys.path.insert(0, {str(layer / 'python')!r})\n", encoding="utf-8"
    )


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except BundleError as error:
        sys.exit(str(error))
