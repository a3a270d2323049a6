"""Request bodies as they are sent, by operation id."""

from typing import Any

_ITEM = "5d0f7e3e-6a0c-4a86-9d42-0b6c2f4b8a10"
_ANA = "8c1d5c0e-54a1-4c39-8a6e-3f5a0f1f9b21"
_BO = "f3a86e0b-0b1e-4a4a-8d54-7f6c1c2d3e42"

EXAMPLES: dict[str, Any] = {
    "setCartItem": {"quantity": 2},
    "placeOrder": {"expected_total_points": 900},
    "refundOrder": {"lines": [{"item_id": _ITEM, "quantity": 1}]},
    "transferPoints": {"payee_username": "carlos_salazar_121", "points": 50},
    "changeAccount": {"first_name": "Ana", "last_name": "Silva", "email": "ana@example.com", "city": "Porto"},
    "confirmEmail": {"code": "7KQM-3XPA"},
    "staffAddItem": {"name": "Teapot", "category": "Kitchen", "points_price": 450, "usd_price": "34.90"},
    "staffChangeItem": {"name": "Teapot", "category": "Kitchen", "points_price": 400, "usd_price": "34.90"},
    "staffSetStock": {"available": 1000, "slots": 100},
    "staffAdjustStock": {"delta": -3},
    "staffCreditPoints": {"points": 100, "kind": "GIFT", "description": "Sorry for the wait"},
    "staffBoostHousehold": {"beneficiary": _ANA, "partner": _BO, "points": 429, "below_points": 1000},
}
