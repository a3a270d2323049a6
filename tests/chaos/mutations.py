"""The mutation list: each guard taken out, and what fails without it.

    python -m tests.chaos.mutations [--only TEXT ...] [--markdown PATH]      # make mutations

Each mutation is applied to a copy of the tree in a temporary directory, where chaos (or a named test, for
guards whose absence a whole run survives) has to fail. First both have to pass there with nothing taken out.
"""

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

ROOT = Path(__file__).resolve().parents[2]

CHAOS = "chaos"
_SEEDS = 400
_TIMEOUT_S = 400
_COPIED = (
    "api",
    "domain",
    "sql",
    "events",
    "handlers",
    "operations",
    "local",
    "local_dsql",
    "tools",
    "demos",
    "bench",
    "tests",
    "pyproject.toml",
    "template.yaml",
)

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("guards"))

_CHECKOUT = "tests/integration/test_checkout.py::"
_ORDER = "tests/integration/test_after_an_order.py::"
_CASCADES = "tests/integration/test_cascades.py::"
_JOBS = "tests/integration/test_jobs.py::"
_OPERATIONS = "tests/integration/test_operations.py::"
_RELAY = "tests/integration/test_relay.py::"
_LAST = "tests/integration/test_last_guards.py::test_a_change_that_no_decision_may_make_is_refused"
_RACES = "tests/integration/test_races.py::"
_ROUTES = "tests/integration/shop_api/test_every_route.py::"
_STAFF = "tests/integration/shop_api/test_staff.py::"
_POINTS = "tests/integration/shop_api/test_points.py::"
_HANDLERS = "tests/integration/test_cascade_handlers.py::"
_MIGRATIONS = "tests/integration/test_migrations.py::"
_EDGE = "tests/unit/test_edge.py::"
_RETRY = "tests/unit/test_retry.py::test_passing_faults_are_told_apart"


class Mutation(NamedTuple):
    """A guard: where it stands, the text that is replaced (it occurs once), by what, and what then fails."""

    guard: str
    file: str
    text: str
    replacement: str
    fails: str = CHAOS


