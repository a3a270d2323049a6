"""Writes docs/api.md: a guided tour of the API whose requests were sent and whose answers came back.

    python -m demos.tour

starts a Region on this machine, takes the tour and writes the page.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import httpx
import psycopg

from local.region import ROOT, LocalRegion, stop_on_signals, stopwatch

PAGE = ROOT / "docs" / "api.md"

_NAMESPACE = UUID("6f1c1d0a-3b62-4a55-9d1e-0d6f9a6f3b7e")
_LONGEST = 1400

#: Who takes the tour: short names and usernames, none of which the sample data use.
_PEOPLE = {"ana": "ana_tour", "carlos": "carlos_tour", "staff": "staff_tour"}

#: Answers' headers that the tour shows, where an answer has them.
_SHOWN = (
    "Allow",
    "ETag",
    "Idempotency-Replayed",
    "Rewards-Attempts",
    "Rewards-Round-Trips",
    "Retry-After",
)

_BEFORE = """# The API, by example

Everything below was sent to a Region on one machine and is what came back; `python -m demos.tour` takes the
tour again and rewrites this page. The reference is [api/openapi.json](../api/openapi.json), made from the
routes (`python -m api`); `make up` prints where to read it as a page. Every kind of problem is on
[problems.md](problems.md).

The rules that hold everywhere:

- **Who calls** is said by the Cognito ID token in `Authorization`, with or without `Bearer`. No path and no
  body names the customer.
- **POST** carries an `Idempotency-Key` of 8 to 64 characters, as does the PUT that sets stock. Sent again
  with the same body within two days it gets the first answer, marked `Idempotency-Replayed: true`; with
  another body it is refused. Later the key is forgotten and stands for a new request. Every other PUT and
  DELETE can be repeated as it is.
- **Lists** come in pages of `limit` entries (20, at most 100); `next_cursor` is the next page's `cursor`.
- **Limits**: bodies of 64 KiB, carts of 100 lines, 999 units a line, 1,000,000,000 points at once. Text
  holds no control characters and nothing that turns the reading order; letters of every script are welcome.
- **HEAD** is not offered; **OPTIONS** answers browsers' preflight requests without a token.
- A **4xx** is the caller's to fix. A **5xx** is ours: send the same request with the same key again after
  `Retry-After` seconds; whatever had happened, it happens once.
"""


class Tour:
    """Takes down what is sent and what comes back. `people` are names with their tokens."""

    def __init__(self, api_url: str, people: Mapping[str, str]) -> None:
        self.page = _BEFORE
        self._api_url = api_url
        self._people = people

    def say(self, text: str) -> None:
        """Write a paragraph or a heading."""
        self.page += f"\n{text}\n"

    def send(
        self,
        person: str,
        method: str,
        path: str,
        body: Any = None,
        expect: int = 200,
        **headers: str,
    ) -> httpx.Response:
        """Send a request, write it and its answer down, and make sure that the answer is the expected one."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = httpx.request(
            method,
            self._api_url + path,
            headers={"Authorization": self._people.get(person, ""), **named},
            json=body,
            timeout=30,
            trust_env=False,
        )
        if answer.status_code != expect:
            raise AssertionError(f"{method} {path} gave {answer.status_code}: {answer.text}")
        request = [f"{method} /v1{path}"]
        request += [f"Authorization: <{person}'s ID token>"] if person in self._people else []
        request += [f"{name}: {value}" for name, value in named.items()]
        request += ["", json.dumps(body, ensure_ascii=False)] if body is not None else []
        shown = [f"{answer.status_code} {answer.reason_phrase}"]
        shown += [f"{name}: {answer.headers[name]}" for name in _SHOWN if name in answer.headers]
        text = json.dumps(answer.json(), indent=2, ensure_ascii=False) if answer.text else ""
        shown += ["", text if len(text) <= _LONGEST else text[:_LONGEST] + "\n…"] if text else []
        lines = ["```http", *request, "```", "", "```http", *shown, "```"]
        self.page += "\n" + "\n".join(lines) + "\n"
        return answer


