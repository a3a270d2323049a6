"""Writes docs/api.md: a guided tour of the API whose commands were typed and whose answers came back.

    .local/dev/bin/python -m demos.tour

starts what `make up` starts, takes the tour with a shell and curl, as a reader does, and writes the page.
"""

import argparse
import json
import os
import subprocess
from http import HTTPStatus
from pathlib import Path
from textwrap import fill
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import uuid4

from local.made_up import made_up
from local.region import ROOT, stop_on_signals, stopwatch
from local.sample_data import DEMO_USERNAME, HOUSEHOLD_USERNAMES
from local.sample_data.customers import mailbox_of
from local_dsql.console import run_command

PAGE = ROOT / "docs" / "api.md"

#: Whom the tour erases, and to whom points are given before: one whom nothing else needs.
_LEAVING = "olivia_johnson_126"

#: The variables of the shell that hold the tokens.
_CUSTOMER, _STAFF, _OTHER = "TOKEN", "STAFF_TOKEN", "OTHER_TOKEN"

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

Every command below was typed in the Region of `make up`, one after the other, and what came back stands
below it; of an answer's headers those are shown that say something. To follow, start `make up` in a terminal
of its own; you need curl. `.local/dev/bin/python -m demos.tour` takes the tour again and rewrites this page,
and a test takes it as it stands here.

The reference is [api/openapi.json](../api/openapi.json), made from the routes; `make up` prints where to read
it as a page. Every kind of problem is on [problems.md](problems.md).

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