MUTATIONS = (
    # --- Running again -----------------------------------------------------------------------------------
    Mutation(
        "retry after a fault",
        "sql/transaction.py",
        "if attempt == policy.attempts or monotonic() + pause_s > give_up_at:",
        "if True:",
        f"{_CHECKOUT}test_a_passing_fault_is_retried_and_one_order_is_placed",
    ),
    Mutation(
        "deadline of the retries",
        "sql/transaction.py",
        "if attempt == policy.attempts or monotonic() + pause_s > give_up_at:",
        "if attempt == policy.attempts:",
        f"{_CHECKOUT}test_no_attempt_starts_after_the_deadline",
    ),
    Mutation("OC000 is a fault", "sql/errors.py", 'if state == "40001" or', 'if state == "40P01" or'),
    Mutation(
        "OC001 told from OC000",
        "sql/errors.py",
        'if "OC001" in str(error) else Fault.CONFLICT',
        "if False else Fault.CONFLICT",
    ),
    Mutation(
        "a twin's idempotency record is a fault",
        "sql/errors.py",
        'frozenset({"idempotency_records_pkey", "inbox_pkey"})',
        'frozenset({"inbox_pkey"})',
        f"{_CHECKOUT}test_a_twin_that_wrote_its_record_first_is_found",
    ),
    Mutation(
        "a twin's inbox record is a fault",
        "sql/errors.py",
        'frozenset({"idempotency_records_pkey", "inbox_pkey"})',
        'frozenset({"idempotency_records_pkey"})',
    ),
    Mutation("XX000 is a fault", "sql/errors.py", 'if state == "XX000":', 'if state == "XX999":'),
    Mutation(
        "a lost connection is a fault",
        "sql/errors.py",
        'state is None or state[:2] in ("08", "57")',
        'state == "57014"',
    ),
    Mutation(
        "an unknown commit is named so",
        "sql/errors.py",
        "return Fault.UNKNOWN_COMMIT if commit_sent else Fault.CONNECTION_LOST",
        "return Fault.CONNECTION_LOST",
        _RETRY,
    ),
    Mutation(
        "an answer is not waited for without end",
        "sql/pipeline.py",
        "if not ready.poll(max(0.0, (until - time.monotonic()) * 1000)):",
        "if not ready.poll():",
        f"{_CHECKOUT}test_an_answer_to_commit_that_never_comes_is_an_unknown_outcome",
    ),
    Mutation(
        "a refusal after an unknown commit is no answer",
        "sql/transaction.py",
        "if isinstance(value, Refusal) and faults[Fault.UNKNOWN_COMMIT]:",
        "if False:",
        f"{_CHECKOUT}test_a_refusal_after_an_unknown_commit_is_no_answer_because_that_may_still_arrive",
    ),
    Mutation(
        "a refused login is final",
        "sql/errors.py",
        "if isinstance(error, LoginRefusedError):",
        "if False:",
        "tests/integration/test_tls.py::"
        "test_a_login_that_is_refused_is_not_tried_again_and_says_nothing_of_who_asked",
    ),
    Mutation(
        "the server's certificate is verified against this machine's",
        "sql/connection.py",
        'trusted_certificates() if settings.tls == "verify-full" else None',
        '"system" if settings.tls == "verify-full" else None',
        "tests/integration/test_tls.py::test_a_server_with_a_trusted_certificate_is_connected_to",
    ),
    Mutation(
        "a violated CHECK is final",
        "sql/errors.py",
        'if state == "XX000":',
        'if state in ("XX000", "23514"):',
        "tests/unit/test_retry.py::test_errors_that_another_attempt_cannot_mend_are_not_retried",
    ),
    Mutation(
        "a new session after a failure of the server",
        "sql/transaction.py",
        "                database.discard()\n",
        "                pass\n",
    ),
    Mutation(
        "rollback after a failed attempt",
        "sql/transaction.py",
        "            if transaction is not None:\n"
        "                transaction.close()\n"
        "                round_trips",
        "            if transaction is not None:\n                round_trips",
    ),
    Mutation(
        "only what the server prepared counts as prepared",
        "sql/pipeline.py",
        "                    asked.append(key)\n",
        "                    asked.append(key)\n                    self._prepared_as[key] = name\n",
    ),
    # --- What an order may be ----------------------------------------------------------------------------
    Mutation(
        "an order takes from so many slots and no more",
        "domain/checkout.py",
        "if len(stock) > MAX_STOCK_TAKES:",
        "if False:",
        "tests/unit/test_checkout_rules.py::test_an_order_never_changes_more_rows_than_one_transaction_may",
    ),
    Mutation(
        "whoever is being erased has no account",
        "sql/queries/ledger.sql",
        "and c.erased_at is null\n\n-- name: find_payee",
        "\n\n-- name: find_payee",
        f"{_CHECKOUT}test_whoever_is_being_erased_orders_nothing_more_not_even_for_nothing",
    ),
    # --- What comes in ------------------------------------------------------------------------------------
    Mutation(
        "a body has no member that nobody asked for",
        "handlers/edge/http.py",
        "class Body(Struct, frozen=True, forbid_unknown_fields=True):",
        "class Body(Struct, frozen=True):",
        f"{_EDGE}test_each_wrong_value_is_told_what_it_must_be",
    ),
    Mutation(
        "no more wrong values are looked at than are named",
        "handlers/edge/wrong_values.py",
        "in islice(wrong, MAX_FIELD_ERRORS)]",
        "in list(wrong)[:MAX_FIELD_ERRORS]]",
        f"{_EDGE}test_of_thousands_of_wrong_values_no_more_are_looked_at_than_are_named",
    ),
    Mutation(
        "half of a character is no text",
        "handlers/edge/http.py",
        "        if not (_is_text(name) and _is_text(value))\n",
        "        if False\n",
        f"{_EDGE}test_half_of_a_character_is_refused_in_a_query",
    ),
    Mutation(
        "a pattern ends where the text ends",
        "handlers/edge/fields.py",
        'END = r"$(?!\\n)"',
        'END = r"$"',
        f"{_EDGE}test_each_wrong_value_is_told_what_it_must_be",
    ),
    Mutation(
        "what no repetition mends is counted",
        "handlers/edge/http.py",
        '            logger.exception("unexpected error")\n            _count("InternalErrors")\n',
        '            logger.exception("unexpected error")\n',
        f"{_EDGE}test_what_no_repetition_mends_is_counted_by_the_request_that_met_it",
    ),
    # --- Idempotency -------------------------------------------------------------------------------------
    Mutation(
        "idempotency read of the checkout",
        "sql/transactions/place_order.py",
        "        if record:\n",
        "        if False:\n",
    ),
    Mutation(
        "idempotency read of other writes",
        "sql/transactions/keyed.py",
        "        if record:\n",
        "        if False:\n",
    ),
    Mutation(
        "idempotency record in the write's transaction",
        "sql/transactions/keyed.py",
        "transaction.commit(*outcome.writes, remember)",
        "transaction.commit(*outcome.writes)",
    ),
    Mutation(
        "a key stands for one content",
        "domain/idempotency.py",
        "if stored.request_hash != request.hash:",
        "if False:",
    ),
    Mutation(
        "an own commit is no replay",
        "domain/idempotency.py",
        "replayed=stored.result_id != request.result_id",
        "replayed=True",
    ),
    # --- Money, stock, carts -----------------------------------------------------------------------------
    Mutation(
        "CHECK of the balance",
        "sql/migrations/0001_workshop_tables.sql",
        "check (points_balance >= 0)",
        "check (points_balance is not null)",
        f"{_CHECKOUT}test_the_schema_refuses_a_negative_balance_whatever_the_code_decided",
    ),
    Mutation(
        "CHECK of the stock",
        "sql/migrations/0002_pipeline_tables.sql",
        "check (available >= 0)",
        "check (available is not null)",
        _LAST,
    ),
    Mutation(
        "CHECK of a line's refund",
        "sql/migrations/0001_workshop_tables.sql",
        "check (refunded_cnt between 0 and unit_cnt)",
        "check (refunded_cnt is not null)",
        _LAST,
    ),
    Mutation(
        "CHECK of an order's refund",
        "sql/migrations/0002_pipeline_tables.sql",
        "check (refunded_points between 0 and total_points)",
        "check (refunded_points is not null)",
        _LAST,
    ),
    Mutation(
        "both balances locked for a boost",
        "sql/queries/ledger.sql",
        "order by customer_id\nfor update",
        "order by customer_id",
    ),
    Mutation(
        "no more is given back than is left",
        "domain/refunds.py",
        "        if quantity > left[item_id]:\n",
        "        if False:\n",
    ),
    Mutation(
        "what was ordered counts as gone (checkout)",
        "sql/queries/checkout.sql",
        "where o.customer_id = %(customer_id)s and o.cart_cleaned_at is null",
        "where o.customer_id = %(customer_id)s and o.cart_cleaned_at is null and false",
    ),
    Mutation(
        "what was ordered counts as gone (setting a quantity)",
        "domain/cart.py",
        "return StoredLine(requested + facts.ordered, existed=facts.stored is not None)",
        "return StoredLine(requested, existed=facts.stored is not None)",
    ),
    Mutation(
        "a line that was there is changed, never put back",
        "sql/transactions/change_cart.py",
        "write = _CHANGE_LINE if line.existed else _INSERT_LINE",
        "write = _INSERT_LINE",
        f"{_RACES}test_a_quantity_set_while_the_cleanup_takes_its_line_is_what_is_in_the_cart",
    ),
    Mutation(
        "a removed line is held before it is set again",
        "sql/transactions/change_cart.py",
        "        if facts.stored is None and facts.ordered > 0:\n",
        "        if False:\n",
        f"{_RACES}test_a_quantity_set_while_the_cleanup_takes_an_order_that_has_no_line_any_more",
    ),
    Mutation(
        "the erasure touches the balance",
        "sql/transactions/change_account.py",
        "origin.now), move_points(change)]",
        "origin.now), *([move_points(change)] if change.points else [])]",
        f"{_RACES}test_a_credit_that_meets_an_erasure_is_refused_and_moves_nothing",
    ),
    Mutation(
        "one's own reads ask whether one is served",
        "sql/reads.py",
        "return found if served else refusals.unknown_customer()",
        "return found",
        f"{_ROUTES}test_no_route_serves_a_customer_who_is_erased",
    ),
    Mutation(
        "a cart's writes ask whether its owner is served",
        "sql/transactions/change_cart.py",
        "return LineFacts(item_id, *row) if served else None",
        "return LineFacts(item_id, *row)",
        f"{_ROUTES}test_no_route_serves_a_customer_who_is_erased",
    ),
    Mutation(
        "an item change finds itself done",
        "domain/items.py",
        "if _in_bytes(requested) == _in_bytes(item.data) and",
        "if False and",
        f"{_STAFF}test_an_item_change_whose_answer_is_lost_is_found_and_not_refused",
    ),
    Mutation(
        "stock is laid in up to a limit",
        "domain/stock.py",
        "if delta > 0 and together + delta > MAX_STOCK:",
        "if False:",
        f"{_STAFF}test_stock_is_not_adjusted_beyond_what_an_item_may_have",
    ),
    Mutation(
        "nobody credits themselves",
        "domain/points.py",
        "if account.customer_id == by:",
        "if False:",
        f"{_POINTS}test_who_of_the_staff_credited_whom_is_written_down_and_nobody_credits_themselves",
    ),
    Mutation(
        "nobody boosts their own household",
        "domain/points.py",
        "if by in (beneficiary, partner):",
        "if False:",
        f"{_POINTS}test_who_of_the_staff_credited_whom_is_written_down_and_nobody_credits_themselves",
    ),
    Mutation(
        "picture URLs are kept at best effort",
        "handlers/edge/pictures.py",
        "except FAILURES as error:",
        "except ZeroDivisionError as error:",
        "tests/integration/shop_api/test_storefront.py::"
        "test_urls_that_cannot_be_kept_are_given_all_the_same_after_one_attempt",
    ),
    # --- Consumers ---------------------------------------------------------------------------------------
    Mutation("inbox read", "sql/inbox.py", "        if seen:\n", "        if False:\n"),
    Mutation(
        "inbox row in the effect's transaction",
        "sql/inbox.py",
        "writes = [_INSERT(event_id=event_id, consumer=consumer)]",
        "writes: list[Statement] = []",
    ),
    Mutation(
        "the order is marked when its cart is clean",
        "sql/transactions/clean_cart.py",
        "_REDUCE_LINES(**ordered), _MARK_CLEANED(order_id=order.order_id))",
        "_REDUCE_LINES(**ordered))",
    ),
    Mutation(
        "a message is closed when it was sent",
        "sql/transactions/notify.py",
        "    run(database, lambda t: t.commit(_CLOSE(id=notification_id, status=status)))\n",
        "",
    ),
    Mutation(
        "a closed message is not sent",
        "sql/queries/consumers.sql",
        "where n.id = %(id)s and n.status = 'PENDING'",
        "where n.id = %(id)s",
    ),
    Mutation(
        "a message has one sender at a time",
        "sql/queries/consumers.sql",
        "select n.claim_token = %(token)s, n.subject",
        "select true, n.subject",
        f"{_ORDER}test_of_two_deliveries_at_once_one_sends_and_the_other_comes_again",
    ),
    Mutation(
        "the claim of a run that died ends",
        "sql/queries/consumers.sql",
        "claimed_until is null or claimed_until <= now() or claim_token",
        "claimed_until is null or claim_token",
        f"{_ORDER}test_what_a_run_that_died_had_claimed_is_sent_by_the_next_when_the_claim_ends",
    ),
    Mutation(
        "a message is handed over once in a call",
        "handlers/edge/mail.py",
        '"total_max_attempts": 1',
        '"max_attempts": 3',
        "tests/integration/test_cascade_handlers.py::"
        "test_a_message_whose_answer_is_lost_is_handed_over_once_in_a_call",
    ),
    Mutation(
        "no confirmation after a cancellation",
        "sql/transactions/notify.py",
        "_WITHDRAW(id=_confirmation(order.order_id)),",
        "",
        f"{_ORDER}test_a_confirmation_that_could_not_be_sent_before_the_cancellation_is_withdrawn",
    ),
    Mutation(
        "a message that could not be sent stays due",
        "sql/transactions/notify.py",
        "with suppress(UndeliverableError):",
        "with suppress(Exception):",
    ),
    Mutation(
        "records that failed are reported",
        "events/consume.py",
        'return {"batchItemFailures": failures}',
        'return {"batchItemFailures": []}',
    ),
    Mutation(
        "a record left for lack of time is reported",
        "events/consume.py",
        '            )\n            failures.append({"itemIdentifier": message_id})\n        elif',
        "            )\n        elif",
    ),
    Mutation(
        "a stale version has no effect",
        "sql/inbox.py",
        "if newest and newest[0][0] >= version.number:",
        "if False:",
        f"{_ORDER}test_an_order_that_was_cancelled_before_its_confirmation_is_not_confirmed_any_more",
    ),
    Mutation(
        "a mail that was too fast is sent once more",
        "handlers/edge/mail.py",
        "                if code != _TOO_FAST or not may_ask_again:\n",
        "                if True:\n",
        f"{_HANDLERS}test_what_ses_refused_for_its_rate_alone_is_asked_once_more",
    ),
    # --- Cascades and jobs -------------------------------------------------------------------------------
    Mutation(
        "a lost Region's cleanups are measured by the others",
        "sql/queries/jobs.sql",
        "as age_s from xpoints.region_cleanups",
        "as age_s from xpoints.region_cleanups where region = 'us-east-1'",
        f"{_HANDLERS}test_what_a_lost_region_has_still_to_delete_is_measured_in_the_others",
    ),
    Mutation(
        "the links of functions that still run stay",
        "sql/migrate.py",
        "for role, arn in linked - wanted - former if",
        "for role, arn in linked - wanted if",
        f"{_MIGRATIONS}test_a_link_that_a_deployment_no_longer_wants_goes_with_the_next_one",
    ),
    Mutation(
        "links of others are left alone",
        "sql/migrate.py",
        "linked - wanted - former if arn in arns}",
        "linked - wanted - former}",
        f"{_MIGRATIONS}test_a_link_that_a_deployment_no_longer_wants_goes_with_the_next_one",
    ),
    Mutation(
        "a cascade's next slice is left with its record",
        "sql/cascade.py",
        "left = () if here is None else (enqueue_next(here),)",
        "left: tuple[Statement, ...] = ()",
    ),
    Mutation(
        "a cascade's slice that was done is not done again",
        "sql/cascade.py",
        "if run(database, lambda transaction: transaction.read(seen)[0]).value:",
        "if False:",
        f"{_CASCADES}test_a_slice_that_is_delivered_again_has_no_effect_and_hands_nothing_on",
    ),
    Mutation(
        "the next slice begins behind the last key",
        "sql/cascade.py",
        "Checkpoint(here.step, advance.after)",
        "Checkpoint(here.step, None)",
        f"{_CASCADES}test_the_next_slice_begins_behind_the_last_key_that_was_done",
    ),
    Mutation(
        "a cascade's batch has an end",
        "sql/queries/cascades.sql",
        "    order by customer_id\n    limit %(most)s\n) as batch",
        "    order by customer_id\n    limit %(most)s * 1000\n) as batch",
        f"{_CASCADES}test_no_transaction_of_a_cascade_changes_more_rows_than_the_database_allows",
    ),
    Mutation(
        "every Region is left what it has to delete",
        "sql/queries/regions.sql",
        "(select region from xpoints.regions union select %(region)s::varchar)",
        "(select %(region)s::varchar as region)",
    ),
    Mutation(
        "what a Region has to delete is forgotten when it is deleted",
        "sql/transactions/clean_region.py",
        "    delete(cleanup)\n    done",
        "    done",
    ),
    Mutation(
        "two items that let go of a picture at once conflict",
        "sql/transactions/retire_item_data.py",
        "        writes.append(_TOUCH_IMAGE(image_id=image_id))\n",
        "        _TOUCH_IMAGE(image_id=image_id)\n",
        f"{_CASCADES}test_a_picture_of_two_items_that_are_retired_at_once_goes_with_the_later",
    ),
    Mutation(
        "rows a transaction",
        "sql/scan.py",
        "MAX_ROWS = 3000",
        "MAX_ROWS = 30000",
        "tests/integration/test_last_guards.py::test_transactions_are_bounded_by_what_dsql_allows",
    ),
    Mutation(
        "bytes a transaction",
        "sql/scan.py",
        "return min(MAX_ROWS - 1, MAX_BYTES // self.row_bytes)",
        "return MAX_ROWS - 1",
        f"{_JOBS}test_a_batch_of_large_rows_stays_under_the_bytes_of_a_transaction",
    ),
    Mutation(
        "a scan resumes where it stopped",
        "sql/scan.py",
        "self._cursor, tuple(json.loads(checkpoint)) if checkpoint else self._table.first",
        "self._cursor, self._table.first",
        f"{_JOBS}test_a_scan_stops_when_the_time_is_up_and_the_next_run_resumes_behind_its_checkpoint",
    ),
    Mutation(
        "a part of a job that fails stops no other",
        "handlers/edge/jobs.py",
        "            failed.append(name)",
        "            raise",
        f"{_JOBS}test_an_expiry_that_fails_at_one_table_goes_on_with_the_others",
    ),
    Mutation(
        "what a job finds is told at once",
        "handlers/edge/jobs.py",
        "            self._known.update(new)\n            self._emit()\n",
        "            self._known.update(new)\n",
        f"{_JOBS}test_an_audit_that_fails_in_the_middle_of_a_table_has_told_what_it_found_before",
    ),
    Mutation(
        "expiry asks for the age of inbox rows",
        "sql/queries/jobs.sql",
        "    and processed_at < now() - make_interval(secs => %(age_s)s)\n\n-- name: delete_old_consumed",
        "\n-- name: delete_old_consumed",
    ),
    Mutation(
        "expiry asks for the age of idempotency records",
        "sql/queries/jobs.sql",
        "    and created_at < now() - make_interval(secs => %(age_s)s)\n",
        "",
    ),
    Mutation(
        "the sweep spares what has its parent",
        "sql/queries/templates/scan.sql",
        "parent.id = child.{column} and ({alive}))\n\n-- name: find",
        "parent.id = child.{column} and not ({alive}))\n\n-- name: find",
    ),
    Mutation(
        "a message put back is a dead letter no more",
        "sql/queries/operator.sql",
        "delete from xpoints.outbox_dead_letters where id = any",
        "delete from xpoints.outbox_dead_letters where false and id = any",
        f"{_OPERATIONS}test_dead_letters_are_listed_inspected_and_requeued",
    ),
    Mutation(
        "messages that are looked at for long stay hidden",
        "operations/queues.py",
        "_hide(sqs, queue.url, held, _VISIBILITY_S)",
        "pass",
        f"{_OPERATIONS}test_a_queue_that_takes_long_to_read_is_read_to_its_end_and_given_back",
    ),
    Mutation(
        "the sweep counts the erased and retired as gone",
        "sql/queries/templates/scan.sql",
        "parent.{gone_column} is null",
        "(parent.{gone_column} is null or true)",
        f"{_JOBS}test_a_parent_that_was_erased_or_retired_counts_as_gone",
    ),
    # --- Outbox and relay --------------------------------------------------------------------------------
    Mutation(
        "an event that no consumer could read is not committed",
        "domain/events.py",
        "    read_event(type(event.data), detail)\n",
        "",
        "tests/unit/test_contracts.py::test_an_event_that_no_consumer_could_read_is_not_written",
    ),
    Mutation(
        "outbox row in the order's transaction",
        "sql/transactions/place_order.py",
        "        enqueue(_announcement(command, order)),\n",
        "",
    ),
    Mutation(
        "every entry's result is looked at",
        "events/publish.py",
        "        if code is None:\n",
        "        if True:\n",
    ),
    Mutation(
        "only what was accepted is deleted",
        "events/relay.py",
        "        accepted = outcome.accepted\n",
        "        accepted = [*outcome.accepted, *(each.message for each in outcome.failed)]\n",
    ),
    Mutation(
        "a request without an answer proves nothing",
        "events/publish.py",
        "            outcome.outage = error\n",
        "            outcome.accepted += batch\n",
    ),
    Mutation(
        "what was accepted is deleted",
        "sql/outbox.py",
        "            self._alone(_DELETE(**_addresses(messages)))\n",
        "            pass\n",
    ),
    Mutation(
        "attempts have an end",
        "domain/outbox.py",
        "(counts and failure.message.attempts + 1 >= MAX_ATTEMPTS)",
        "(counts and failure.message.attempts + 1 >= 10**6)",
    ),
    Mutation(
        "an outage dead-letters nothing",
        "domain/outbox.py",
        "(failure.rejection is Rejection.DOUBTFUL and bus_accepts)",
        "(failure.rejection is Rejection.DOUBTFUL)",
        f"{_RELAY}test_an_outage_of_the_bus_dead_letters_nothing_and_counts_nothing",
    ),
    Mutation(
        "a lease has one holder",
        "sql/queries/outbox.sql",
        "where held.token = excluded.token or held.expires_at <= now()",
        "where true",
        f"{_RELAY}test_the_database_refuses_a_lease_that_another_holds_whatever_the_relay_believes",
    ),
    Mutation(
        "a lease ends",
        "sql/queries/outbox.sql",
        "where held.token = excluded.token or held.expires_at <= now()",
        "where held.token = excluded.token",
    ),
    Mutation(
        "nothing is read without a lease in force",
        "sql/queries/outbox.sql",
        "where l.token = %(token)s and l.expires_at > now()\n    and l.shard",
        "where l.token = %(token)s\n    and l.shard",
        f"{_RELAY}test_a_relay_reads_nothing_without_a_lease",
    ),
    Mutation(
        "only the holder of a lease dead-letters",
        "sql/queries/outbox.sql",
        "where l.token = %(token)s and l.expires_at > now()\non conflict (id) do nothing",
        "where true\non conflict (id) do nothing",
        f"{_RELAY}test_a_relay_whose_lease_another_has_can_neither_count_nor_dead_letter",
    ),
    Mutation(
        "age of a takeover",
        "sql/queries/outbox.sql",
        "        and o.created_at < now() - make_interval(secs => %(age_s)s)\n",
        "        and %(age_s)s::float > 0\n",
        f"{_RELAY}test_fresh_messages_of_another_region_are_left_to_its_relay",
    ),
    Mutation(
        "stranded outboxes are taken over",
        "events/relay.py",
        "self._held = self._held or bool(rescued)",
        "self._outbox.release()",
        f"{_RELAY}test_old_messages_of_another_region_are_left_alone_while_somebody_holds_their_shard",
    ),
    Mutation(
        "a newer run ends the one before",
        "sql/outbox.py",
        "if self._announced and not any(token == self._token for _, token, _ in relays):",
        "if False:",
        f"{_RELAY}test_a_new_run_ends_the_one_before_it_and_no_message_waits_or_goes_twice",
    ),
    Mutation(
        "a shard is given up when its messages have landed",
        "sql/outbox.py",
        "            land()\n",
        "",
        f"{_RELAY}test_a_shard_is_given_up_after_its_messages_have_landed",
    ),
    Mutation(
        "a run that was overtaken keeps its shards until its messages have landed",
        "sql/outbox.py",
        "                return None\n",
        "                transaction.commit(_RELEASE_ALL(token=self._token))\n                return None\n",
        f"{_RELAY}test_a_shard_is_given_up_after_its_messages_have_landed",
    ),
    Mutation(
        "bytes of what the relay records at once",
        "domain/outbox.py",
        "if lot and (len(lot) == most or lot_bytes + thing_bytes > most_bytes):",
        "if False:",
        f"{_RELAY}test_what_the_bus_said_of_large_messages_is_recorded_in_transactions_that_dsql_takes",
    ),
    Mutation(
        "what was answered is recorded before more is read",
        "events/relay.py",
        "            self._outbox.settle(*self._debts[0])\n            self._debts.popleft()\n",
        "            self._outbox.settle(*self._debts.popleft())\n",
        f"{_RELAY}test_the_relay_outlives_a_database_that_is_away_and_publishes_nothing_twice",
    ),
)


