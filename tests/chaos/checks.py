"""What must hold after a run, whatever happened in it. Each check gives a sentence for what does not hold."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from demos.invariants import ALWAYS, QUERIES
from domain import refusals
from domain.audit import is_chain
from domain.idempotency import Answer
from domain.refusals import Refusal
from sql.queries import load
from sql.references import REFERENCES
from sql.transactions.clean_region import Cleanup, CleanupKind
from sql.transactions.expire import EXPIRIES
from tests.chaos.world import BOOST_BELOW, REGIONS, Call, World

_INVARIANTS = load(str(QUERIES / "invariants"))

#: What tells a row's age; no cart line of a run gets old.
AGES = {
    "idempotency_records": "created_at",
    "inbox": "processed_at",
    "consumed_versions": "processed_at",
    "image_urls": "created",
    "notifications": "sent_at",
    "request_log": "started_at",
    "email_changes": "requested_at",
    "usage_counts": "to_timestamp((day + 1) * 86400::bigint)",
}


def problems(world: World) -> list[str]:
    """Look at everything that a run left; give what is wrong."""
    state = _State(world)
    return world.exchanges.problems + [
        f"{check.__name__.strip('_')}: {problem}" for check in _CHECKS for problem in check(state)
    ]


class _State:
    """A run with the tables that most checks need."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = world.rows
        self.entries = {
            row[0]: row[1:]
            for row in self.rows(
                "select id, customer_id, tx_type, points, reference_id from xpoints.transactions"
            )
        }
        self.inbox = Counter(self.rows("select event_id, consumer from xpoints.inbox"))
        self.erased = {
            row[0] for row in self.rows("select id from xpoints.customers where erased_at is not null")
        }
        self.retired = {
            row[0] for row in self.rows("select id from xpoints.catalog_items where retired_at is not null")
        }
        self.by_key: dict[tuple[UUID, str], list[Call]] = defaultdict(list)
        for call in world.calls:
            if call.key:
                self.by_key[call.owner, call.key].append(call)

    def effects(self, calls: list[Call]) -> list[Call]:
        """Give the calls that left their ledger entry."""
        return [call for call in calls if call.result_id in self.entries]


def _money_adds_up(state: _State) -> Iterator[str]:
    for name in ALWAYS:
        for row in state.rows(_INVARIANTS[name].text):
            yield f"{name}: {row}"
    chains: dict[UUID, list[tuple[int, int]]] = defaultdict(list)
    for customer, points, after in state.rows(
        "select customer_id, points, balance_after from xpoints.transactions"
    ):
        chains[customer].append((points, after))
    for customer, chain in chains.items():
        if not is_chain(chain):
            yield f"the ledger of {customer} is no chain: {chain}"
    for reference, count, points in state.rows(
        "select reference_id, count(*), sum(points) from xpoints.transactions "
        "where tx_type = 'TRANSFER' group by 1 having count(*) <> 2 or sum(points) <> 0"
    ):
        yield f"transfer {reference} has {count} entries that sum to {points}"
    for row in state.rows("select * from xpoints.points_balances where points_balance < 0"):
        yield f"a negative balance: {row}"


def _every_entry_has_its_cause(state: _State) -> Iterator[str]:
    calls = {call.result_id: call for call in state.world.calls}
    for entry_id, (_, kind, points, reference) in state.entries.items():
        call = calls.get(entry_id)
        if kind in ("OPENING", "FORFEIT") or (kind == "TRANSFER" and reference in calls):
            continue
        if call is None:
            yield f"a {kind} of {points} that nobody asked for"
        elif call.points and points != call.points:
            yield f"{call.operation} {entry_id} moved {points} points in place of {call.points}"


def _stock_adds_up(state: _State) -> Iterator[str]:
    left = dict(state.rows("select item_id, sum(available)::int from xpoints.stock group by 1"))
    sold = dict(
        state.rows(
            "select cat_item_id, sum(unit_cnt - coalesce(refunded_cnt, 0))::int "
            "from xpoints.order_items group by 1"
        )
    )
    for item, first in state.world.first_stock.items():
        if left[item] + sold.get(item, 0) != first:
            yield f"item {item}: {first} at first, {left[item]} left, {sold.get(item, 0)} sold and kept"
    for row in state.rows("select * from xpoints.stock where available < 0"):
        yield f"negative stock: {row}"