def take(region: LocalRegion) -> str:
    """Take the tour in a Region; give the page. Of other data the page would show some, and needs none."""
    people = {name: uuid5(_NAMESPACE, name) for name in _PEOPLE.values()}
    with psycopg.connect(region.database.conninfo(), autocommit=True) as connection:
        for name, customer_id in people.items():
            connection.execute(
                "insert into xpoints.customers (id, username, first_name) values (%s, %s, %s)",
                [customer_id, name, name.split("_")[0].capitalize()],
            )
            connection.execute("insert into xpoints.points_balances values (%s, 1000)", [customer_id])
            if name.startswith("staff"):
                connection.execute(
                    "insert into xpoints.staff_members (customer_id) values (%s)", [customer_id]
                )
            connection.execute(
                "insert into xpoints.transactions (customer_id, tx_type, points, tx_description) "
                "values (%s, 'OPENING', 1000, 'Opening balance')",
                [customer_id],
            )
    region.enrol(
        [
            {
                "username": name,
                "email": f"{name}@example.com",
                "customer_id": str(customer_id),
                "staff": name.startswith("staff"),
            }
            for name, customer_id in people.items()
        ]
    )
    tour = Tour(region.api_url, {short: region.sign_in(name) for short, name in _PEOPLE.items()})
    mug, seat = _shelf(tour)
    _browse(tour, mug)
    _order(tour, mug, seat)
    _points(tour, people)
    _account(tour)
    _errors(tour)
    return tour.page


def _shelf(tour: Tour) -> tuple[str, str]:
    """Add what the tour is about; give the items' ids."""
    tour.say("## The staff fill the shelf")
    tour.say("Members of the Cognito group `staff` add items. A price is in points.")
    mug = {"name": "Mug", "category": "Kitchen", "points_price": 120, "usd_price": "9.50"}
    seat = {"name": "Front-row seat", "category": "Events", "points_price": 300}
    mug_id: str = tour.send("staff", "POST", "/staff/items", mug, 201, Idempotency_Key="add-mug-001").json()[
        "item_id"
    ]
    seat_id: str = tour.send(
        "staff", "POST", "/staff/items", seat, 201, Idempotency_Key="add-seat-001"
    ).json()["item_id"]
    tour.say(
        "An item's stock is unlimited until it is set. One slot does for ordinary stock; for a drop that "
        "thousands wait for, lay the units into many slots, so that buyers do not queue up on one row. Set "
        "under the same key a second time, stock does not bring back what was sold in between."
    )
    path = f"/staff/items/{seat_id}"
    stock = {"available": 4, "slots": 2}
    for _ in range(2):
        tour.send("staff", "PUT", f"{path}/stock", stock, Idempotency_Key="seats-0001")
    tour.say("A change names the version that it is based on. Sent again, it finds itself done:")
    tag = tour.send("staff", "GET", path).headers["ETag"]
    changed = {**seat, "points_price": 280}
    for _ in range(2):
        tour.send("staff", "PUT", path, changed, If_Match=tag)
    tour.say("Whoever bases another change on that version has to read the item again:")
    tour.send("staff", "PUT", path, {**seat, "points_price": 290}, 412, If_Match=tag)
    return mug_id, seat_id


def _browse(tour: Tour, mug: str) -> None:
    tour.say("## Ana browses")
    tour.send("ana", "GET", "/catalog?sort=points&limit=2")
    tour.say("One item, and the same again for a caller who has it already:")
    path = f"/catalog/{mug}"
    tag = tour.send("ana", "GET", path).headers["ETag"]
    tour.send("ana", "GET", path, None, 304, If_None_Match=tag)
    tour.say(
        "A search finds beginnings of words of names and descriptions, without case and accents; "
        "`sort` is `name`, `points`, `-points` or `-rating`."
    )
    tour.send("ana", "GET", "/catalog?q=seat&category=Events")