class Finding(NamedTuple):
    """How a run of a mutated tree ended."""

    failed: bool
    words: str
    duration_s: float


def apply(mutation: Mutation, root: Path) -> None:
    """Take a guard out of a tree. Raises ValueError where its text does not stand there exactly once."""
    path = root / mutation.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutation.text) != 1:
        raise ValueError(
            f"{mutation.file} has the text of {mutation.guard!r} {source.count(mutation.text)} times: "
            "adapt it in tests/chaos/mutations.py"
        )
    path.write_text(source.replace(mutation.text, mutation.replacement), encoding="utf-8")


@contextmanager
def copied(source: Path) -> Iterator[Path]:
    """Copy what tests need of a tree, for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="rewards-mutant-") as directory:
        tree = Path(directory)
        tree.chmod(0o755)
        for name in _COPIED:
            if (source / name).is_dir():
                shutil.copytree(source / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source / name, tree / name)
        yield tree


def _command(*checks: str | int) -> list[str]:
    """Give what runs chaos, with a number of seeds, or named tests."""
    if checks[:1] == (CHAOS,):
        return ["-m", "tests.chaos", "--stop", "--seeds", str(checks[1])]
    return ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *map(str, checks)]


def _run(command: Sequence[str], tree: Path) -> Finding:
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tree,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"},
        )
        try:
            process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return Finding(True, "does not come to an end", _TIMEOUT_S)
        finally:
            process.terminate()
            process.wait()
        output.seek(0)
        return Finding(process.returncode != 0, _words(output.read()), time.monotonic() - began)


def _words(output: str) -> str:
    """Give the line of an output that says what failed, without ids."""
    found = re.search(r"^seed \d+: .*|^FAILED .*|^ERROR .*|^E  .*", output, re.MULTILINE)
    words = found[0] if found else output.strip().splitlines()[-1] if output.strip() else "no output"
    words = re.sub(r"[0-9a-f]{8}-?[0-9a-f-]{23,27}|/\S*/rewards-mutant-[^/]*/|UUID\('.{36}'\)", "…", words)
    return words[:110].rstrip()


def _take_out(mutation: Mutation, source: Path) -> Finding:
    with copied(source) as tree:
        apply(mutation, tree)
        return _run(_command(mutation.fails, *([_SEEDS] if mutation.fails == CHAOS else [])), tree)


def _baseline(console: Console, checks: Sequence[str], tree: Path) -> bool:
    """Tell whether all checks pass with nothing taken out: otherwise their failing says nothing."""
    for command in (_command(CHAOS, 100), _command(*(check for check in checks if check != CHAOS))):
        finding = _run(command, tree)
        if finding.failed:
            console.print(f"This fails with nothing taken out: {finding.words}", style="red")
            return False
    return True


def row(mutation: Mutation, finding: Finding) -> dict[str, str]:
    """Give a guard's row of the table of docs/proof.md."""
    check = mutation.fails.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    check = check if finding.failed else f"**nothing** ({check})"
    words = "" if mutation.fails != CHAOS else finding.words.replace("|", "/")
    return {mutation.guard: f"| {mutation.guard} | `{mutation.file}` | {check} | {words} |"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Take out each guard; give exit status 1 when something passes without one."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.mutations", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", nargs="*", default=[""], help="only guards whose name holds one of these")
    parser.add_argument("--markdown", type=Path, help="update the table of results in this page")
    options = parser.parse_args(arguments)
    console = Console()
    chosen = [mutation for mutation in MUTATIONS if any(text in mutation.guard for text in options.only)]
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    survivors = []
    # Others may be at work in this tree: every guard is taken out of the same one.
    with copied(ROOT) as tree, Progress(*_COLUMNS, console=console) as bar:
        task = bar.add_task("first with nothing taken out", total=len(chosen))
        if not _baseline(bar.console, sorted({mutation.fails for mutation in chosen}), tree):
            return 1
        for mutation in chosen:
            bar.update(task, description=mutation.guard)
            finding = _take_out(mutation, tree)
            if options.markdown is not None:
                update(options.markdown, row(mutation, finding))
            verdict = "found" if finding.failed else "NOT FOUND"
            bar.console.print(
                f"{verdict:9} {mutation.guard}: {finding.words} ({finding.duration_s:.0f} s)",
                style="" if finding.failed else "red",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            survivors += [] if finding.failed else [mutation.guard]
            bar.advance(task)
    found = len(chosen) - len(survivors)
    console.print(f"{found} of {len(chosen)} guards are missed when they are gone")
    return int(bool(survivors))


def update(page: Path, new: Mapping[str, str]) -> None:
    """Replace rows between the marks of a page; rows of guards that are no longer listed go."""
    start, end = "<!-- mutations -->\n", "<!-- /mutations -->"
    head, _, rest = page.read_text(encoding="utf-8").partition(start)
    old, _, tail = rest.partition(end)
    known = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| ")}
    known.update(new)
    lines = ["| guard | where | without it, this fails | and says |", "|---|---|---|---|"]
    lines += [known[mutation.guard] for mutation in MUTATIONS if mutation.guard in known]
    page.write_text(head + start + "\n".join(lines) + "\n" + end + tail, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