def _one_effect_a_key(state: _State) -> Iterator[str]:
    for (owner, key), calls in state.by_key.items():
        effects = state.effects(calls)
        if len(effects) > 1:
            yield f"{len(effects)} effects of one key: {[call.result_id for call in effects]}"
        for call in calls:
            if len(call.commits) > 1:
                yield f"{call.operation} {call.result_id} was committed {len(call.commits)} times"
        if calls[-1].outcome is None:
            yield f"{calls[0].operation} {key} has no answer, although nothing failed any more"
        last = calls[-1].outcome
        refused = isinstance(last, Refusal) and not refusals.idempotency_key_reused.fits(last)
        if effects and refused and owner not in state.erased:
            yield f"{calls[0].operation} {key} was done, and who asked again was refused: {last}"
        answered = [call for call in calls if isinstance(call.outcome, Answer)]
        for call in answered:
            yield from _answer_is_true(call, effects)
        reused = [call for call in calls if refusals.idempotency_key_reused.fits(call.outcome)]
        if reused and not effects:
            yield f"key {key} counts as used, and nothing was done under it"
        told_nothing_but_no = all(isinstance(call.outcome, Refusal) for call in calls)
        if told_nothing_but_no and effects and owner not in state.erased:
            yield f"all clients of {calls[0].operation} {key} were refused, and it was done"


def _answer_is_true(call: Call, effects: list[Call]) -> Iterator[str]:
    answer = call.outcome
    assert isinstance(answer, Answer)
    told = UUID(json.loads(answer.body)["id"])
    done = [effect for effect in effects if effect.result_id == told]
    if not done:
        yield f"a client was told of {call.operation} {told}, which does not exist"
    for effect in done:
        if effect.body != call.body:
            yield f"a request for {call.body!r} was answered with what was done for {effect.body!r}"
        if answer.replayed != (effect is not call):
            yield f"{call.operation} {told}: replayed={answer.replayed} in the answer to {call.result_id}"


def _marks_stand(state: _State) -> Iterator[str]:
    for operation, marked in (("erase", state.erased), ("retire", state.retired)):
        done = [call for call in state.world.calls if call.operation == operation]
        for call in done:
            if isinstance(call.outcome, bool) and call.subject not in marked:
                yield f"a client was told of the {operation} of {call.subject}, which is not there"
        commits = Counter(call.subject for call in done for _ in call.commits)
        for subject in marked:
            if commits[subject] != 1:
                yield f"{operation} of {subject} was committed {commits[subject]} times"


def _boosts_saw_each_other(state: _State) -> Iterator[str]:
    household = state.world.household
    when = {call.result_id: call.commits[0][1] for call in state.world.calls if call.commits}
    moved = [
        (when.get(entry_id, when.get(reference, 0)), points)
        for entry_id, (customer, kind, points, reference) in state.entries.items()
        # What a cascade forfeits comes after the end of the account: no boost finds it open.
        if customer in household and not (kind == "FORFEIT" and entry_id not in when)
    ]
    for call in state.world.calls:
        if call.operation == "boost" and call.result_id in state.entries:
            together = sum(points for commit, points in moved if commit < call.commits[0][1])
            if together >= BOOST_BELOW:
                yield f"a boost of a household with {together} points; the limit is {BOOST_BELOW}"


def _carts_hold_what_was_requested(state: _State) -> Iterator[str]:
    """Every order took exactly what was in the cart, and the carts hold what was requested since."""
    world = state.world
    lines: dict[UUID, dict[UUID, int]] = defaultdict(dict)
    for order_id, item, quantity in state.rows(
        "select tx_id, cat_item_id, unit_cnt from xpoints.order_items"
    ):
        lines[order_id][item] = quantity
    orders: list[tuple[UUID, int, int, dict[UUID, int]]] = [
        (call.owner, *call.commits[0], lines[call.result_id])
        for call in world.calls
        if call.operation == "order" and call.commits
    ]
    retired_at = {
        call.subject: call.commits[0][1]
        for call in world.calls
        if call.operation == "retire" and call.commits
    }

    def in_cart(customer: UUID, item: UUID, at: float) -> int:
        """Give the quantity that a snapshot taken at an exchange has to show."""
        requests: list[tuple[int, int, int, int]] = [(0, 0, 0, world.first_carts.get((customer, item), 0))]
        for request in dict.fromkeys(world.requests):
            if request.customer_id == customer and request.item_id in (item, None):
                # Clearing meets what was there before it; a line that is put in meanwhile comes after it.
                requests += [
                    (snapshot if request.item_id is None else commit, snapshot, commit, request.quantity)
                    for snapshot, commit in request.commits
                ]
        _, seen, _, requested = max(each for each in requests if each[2] < at)
        # Orders that a request did not see take their units from it.
        taken = sum(
            units.get(item, 0)
            for owner, _, commit, units in orders
            if owner == customer and seen < commit < at
        )
        return max(0, requested - taken)

    for customer, snapshot, _, ordered in orders:
        for item in world.items:
            there = in_cart(customer, item, snapshot)
            if ordered.get(item, 0) != there and retired_at.get(item, snapshot + 1) > snapshot:
                yield f"{customer} ordered {ordered.get(item, 0)} of {item} with {there} in the cart"
    stored = {
        (customer, item): quantity
        for customer, item, quantity in state.rows(
            "select customer_id, item_id, quantity from xpoints.shopping_cart_items"
        )
    }
    for customer in world.customers:
        for item in world.items:
            gone = customer in state.erased or item in state.retired
            there = 0 if gone else in_cart(customer, item, float("inf"))
            if stored.get((customer, item), 0) != there:
                yield f"{customer} has {stored.get((customer, item), 0)} of {item} in the cart, not {there}"