def _order(tour: Tour, mug: str, seat: str) -> None:
    tour.say("## Ana orders")
    tour.say("Setting a quantity means that quantity, however often it is sent.")
    tour.send("ana", "PUT", f"/cart/items/{mug}", {"quantity": 2}, 200)
    tour.send("ana", "PUT", f"/cart/items/{seat}", {"quantity": 1}, 200)
    total = tour.send("ana", "GET", "/cart").json()["total_points"]
    tour.say("The order names the total that was shown. Had a price changed meanwhile, it would be refused:")
    tour.send(
        "ana", "POST", "/orders", {"expected_total_points": total - 1}, 409, Idempotency_Key="ana-order-1"
    )
    body, key = {"expected_total_points": total}, "ana-order-2"
    placed = tour.send("ana", "POST", "/orders", body, 201, Idempotency_Key=key).json()
    tour.say(
        "The answer got lost on the way? The same request gives the same answer and orders nothing more."
    )
    tour.send("ana", "POST", "/orders", body, 201, Idempotency_Key=key)
    order = f"/orders/{placed['order_id']}"
    tour.say("A mug goes back. Units go back by line, never more than were bought and never twice.")
    one_mug = {"lines": [{"item_id": mug, "quantity": 1}]}
    tour.send("ana", "POST", f"{order}/refunds", one_mug, 201, Idempotency_Key="ana-refund-1")
    three = {"lines": [{"item_id": mug, "quantity": 3}]}
    tour.send("ana", "POST", f"{order}/refunds", three, 409, Idempotency_Key="ana-refund-2")
    tour.say("An order of which nothing was given back yet can be cancelled as a whole; this one can not.")
    tour.send("ana", "POST", f"{order}/cancel", None, 409, Idempotency_Key="ana-cancel-1")
    tour.say("The order, its lines and all that happened to it:")
    tour.send("ana", "GET", order)
    tour.send("ana", "GET", "/orders?limit=1")


def _points(tour: Tour, people: Mapping[str, UUID]) -> None:
    tour.say("## Points")
    body = {"payee_username": _PEOPLE["carlos"], "points": 50}
    tour.send("ana", "POST", "/points/transfers", body, 201, Idempotency_Key="ana-gift-001")
    unknown = {**body, "payee_username": "nobody"}
    tour.send("ana", "POST", "/points/transfers", unknown, 409, Idempotency_Key="ana-gift-002")
    tour.send("ana", "GET", "/points")
    tour.say("Every change of the balance is an entry of the ledger, and none is ever edited.")
    tour.send("ana", "GET", "/points/ledger?limit=3")
    tour.say("The staff credit points, and boost households that have few:")
    credit = {"points": 100, "kind": "GIFT", "description": "Sorry for the wait"}
    carlos, ana = people[_PEOPLE["carlos"]], people[_PEOPLE["ana"]]
    tour.send(
        "staff", "POST", f"/staff/customers/{carlos}/credits", credit, 201, Idempotency_Key="gift-carlos-1"
    )
    boost = {"beneficiary": str(ana), "partner": str(carlos), "points": 429, "below_points": 1000}
    tour.send("staff", "POST", "/staff/boosts", boost, 409, Idempotency_Key="boost-0001")
    tour.send("staff", "GET", "/staff/customers?username=carlos_tour")


def _account(tour: Tour) -> None:
    tour.say("## The account")
    tag = tour.send("ana", "GET", "/account").headers["ETag"]
    change = {"first_name": "Ana", "last_name": "Silva", "city": "Porto"}
    tour.send("ana", "PUT", "/account", change, If_Match=tag)
    tour.say("Without the version that it is based on, a change is refused:")
    tour.send("ana", "PUT", "/account", change, 428)
    tour.say(
        "Erasure takes effect at once for the customer; what is stored about them goes within minutes, "
        "orders and the ledger stay without a name."
    )
    tour.send("carlos", "DELETE", "/account", None, 202)
    tour.send("carlos", "GET", "/account", None, 404)


def _errors(tour: Tour) -> None:
    tour.say("## When something is wrong")
    tour.say("Wrong values are named by a JSON pointer (or `header:`, `query:`, `path:` and a name):")
    item = "5d0f7e3e-6a0c-4a86-9d42-0b6c2f4b8a10"
    tour.send("ana", "PUT", f"/cart/items/{item}", {"quantity": 2**63, "price": 0}, 400)
    tour.send("ana", "GET", "/catalog?limit=many", None, 400)
    tour.say("No token, no rights, no such method, no such path:")
    tour.send("nobody", "GET", "/points", None, 401)
    tour.send("ana", "GET", "/staff/customers?username=carlos_tour", None, 403)
    tour.send("ana", "DELETE", "/points", None, 405)
    tour.send("ana", "GET", "/nothing/here", None, 404)


def write(page: str, path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page, encoding="utf-8")


def main() -> None:
    """Start a Region, take the tour, write the page."""
    argparse.ArgumentParser(prog="python -m demos.tour", description=main.__doc__).parse_args()
    stop_on_signals()
    say: Callable[[str], None] = stopwatch()
    with LocalRegion(say=say) as region:
        say("taking the tour")
        write(take(region))
    say(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