class Shell:
    """A shell with nothing in its environment but HOME and PATH, in the project's folder.

    Raises AssertionError for a command that fails.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["sh"],
            cwd=ROOT,
            env={"HOME": os.devnull, "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def enter(self, command: str) -> str:
        """Run a command as it was typed; give what it printed."""
        process, mark = self._process, uuid4().hex
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{command}\nprintf '\\n%s %s\\n' {mark} $?\n")
        process.stdin.flush()
        said = ""
        for line in process.stdout:
            if line.startswith(mark):
                assert line.split()[1] == "0", f"{command}\nfails: {said}"
                return said
            said += line
        raise AssertionError(f"{command}\nended the shell: {said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


class Answer(NamedTuple):
    """What the page shows of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Any

    @classmethod
    def read(cls, text: str) -> "Answer":
        """Read what `curl -i` prints."""
        head, _, body = text.partition("\n\n")
        first, *lines = head.splitlines()
        headers = dict(line.lower().partition(": ")[::2] for line in lines)
        given = {line.lower().partition(": ")[0]: line.partition(": ")[2] for line in lines}
        shown = tuple((name, given[name.lower()]) for name in _SHOWN if name.lower() in headers)
        return cls(int(first.split()[1]), shown, json.loads(body) if body.strip() else None)

    def __str__(self) -> str:
        lines = [f"{self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body is not None:
            lines += ["", json.dumps(self.body, indent=2, ensure_ascii=False)]
        return "\n".join(lines)


class Tour:
    """Takes down what is typed and what comes back."""

    def __init__(self, shell: Shell) -> None:
        self.page = _BEFORE
        self._shell = shell

    def say(self, text: str) -> None:
        """Write a paragraph or a heading."""
        self.page += "\n" + fill(text, 110, break_long_words=False, break_on_hyphens=False) + "\n"

    def enter(self, command: str) -> str:
        """Type a command and write it down; give what it printed."""
        self.page += f"\n```sh\n{command}\n```\n"
        return self._shell.enter(command)

    def send(
        self,
        token: str | None,
        method: str,
        path: str,
        body: Any = None,
        expect: int = 200,
        *,
        keep: tuple[str, str] | None = None,
        **headers: str,
    ) -> None:
        """Send a request and write it down with its answer, whose status has to be the expected one.

        `token` is the shell's variable that has it. `keep` has the shell keep a member of the answer, or
        its ETag: the variable's name, and the member's. In a path and a body, `$NAME` is a variable of the
        shell.
        """
        options = [f'-H "Authorization: ${token}"'] if token else []
        options += ['-H "Content-Type: application/json"'] if body is not None else []
        for name, value in headers.items():
            quote = '"' if value.startswith("$") else "'"
            options += [f"-H {quote}{name.replace('_', '-')}: {value}{quote}"]
        options += [f"-d {_quoted(body)}"] if body is not None else []
        command = f'curl -sSi "$API{path}"'
        if method != ("GET" if body is None else "POST"):
            command += f" -X {method}"
        command = " ".join([command, *options[:1]])
        command = " \\\n  ".join([command, *options[1:]])
        if keep is not None:
            command += " | tee .local/answer"
        answer = Answer.read(self.enter(command))
        if answer.status != expect:
            raise AssertionError(f"{method} {path} gave {answer}")
        self.page += f"\n```http\n{answer}\n```\n"
        if keep is not None:
            variable, member = keep
            find = f"""grep -o '"{member}":"[^"]*' .local/answer | cut -d '"' -f 4"""
            if member == "ETag":
                find = "grep -i '^etag:' .local/answer | tr -d '\\r' | cut -d ' ' -f 2"
            self.enter(f"{variable}=$({find})")


def _quoted(body: Any) -> str:
    """Give a body as JSON in a shell's quotes, where the value `$NAME` is a variable's."""
    parts = json.dumps(body, ensure_ascii=False).split('"$')
    quoted = parts[0]
    for part in parts[1:]:
        name, _, rest = part.partition('"')
        quoted += f"\"'${name}'\"{rest}"
    return f"'{quoted}'"


def take() -> str:
    """Take the tour in the Region that `make up` started here; give the page."""
    with Shell() as shell:
        tour = Tour(shell)
        _sign_in(tour)
        _shelf(tour)
        _browse(tour)
        _order(tour)
        _points(tour)
        _account(tour)
        _errors(tour)
        return tour.page


def _sign_in(tour: Tour) -> None:
    tour.say("## Signed in")
    tour.say(
        f"`.local/region.env` has the address and two tokens, good for an hour: `$TOKEN` of the customer "
        f"`{DEMO_USERNAME}`, `$STAFF_TOKEN` of one of the staff. `make token` gives others:"
    )
    tour.enter(f". .local/region.env\nOTHER_TOKEN=$(make token USERNAME={_LEAVING})")
    tour.say("One route asks for no token: whether the Region can serve, its database included.")
    tour.send(None, "GET", "/health")


def _shelf(tour: Tour) -> None:
    tour.say("## The staff fill the shelf")
    tour.say("Members of the Cognito group `staff` add items. A price is in points.")
    mug = {"name": "Mug", "category": "Kitchen", "points_price": 120, "usd_price": "9.50"}
    seat = {"name": "Front-row seat", "category": "Events", "points_price": 300}
    for name, item in (("MUG", mug), ("SEAT", seat)):
        key = f"add-{name.lower()}-001"
        tour.send(_STAFF, "POST", "/staff/items", item, 201, keep=(name, "item_id"), Idempotency_Key=key)
    tour.say(
        "An item's stock is unlimited until it is set. One slot does for ordinary stock; for a drop that "
        "thousands wait for, lay the units into many slots, so that buyers do not queue up on one row. Set "
        "under the same key a second time, stock does not bring back what was sold in between."
    )
    path = "/staff/items/$SEAT"
    stock = {"available": 4, "slots": 2}
    for _ in range(2):
        tour.send(_STAFF, "PUT", f"{path}/stock", stock, Idempotency_Key="seats-0001")
    tour.say("A change names the version that it is based on. Sent again, it finds itself done:")
    tour.send(_STAFF, "GET", path)
    changed = {**seat, "points_price": 280}
    for _ in range(2):
        tour.send(_STAFF, "PUT", path, changed, If_Match='"1"')
    tour.say("Whoever bases another change on that version has to read the item again:")
    tour.send(_STAFF, "PUT", path, {**seat, "points_price": 290}, 412, If_Match='"1"')


def _browse(tour: Tour) -> None:
    tour.say("## Carlos browses")
    tour.send(_CUSTOMER, "GET", "/catalog/categories")
    tour.send(_CUSTOMER, "GET", "/catalog?sort=points&limit=2")
    tour.say("One item, and the same again for a caller who has it already:")
    tour.send(_CUSTOMER, "GET", "/catalog/$MUG", keep=("TAG", "ETag"))
    tour.send(_CUSTOMER, "GET", "/catalog/$MUG", None, 304, If_None_Match="$TAG")
    tour.say(
        "A search finds beginnings of words of names and descriptions, without case and accents; "
        "`sort` is `name`, `points`, `-points` or `-rating`."
    )
    tour.send(_CUSTOMER, "GET", "/catalog?q=seat&category=Events")


def _order(tour: Tour) -> None:
    tour.say("## Carlos orders")
    tour.say(
        "He begins with an empty cart. Setting a quantity means that quantity, however often it is sent."
    )
    tour.send(_CUSTOMER, "DELETE", "/cart", None, 204)
    tour.send(_CUSTOMER, "PUT", "/cart/items/$MUG", {"quantity": 2})
    tour.send(_CUSTOMER, "PUT", "/cart/items/$SEAT", {"quantity": 1})
    tour.send(_CUSTOMER, "GET", "/cart", keep=("VERSION", "cart_version"))
    tour.say(
        "The order names what was shown: the total, and the cart's version, which stands for items, "
        "quantities and prices. Where something has changed meanwhile, it is refused:"
    )
    seen = {"expected_total_points": 520, "cart_version": "$VERSION"}
    tour.send(
        _CUSTOMER, "POST", "/orders", {**seen, "expected_total_points": 519}, 409, Idempotency_Key="order-001"
    )
    tour.send(
        *(_CUSTOMER, "POST", "/orders", seen, 201), keep=("ORDER", "order_id"), Idempotency_Key="order-002"
    )
    tour.say(
        "The answer got lost on the way? The same request gives the same answer and orders nothing more."
    )
    tour.send(_CUSTOMER, "POST", "/orders", seen, 201, Idempotency_Key="order-002")
    order = "/orders/$ORDER"
    tour.say("A mug goes back. Units go back by line, never more than were bought and never twice.")
    one_mug = {"lines": [{"item_id": "$MUG", "quantity": 1}]}
    tour.send(_CUSTOMER, "POST", f"{order}/refunds", one_mug, 201, Idempotency_Key="refund-001")
    three = {"lines": [{"item_id": "$MUG", "quantity": 3}]}
    tour.send(_CUSTOMER, "POST", f"{order}/refunds", three, 409, Idempotency_Key="refund-002")
    tour.say("An order of which nothing was given back yet can be cancelled as a whole; this one can not.")
    tour.send(_CUSTOMER, "POST", f"{order}/cancel", None, 409, Idempotency_Key="cancel-001")
    tour.say("The order, its lines and all that happened to it:")
    tour.send(_CUSTOMER, "GET", order)
    tour.send(_CUSTOMER, "GET", "/orders?limit=1")
    tour.say(
        "What followed the order, and where it waits, is told to the staff by "
        "`GET /staff/orders/{order_id}/story`; how the Region is by `GET /staff/operations`. Both say how "
        "things are at a moment, so that no two answers are alike: they are not shown here. The staff's "
        "pages are drawn from them ([pages.md](pages.md)), and the reference has every member."
    )


def _points(tour: Tour) -> None:
    tour.say("## Points")
    body = {"payee_username": _LEAVING, "points": 50}
    tour.send(_CUSTOMER, "POST", "/points/transfers", body, 201, Idempotency_Key="gift-0001")
    unknown = {**body, "payee_username": "nobody"}
    tour.send(_CUSTOMER, "POST", "/points/transfers", unknown, 409, Idempotency_Key="gift-0002")
    tour.send(_CUSTOMER, "GET", "/points")
    tour.say("Every change of the balance is an entry of the ledger, and none is ever edited.")
    tour.send(_CUSTOMER, "GET", "/points/ledger?limit=2")
    tour.say("The staff credit points, and boost households that have few; the second boost is one too many:")
    elena, pablo = HOUSEHOLD_USERNAMES
    for name, username in (("ELENA", elena), ("PABLO", pablo)):
        tour.send(*(_STAFF, "GET", f"/staff/customers?username={username}"), keep=(name, "customer_id"))
    credit = {"points": 10, "kind": "GIFT", "description": "Sorry for the wait"}
    tour.send(_STAFF, "POST", "/staff/customers/$PABLO/credits", credit, 201, Idempotency_Key="credit-001")
    for beneficiary, partner, status in (("$ELENA", "$PABLO", 201), ("$PABLO", "$ELENA", 409)):
        boost = {"beneficiary": beneficiary, "partner": partner, "points": 429, "below_points": 1000}
        tour.send(
            *(_STAFF, "POST", "/staff/boosts", boost, status),
            Idempotency_Key=f"boost-{beneficiary.lstrip('$').lower()}",
        )


def _account(tour: Tour) -> None:
    tour.say("## The account")
    tour.send(_CUSTOMER, "GET", "/account")
    change = {
        "first_name": "Carlos",
        "last_name": "Salazar",
        "email": mailbox_of(DEMO_USERNAME),
        "city": "Porto",
    }
    tour.send(_CUSTOMER, "PUT", "/account", change, If_Match='"1"')
    tour.say("Without the version that it is based on, a change is refused:")
    tour.send(_CUSTOMER, "PUT", "/account", change, 428)
    tour.say(
        "Erasure takes effect at once for the customer; what is stored about them goes within minutes, "
        "orders and the ledger stay without a name."
    )
    tour.send(_OTHER, "DELETE", "/account", None, 202)
    tour.send(_OTHER, "GET", "/account", None, 403)


def _errors(tour: Tour) -> None:
    tour.say("## When something is wrong")
    tour.say("Wrong values are named by a JSON pointer (or `header:`, `query:`, `path:` and a name):")
    item = "5d0f7e3e-6a0c-4a86-9d42-0b6c2f4b8a10"
    tour.send(_CUSTOMER, "PUT", f"/cart/items/{item}", {"quantity": 2**63, "price": 0}, 400)
    tour.send(_CUSTOMER, "GET", "/catalog?limit=many", None, 400)
    tour.say("No token, no rights, no such method, no such path:")
    tour.send(None, "GET", "/points", None, 401)
    tour.send(_CUSTOMER, "GET", f"/staff/customers?username={DEMO_USERNAME}", None, 403)
    tour.send(_CUSTOMER, "DELETE", "/points", None, 405)
    tour.send(_CUSTOMER, "GET", "/nothing/here", None, 404)


def write(page: str, path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page, encoding="utf-8")


def main() -> None:
    """Start a Region, take the tour, write the page."""
    argparse.ArgumentParser(prog="python -m demos.tour", description=main.__doc__).parse_args()
    stop_on_signals()
    with made_up():
        say = stopwatch()
        say("taking the tour")
        write(take())
        say(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    run_command(main)