def _nothing_lost_on_the_way(state: _State) -> Iterator[str]:
    world = state.world
    for row in state.rows(
        "select id, event_type, attempts, last_error, retry_at - now() from xpoints.outbox"
    ):
        yield f"a message is still in the outbox: {row}"
    dead = {row[0] for row in state.rows("select id from xpoints.outbox_dead_letters")}
    if dead != set(world.poison):
        yield f"dead letters: {dead}, poison: {world.poison}"
    for name, queue in world.queues.items():
        for message in queue.messages:
            yield f"a message cannot be consumed by {name}: {message.body}"
    happened = {
        call.event_id: call
        for call in world.calls
        if call.result_id in state.entries or (call.operation in ("erase", "retire") and call.commits)
    }
    for event_id, call in happened.items():
        if str(event_id) not in world.bus.accepted:
            yield f"the event of {call.operation} {call.result_id} was never published"
    known = {str(event_id) for event_id in happened}
    for event_id_ in set(world.bus.accepted) - known:
        kind = world.bus.types[event_id_]
        order_id = world.bus.data[event_id_].get("order_id")
        sold_out = kind.startswith("StockExhausted") and UUID(order_id) in state.entries
        if not sold_out and "Resumed" not in kind:
            yield f"{kind} {event_id_} was published, and nothing had happened"


def _one_effect_an_event_and_consumer(state: _State) -> Iterator[str]:
    world = state.world
    expected = {
        (UUID(event_id), queue.name)
        for event_id, event_type in world.bus.types.items()
        for queue in world.routes.get(event_type, ())
    }
    for pair in expected ^ set(state.inbox):
        yield f"{pair} was {'expected' if pair in expected else 'unexpected'}"
    for row in state.rows("select id from xpoints.orders where cart_cleaned_at is null"):
        yield f"the cart of order {row[0]} was not cleaned"


def _customers_were_written_to(state: _State) -> Iterator[str]:
    world = state.world
    notes = state.rows("select id, customer_id, event_id, kind, status from xpoints.notifications")
    confirmations = Counter(event_id for _, _, event_id, kind, _ in notes if kind == "order-confirmation")
    cancelled = {row[0] for row in state.rows("select id from xpoints.orders where status = 'CANCELLED'")}
    # A confirmation that comes after the order's cancellation is dropped, or withdrawn where it was not sent.
    droppable = {call.event_id for call in world.calls if call.result_id in cancelled}
    for call in state.effects(world.calls):
        count = confirmations[call.event_id]
        enough = count == 1 or (count == 0 and call.event_id in droppable)
        if call.operation == "order" and call.owner not in state.erased and not enough:
            yield f"order {call.result_id} has {count} confirmations"
    cancellations = Counter(customer for _, customer, _, kind, _ in notes if kind == "order-cancellation")
    for customer, count in state.rows(
        "select customer_id, count(*) from xpoints.orders where status = 'CANCELLED' group by 1"
    ):
        if customer not in state.erased and cancellations[customer] != count:
            yield f"{customer} cancelled {count} orders and was told of {cancellations[customer]}"
    sent = Counter(message for delivery in world.mail.deliveries for message in delivery.sent)
    for id_, customer, event_id, kind, status in notes:
        withdrawn = status == "SKIPPED" and event_id in droppable
        if status != "SENT" and customer not in state.erased and not withdrawn:
            yield f"{kind} {id_} is {status}"
        elif status == "SENT" and not sent[id_]:
            yield f"{kind} {id_} counts as sent, and was not"
    for (customer, event_id, kind), count in Counter(row[1:4] for row in notes).items():
        if count > 1:
            yield f"{count} messages of {kind} to {customer} about {event_id}"
    for message in sent:
        senders = [each for each in world.mail.deliveries if message in each.sent]
        for later in senders:
            if later.sent.count(message) > 1:
                yield f"one delivery sent {message} {later.sent.count(message)} times"
            for earlier in senders:
                closed = not earlier.failed and earlier.ended is not None and earlier.ended < later.began
                if closed:
                    yield f"{message} was sent again after it had been sent and closed"


