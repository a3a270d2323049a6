"""The API's handlers on the test's database, each as its own role."""

from collections.abc import Callable

import pytest

from sql.connection import Database
from tests.integration.conftest import Connect
from tests.integration.shop import Shop
from tests.integration.shop_api.client import ROLES, Api


@pytest.fixture
def shop(connect: Connect) -> Shop:
    return Shop(connect())


@pytest.fixture
def api(shop: Shop, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api({module: database(role) for module, role in ROLES.items()}, shop)
    for module, way in api.databases.items():
        monkeypatch.setattr(module, "_DATABASE", way)
    from handlers import operations  # behind the client, which sets what it reads when it is imported

    monkeypatch.setattr(operations, "_MONITORING", object())  # there is no AWS here, and it says nothing
    return api
