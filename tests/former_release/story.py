"""What a shop does in a day, told by the functions of whatever release is on the path.

    python story.py <JSON: functions' modules to database roles> <customer> <another> <the other's username>

Runs as a process of its own, with nothing of the present release: it knows the functions by what is promised
of them alone, API Gateway's, SQS's and the Scheduler's events, and EventBridge's API on this machine. Prints
what each step was answered.
"""

import importlib
import json
import os
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

Handler = Callable[[dict[str, Any], Any], Any]

#: What the bus was given, by detail-type.
published: dict[str, list[str]] = {}


class _Bus(BaseHTTPRequestHandler):
    """EventBridge's PutEvents."""

    def do_POST(self) -> None:
        entries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Entries"]
        for entry in entries:
            published.setdefault(entry["DetailType"], []).append(entry["Detail"])
        answer = json.dumps({"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in entries]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing."""


class _Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class _Functions:
    """The functions, each imported in its database role when first called."""

    def __init__(self, roles: dict[str, str]) -> None:
        self._roles = roles
        self._handlers: dict[str, Handler] = {}

    def __call__(self, module: str, event: dict[str, Any]) -> Any:
        if module not in self._handlers:
            os.environ["DATABASE_ROLE"] = self._roles[module]
            self._handlers[module] = importlib.import_module(module).handler
        return self._handlers[module](event, _Context())

    def request(
        self,
        module: str,
        customer: str,
        method: str,
        resource: str,
        body: Any = None,
        key: str | None = None,
        query: dict[str, str] | None = None,
        **path: str,
    ) -> dict[str, Any]:
        """Send a request as API Gateway hands it on; every caller is of the staff, too."""
        headers = {
            "Idempotency-Key": key or str(uuid4()),
            "If-Match": '"1"',
            "Content-Type": "application/json",
        }
        answer: dict[str, Any] = self(
            module,
            {
                "httpMethod": method,
                "resource": resource,
                "pathParameters": path or None,
                "queryStringParameters": query,
                "multiValueQueryStringParameters": query and {name: [each] for name, each in query.items()},
                "headers": headers,
                "body": None if body is None else json.dumps(body),
                "isBase64Encoded": False,
                "requestContext": {
                    "requestId": str(uuid4()),
                    "authorizer": {
                        "claims": {"custom:customer_id": customer, "cognito:groups": "staff"},
                    },
                },
            },
        )
        return answer

    def consume(self, module: str, detail_type: str) -> Any:
        """Give a consumer all events of a type, as its queue does."""
        records = [
            {
                "messageId": str(number),
                "body": json.dumps({"detail-type": detail_type, "detail": json.loads(detail)}),
                "attributes": {"ApproximateReceiveCount": "1"},
            }
            for number, detail in enumerate(published.get(detail_type, []))
        ]
        return self(module, {"Records": records})["batchItemFailures"]


def tell(functions: _Functions, ana: str, ben: str, bens_name: str) -> dict[str, Any]:
    """Go through the day; give what came of each step: a status, or what a function returned."""
    told: dict[str, Any] = {}

    def request(step: str, module: str, *what: Any, **more: Any) -> Any:
        answer = functions.request(f"handlers.{module}", *what, **more)
        told[step] = answer["statusCode"]
        return json.loads(answer["body"] or "null")

    item = request("add item", "staff", ana, "POST", "/staff/items", {"name": "Mug", "points_price": 10})
    item_id = (item or {}).get("item_id", str(uuid4()))
    stock = {"available": 9, "slots": 2}
    request("set stock", "staff", ana, "PUT", "/staff/items/{item_id}/stock", stock, item_id=item_id)
    credit = {"points": 500, "kind": "GIFT"}
    credits_of = "/staff/customers/{customer_id}/credits"
    request("credit", "staff", ana, "POST", credits_of, credit, customer_id=ben)
    for sort in ("name", "points", "-points", "-rating"):
        # Each of these is a statement that is filled in when it is loaded, so that it stands in no file.
        request(f"by {sort}", "storefront", ana, "GET", "/catalog", query={"sort": sort})
        of = {"sort": sort, "category": "Cups"}
        request(f"by {sort}, of one", "storefront", ana, "GET", "/catalog", query=of)
    order: Any = {}
    for number in ("first", "second"):
        set_item = "/cart/items/{item_id}"
        request(f"{number} cart", "storefront", ana, "PUT", set_item, {"quantity": 2}, item_id=item_id)
        shown = request(f"{number} look", "storefront", ana, "GET", "/cart")
        total = {"expected_total_points": (shown or {}).get("total_points", 0)}
        for time in ("", " again"):
            order = request(
                f"{number} order{time}", "checkout", ana, "POST", "/orders", total, key=f"{number}-order"
            )
        told[f"relay after the {number}"] = functions("handlers.relay", {})["EventsPublished"]
        told[f"{number} cart cleaned"] = functions.consume("handlers.clean_cart", "OrderPlaced.v1")
    order_id = (order or {}).get("order_id", str(uuid4()))
    lines = {"lines": [{"item_id": item_id, "quantity": 1}]}
    request("refund", "orders", ana, "POST", "/orders/{order_id}/refunds", lines, order_id=order_id)
    request("order", "storefront", ana, "GET", "/orders/{order_id}", order_id=order_id)
    gift = {"payee_username": bens_name, "points": 7}
    request("transfer", "orders", ana, "POST", "/points/transfers", gift)
    request("ledger", "storefront", ana, "GET", "/points/ledger")
    request("account", "account", ana, "PUT", "/account", {"first_name": "Ana"})
    request("erase", "account", ben, "DELETE", "/account")
    request("retire", "staff", ana, "DELETE", "/staff/items/{item_id}", item_id=item_id)
    functions("handlers.relay", {})
    told["erased"] = functions.consume("handlers.erase_customer", "CustomerErased.v1")
    told["retired"] = functions.consume("handlers.retire_item", "CatalogItemRetired.v1")
    for job in ("expire", "sweep_orphans"):
        functions(f"handlers.{job}", {})
        told[job] = "done"
    told["differences"] = functions("handlers.audit_ledger", {"audit": "whole"})
    return told


def main() -> None:
    """Tell the story to whoever reads the last line."""
    with HTTPServer(("127.0.0.1", 0), _Bus) as bus:
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{bus.server_port}"
        threading.Thread(target=bus.serve_forever, daemon=True).start()
        roles, *people = sys.argv[1:]
        told = tell(_Functions(json.loads(roles)), *people)
        bus.shutdown()
    sys.stdout.write(f"\n{json.dumps(told)}\n")


if __name__ == "__main__":
    main()