def _what_went_is_gone(state: _State) -> Iterator[str]:
    world = state.world
    for row in state.rows("select region, kind, name from xpoints.region_cleanups"):
        yield f"a Region has not deleted what was left to it: {row}"
    for customer in state.erased:
        name = world.username(customer)
        for region in REGIONS:
            if (region, Cleanup(CleanupKind.USER, customer, name)) not in world.deleted:
                yield f"the sign-in of {name} is still there in {region}"
        for table, column in (
            *(("points_balances", "customer_id"), ("shopping_cart_items", "customer_id")),
            *(("notifications", "customer_id"), ("idempotency_records", "customer_id")),
        ):
            query = f"select count(*) from xpoints.{table} where {column} = %s"
            ((count,),) = state.rows(query, [customer])
            if count:
                yield f"{customer} is erased, and {table} has {count} rows of theirs"
    for row in state.rows(
        "select id, username, email from xpoints.customers where erased_at is not null "
        "and coalesce(username, first_name, email) is not null"
    ):
        yield f"an erased customer is still known: {row}"
    for item in state.retired:
        image_id = world.images[item]
        for region in REGIONS:
            if (region, Cleanup(CleanupKind.PICTURE, image_id, f"{image_id}.png")) not in world.deleted:
                yield f"the picture of {item} is still there in {region}"
        for table, column, key in (
            ("catalog_images", "item_id", item),
            ("images", "id", world.images[item]),
            ("image_urls", "image_id", world.images[item]),
        ):
            ((count,),) = state.rows(f"select count(*) from xpoints.{table} where {column} = %s", [key])
            if count:
                yield f"{item} is retired, and {table} has {count} rows of its"


def _what_stays_is_there(state: _State) -> Iterator[str]:
    world = state.world
    for item, image in world.images.items():
        if item in state.retired:
            continue
        for table, column, key in (
            ("catalog_images", "item_id", item),
            ("images", "id", image),
            ("image_urls", "image_id", image),
        ):
            ((count,),) = state.rows(f"select count(*) from xpoints.{table} where {column} = %s", [key])
            if count != 1:
                yield f"{item} is for sale, and {table} has {count} rows of its"


def _what_is_old_is_gone(state: _State) -> Iterator[str]:
    for expiry in EXPIRIES:
        age = AGES.get(expiry.name, "")
        if age:
            for row in state.rows(
                f"select * from xpoints.{expiry.name} where {age} < now() - make_interval(secs => %s)",
                [expiry.age_s],
            ):
                yield f"{expiry.name} has a row that is too old: {row}"


def _nothing_is_orphaned(state: _State) -> Iterator[str]:
    for each in REFERENCES:
        mark = f" and p.{each.gone_column} is null" if each.gone_column else ""
        for row in state.rows(
            f"select c.{each.column} from xpoints.{each.table} c where c.{each.column} is not null and not "
            f"exists (select 1 from xpoints.{each.parent} p where p.id = c.{each.column}{mark})"
        ):
            yield f"{each}: {row[0]}"


_CHECKS: tuple[Callable[[Any], Iterator[str]], ...] = (
    _money_adds_up,
    _every_entry_has_its_cause,
    _stock_adds_up,
    _one_effect_a_key,
    _marks_stand,
    _boosts_saw_each_other,
    _carts_hold_what_was_requested,
    _nothing_lost_on_the_way,
    _one_effect_an_event_and_consumer,
    _customers_were_written_to,
    _what_went_is_gone,
    _what_stays_is_there,
    _what_is_old_is_gone,
    _nothing_is_orphaned,
)
