"""What `make up` does with pages that are edited while it runs; functions: tests/system/test_make_up.py."""

from pathlib import Path
from typing import Any

import pytest

from local import reload
from local.reload import Reloader


class Bucket:
    """A Region that has pages and no functions."""

    def __init__(self) -> None:
        self.resources = {"PagesBucket": "pages"}
        self.kept: dict[str, Any] = {}

    def functions(self) -> dict[str, Any]:
        return {}

    def client(self, _service: str) -> "Bucket":
        return self

    def put_object(self, Key: str, **file: Any) -> None:  # noqa: N803
        self.kept[Key] = file

    def delete_object(self, Key: str, **_: Any) -> None:  # noqa: N803
        del self.kept[Key]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reload, "ROOT", tmp_path)
    (tmp_path / "web").mkdir()
    for name in reload.DEPLOYED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "web"


def test_a_page_is_published_and_what_editors_keep_beside_it_is_not(web: Path) -> None:
    bucket, said = Bucket(), list[str]()
    reloader = Reloader(bucket, said.append)  # type: ignore[arg-type]
    for name in ("shop.css", ".shop.css.swp", "#shop.css#", ".#shop.css", "shop.css~", "4913.bin"):
        (web / name).write_text("p {}")

    for _ in range(2):
        reloader.look()

    assert set(bucket.kept) == {"shop.css"}
    assert bucket.kept["shop.css"]["ContentType"] == "text/css; charset=utf-8"
    assert said == ["web/4913.bin is not published: pages have no files of this kind"]

    (web / "shop.css").unlink()
    for _ in range(2):
        reloader.look()
    assert not bucket.kept
