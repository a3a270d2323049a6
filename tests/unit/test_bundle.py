import re
from pathlib import Path

import pytest

from tools import bundle
from tools.template import functions


@pytest.mark.parametrize("function", functions())
def test_a_function_is_named_after_its_module(function: str) -> None:
    assert functions()[function]["Handler"] == f"{bundle.handler_module(function)}.handler"


@pytest.mark.parametrize("function", functions())
def test_a_function_is_bundled_with_its_own_module_and_what_is_behind_it(function: str) -> None:
    modules = bundle.modules_of(function)

    assert bundle.handler_module(function) in modules
    assert {name.partition(".")[0] for name in modules} <= {"domain", "sql", "events", "handlers"}


def test_a_function_is_bundled_without_the_other_functions_modules() -> None:
    assert "handlers.checkout" not in bundle.modules_of("RelayFunction")
    assert "handlers.relay" not in bundle.modules_of("CheckoutFunction")


def test_the_migrations_travel_with_the_function_that_runs_them_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNDLE_FOR", "host")
    for function in ("MigrateFunction", "CheckoutFunction"):
        bundle.main(function, tmp_path / function)

    assert list((tmp_path / "MigrateFunction" / "sql" / "migrations").glob("*.sql"))
    assert not (tmp_path / "CheckoutFunction" / "sql" / "migrations").exists()
    assert (tmp_path / "CheckoutFunction" / "sql" / "queries" / "checkout.sql").exists()


def test_a_bundle_carries_bytecode_that_is_used_whatever_the_time_of_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNDLE_FOR", "host")

    bundle.main("CheckoutFunction", tmp_path)

    sources, compiled = list(tmp_path.rglob("*.py")), list(tmp_path.rglob("*.pyc"))
    assert len(compiled) == len(sources)
    # PEP 552: flags 0b01 say "by hash, not by time", 0b10 would have the hash checked at import.
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\x00\x00\x00"}


def test_a_layer_without_bytecode_is_not_taken_for_one_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / ".local" / "tools" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    # It finds the directory to fill, and fills it with one module.
    uv.write_text(
        '#!/bin/sh\nwhile [ "$1" != --target ]; do shift; done\nmkdir -p "$2"; touch "$2/module.py"\n'
    )
    uv.chmod(0o755)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "runtime.txt").touch()
    monkeypatch.setattr(bundle, "ROOT", tmp_path)

    monkeypatch.setattr(bundle, "_is_cloud_version", lambda: False)
    without = bundle.layer(for_host=False)
    monkeypatch.setattr(bundle, "_is_cloud_version", lambda: True)
    compiled = bundle.layer(for_host=False)

    assert not list(without.rglob("*.pyc"))
    assert len(list(compiled.rglob("*.pyc"))) == 1
    assert bundle.layer(for_host=False) == compiled, "built once"


def test_a_handler_that_is_missing_is_named_with_its_function() -> None:
    with pytest.raises(bundle.BundleError, match="NoSuchFunction"):
        bundle.modules_of("NoSuchFunction")


def test_an_import_of_a_module_that_is_not_there_fails_the_build_and_not_the_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "__init__.py").touch()
    (tmp_path / "handlers" / "checkout.py").write_text("from handlers.forgotten import something\n")
    monkeypatch.setattr(bundle, "ROOT", tmp_path)

    with pytest.raises(bundle.BundleError, match=r"handlers\.checkout wants handlers\.forgotten"):
        bundle.modules_of("CheckoutFunction")
    (tmp_path / "handlers" / "checkout.py").write_text(
        "from aws_lambda_powertools.utilities.batch import BatchProcessor\n"
    )
    with pytest.raises(bundle.BundleError, match=r"utilities\.batch, which the layer leaves out"):
        bundle.modules_of("CheckoutFunction")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('load("no_such")', "sql/queries/no_such.sql is loaded and does not exist"),
        ('load("a" + "b")', "sql/x.py:1: give load"),
    ],
)
def test_queries_that_cannot_be_found_fail_the_build_and_not_the_first_call(
    line: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "ROOT", tmp_path)
    module = tmp_path / "sql" / "x.py"
    module.parent.mkdir()
    module.write_text(line)
    with pytest.raises(bundle.BundleError, match=re.escape(complaint)):
        bundle.sql_of({"sql.x": module})
