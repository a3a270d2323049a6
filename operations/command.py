"""The `rewards` command: what there is to see and to do about a running shop.

Everything that changes something says first what it would do, and does it with --yes. Every command writes
JSON with --json. Progress goes to the standard error.
"""

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from domain.audit import Difference
from local_dsql.arguments import input_file, region_name, whole_number
from operations import invite, queues, region_command, replay, seed
from operations.regions import RegionSetupError
from operations.show import show
from operations.site import Site, SiteError, find_site
from sql.errors import RetriesExhaustedError
from sql.transactions import operations
from sql.transactions.audit_ledger import PARTS, Part, audit_everything, audit_sample, audit_stock
from sql.transactions.invite import list_staff
from sql.transactions.operations import NamedRow

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGE = r"([0-9]{1,9})([smhd])"
#: Ages and times beyond are slips of the hand.
_LONGEST_AGE_S = 10 * 366 * 86400
_PROGRESS_EVERY_S = 1.0

#: The queue whose messages hold names and addresses; events hold ids.
_NAMES_PEOPLE = "enrol-users"

#: A request's log may begin so long before the time that its row has: the request's own length, clocks.
_BEFORE = timedelta(hours=1)

Command = Callable[[Site, argparse.Namespace], int]
Finder = Callable[[argparse.Namespace], Site]


def main(arguments: Sequence[str] | None = None, find: Finder | None = None) -> int:
    """Run a command line; give the exit status: 0 done, 1 something was found or failed, 2 wrong usage."""
    options = parser().parse_args(arguments)
    try:
        if options.group == "region":
            return region_command.run(options)  # what it sets up is there before any shop
        site = (find or _find)(options)
        command: Command = options.run
        return command(site, options)
    except (SiteError, RegionSetupError) as error:
        print(f"rewards: {error}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(f"rewards: AWS refused: {error}", file=sys.stderr)
    except (psycopg.Error, RetriesExhaustedError) as error:
        code = getattr(error, "sqlstate", None) or type(error).__name__
        print(f"rewards: the database refused ({code}). Is the role linked to you? {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("rewards: stopped. What was done stays done; run the same command again.", file=sys.stderr)
        return 130
    return 1


def _find(options: argparse.Namespace) -> Site:
    return find_site(options.stack, options.region, options.profile, options.role)


# --- The outbox -----------------------------------------------------------------------------------------


def _outbox_status(site: Site, options: argparse.Namespace) -> int:
    status = operations.outbox_status(site.database)
    _show(options, status)
    return 0


def _dead_letters_meant(options: argparse.Namespace) -> operations.DeadLetterFilter:
    return operations.DeadLetterFilter(
        options.type, options.older_than, options.newer_than, options.error, options.ids or None
    )


def _outbox_dead(site: Site, options: argparse.Namespace) -> int:
    _show(
        options, {"dead_letters": operations.list_dead_letters(site.database, _dead_letters_meant(options))}
    )
    return 0


def _outbox_inspect(site: Site, options: argparse.Namespace) -> int:
    message = operations.read_dead_letter(site.database, options.id)
    if message is None:
        raise SiteError(f"There is no outbox dead letter {options.id}. `rewards outbox dead` lists them.")
    _show(options, {**message, "detail": _parsed(message["detail"])})
    return 0


def _outbox_requeue(site: Site, options: argparse.Namespace) -> int:
    messages = operations.list_dead_letters(site.database, _dead_letters_meant(options))
    count = len(messages)
    if options.yes:
        count = operations.requeue_dead_letters(site.database, [one["id"] for one in messages])
    _show(options, {"requeued" if options.yes else "would_requeue": messages, "count": count})
    _hint(options, bool(messages))
    return 0


# --- Dead-letter queues ---------------------------------------------------------------------------------


def _queues_list(site: Site, options: argparse.Namespace) -> int:
    _show(options, {"queues": queues.depths(site)})
    return 0


def _messages(options: argparse.Namespace) -> queues.MessageFilter:
    ids = [str(each) for each in options.ids] or None
    return queues.MessageFilter(options.type, options.older_than, options.newer_than, options.error, ids)


def _queues_inspect(site: Site, options: argparse.Namespace) -> int:
    queue = site.dead_letter_queue(options.queue)
    found = queues.redrive(site, queue, _messages(options), act=False, progress=_redrive_progress(options))
    messages = [message.summary() for message in found.moved]
    if options.body:
        if queue.name == _NAMES_PEOPLE and not options.show_personal:
            raise SiteError("These bodies name people. Add --show-personal to see them.")
        for summary, message in zip(messages, found.moved, strict=True):
            summary["body"] = _parsed(message.body)
    _show(options, {"messages": messages})
    return 0


def _queues_redrive(site: Site, options: argparse.Namespace) -> int:
    queue = site.dead_letter_queue(options.queue)
    done = queues.redrive(
        site,
        queue,
        _messages(options),
        act=options.yes,
        most=options.most,
        progress=_redrive_progress(options),
    )
    verb = "redriven" if options.yes else "would_redrive"
    messages = [message.summary() for message in done.moved]
    _show(options, {verb: messages, "count": len(messages), "kept": done.kept})
    _hint(options, bool(messages))
    return 0


def _redrive_progress(options: argparse.Namespace) -> Callable[[queues.Redrive], None]:
    tell = _teller(options)
    return lambda done: tell(f"{len(done.moved)} meant, {done.kept} kept")


# --- Replay ---------------------------------------------------------------------------------------------


def _replay(site: Site, options: argparse.Namespace) -> int:
    planned = replay.plan(site, options.consumer, options.since, options.until or datetime.now(UTC))
    if site.is_local:
        print("The emulator replays to every rule of the bus, not to one alone.", file=sys.stderr)
    if not options.yes:
        _show(options, {"would_replay": planned.summary()})
        _hint(options, True)
        return 0
    name = replay.start(site, planned)
    tell = _teller(options)
    state = replay.wait(
        site, name, lambda now: tell(f"{now['State']} {now.get('EventLastReplayedTime', '')}")
    )
    _show(options, {"replayed": planned.summary(), "name": name, "state": state})
    return 0 if state == "COMPLETED" else 1


# --- Stories and audit ----------------------------------------------------------------------------------


def _order(site: Site, options: argparse.Namespace) -> int:
    story = operations.order_story(site.database, options.id)
    if story is None:
        raise SiteError(f"There is no order {options.id}.")
    if options.logs:
        story["log"] = _log_lines(site, story["order"]["correlation_id"], story["order"]["placed_at"])
    _show(options, story)
    return 0


def _customer(site: Site, options: argparse.Namespace) -> int:
    customer_id = _customer_id(site, options.customer)
    story = operations.customer_story(site.database, customer_id, options.show_personal)
    if story is None:
        raise SiteError(f"There is no customer {customer_id}.")
    _show(options, story)
    return 0


def _customer_id(site: Site, given: str) -> UUID:
    """Give the customer whose id or username this is. Raises SiteError for nobody, and for more than one."""
    with suppress(ValueError):
        return UUID(given)
    found = operations.find_customers(site.database, given)
    if not found:
        raise SiteError(
            f"There is no customer with the username {given}. Give the username as it is written, or an id."
        )
    if len(found) > 1:
        raise SiteError(
            f"More than one customer has the username {given}: {', '.join(map(str, found))}. Give an id."
        )
    return found[0]


def _log_lines(site: Site, correlation_id: str | None, since: datetime) -> list[NamedRow]:
    """Give the functions' log lines of one request, made at about `since`, and all that followed it."""
    if correlation_id is None or "FunctionLogGroupName" not in site.outputs:
        return []
    lines = []
    pages = site.client("logs").get_paginator("filter_log_events")
    group = site.outputs["FunctionLogGroupName"]
    begin_ms = int((since - _BEFORE).timestamp() * 1000)
    for page in pages.paginate(logGroupName=group, filterPattern=f'"{correlation_id}"', startTime=begin_ms):
        for event in page["events"]:
            line = _parsed(event["message"])
            if isinstance(line, dict) and line.get("correlation_id") == correlation_id:
                shown = (
                    "timestamp",
                    "level",
                    "message",
                    "event_type",
                    "event_id",
                    "effect",
                    "exception_name",
                )
                lines.append({name: line[name] for name in shown if name in line})
    return sorted(lines, key=lambda line: str(line.get("timestamp")))


def _audit(site: Site, options: argparse.Namespace) -> int:
    tell = _teller(options)
    differences: dict[Difference, None] = {}
    batches: Counter[str] = Counter()
    done = False

    def found(some: Sequence[Difference]) -> None:
        differences.update(dict.fromkeys(some))

    def looked_at(part: Part, count: int) -> None:
        batches[str(part)] = count
        tell(f"{batches.total()} batches, {len(differences)} differences")

    try:
        for part in PARTS:
            if options.whole:
                audit_everything(site.database, part, found, partial(looked_at, part))
            else:
                looked_at(part, audit_sample(site.database, part, found, uuid4(), lambda: False))
        audit_stock(site.database, found)
        done = True
    finally:
        # Whatever ended it: what was found is shown.
        listed = [
            {"kind": each.kind, "subject_id": each.subject_id, "customer_id": each.customer_id}
            for each in sorted(differences, key=lambda one: (one.kind, str(one.subject_id)))
        ]
        _show(options, {"batches": batches.total(), "done": done, "differences": listed})
    return 1 if differences else 0


# --- Opening a shop --------------------------------------------------------------------------------------


def _invite(site: Site, options: argparse.Namespace) -> int:
    invitation = invite.read_invitation(options.name, options.email, options.staff)
    if options.yes:
        _show(options, {"invited": invite.invite(site, invitation, options.resend)})
    else:
        _show(options, {"would_invite": invite.plan(site, invitation)})
    _hint(options, True)
    return 0


def _staff_list(site: Site, options: argparse.Namespace) -> int:
    _show(options, {"staff": list_staff(site.database)})
    return 0


def _staff_dismiss(site: Site, options: argparse.Namespace) -> int:
    customer_id = _customer_id(site, options.customer)
    if options.yes and not invite.dismiss(site, customer_id):
        raise SiteError(f"{options.customer} is none of the staff. `rewards staff list` names them.")
    _show(options, {"dismissed" if options.yes else "would_dismiss": {"customer_id": customer_id}})
    _hint(options, True)
    return 0


def _seed(site: Site, options: argparse.Namespace) -> int:
    what = seed.what_to_load(options.catalogue, options.items, options.customers)
    if options.yes:
        tell = _teller(options)
        done = seed.load(site, what, lambda step, done, total: tell(f"{step}: {done} of {total}"))
        _show(options, {"loaded": done})
    else:
        _show(options, {"would_load": what.summary()})
    _hint(options, True)
    return 0


# --- Writing --------------------------------------------------------------------------------------------


def _show(options: argparse.Namespace, record: Mapping[str, Any]) -> None:
    if options.json:
        print(json.dumps(record, default=str, indent=2))
    else:
        show(record)


def _hint(options: argparse.Namespace, anything: bool) -> None:
    if anything and not options.yes:
        print("Nothing was changed. Add --yes to do it.", file=sys.stderr)


def _teller(options: argparse.Namespace) -> Callable[[str], None]:
    """Give a way to tell progress, at most once a second."""
    told_at = time.monotonic()

    def tell(text: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _PROGRESS_EVERY_S:
            told_at = time.monotonic()
            print(f"{options.command}: {text}", file=sys.stderr, flush=True)

    return tell


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- The command line -----------------------------------------------------------------------------------


def _seconds(text: str) -> int:
    found = re.fullmatch(_AGE, text)
    age_s = int(found[1]) * _UNITS_S[found[2]] if found else _LONGEST_AGE_S + 1
    if age_s > _LONGEST_AGE_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an age of up to ten years: give a number and s, m, h or d, for example 90m"
        )
    return age_s


def _of_sample(what: str) -> Callable[[str], int]:
    # The sample is not imported before somebody asks for it.
    return lambda text: whole_number(*seed.bounds_of_sample()[what])(text)


def _moment(text: str) -> datetime:
    now = datetime.now(UTC)
    if re.fullmatch(_AGE, text):
        return now - timedelta(seconds=_seconds(text))
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        moment = datetime.min.replace(tzinfo=UTC)
    # What is further away is a slip of the hand.
    if abs((moment - now).total_seconds()) > _LONGEST_AGE_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time within ten years: give one like 2026-11-20T09:00:00Z, or how long "
            "ago, such as 2h"
        )
    return moment


def _common(role: str) -> argparse.ArgumentParser:
    """Give what all commands take, with the database role that one takes by itself.

    A new one each time: commands share the arguments of a parent, and so their defaults.
    """
    common = argparse.ArgumentParser(add_help=False)
    where = common.add_argument_group("where the shop is")
    stack = os.environ.get("REWARDS_STACK", "rewards-orders")
    where.add_argument("--stack", default=stack, help="its CloudFormation stack (default: %(default)s)")
    where.add_argument(
        "--region", type=region_name, help="its Region (default: that of the environment or the profile)"
    )
    where.add_argument("--profile", help="your AWS profile (default: the environment's)")
    where.add_argument("--role", default=role, help="the database role to take (default: %(default)s)")
    common.add_argument("--json", action="store_true", help="write JSON")
    return common


def parser() -> argparse.ArgumentParser:
    """Give the command line: every command with what it takes."""
    whole = argparse.ArgumentParser(
        prog="rewards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="A shop on this machine: `make up`, which is found by itself where nothing else is named.",
    )
    yes = argparse.ArgumentParser(add_help=False)
    yes.add_argument(
        "--yes", action="store_true", help="do it; without this the command says what it would do"
    )
    filters = argparse.ArgumentParser(add_help=False)
    which = filters.add_argument_group("which ones (all conditions must hold)")
    which.add_argument("--type", metavar="TYPE", help="of this event type, for example OrderPlaced.v1")
    which.add_argument(
        "--older-than", type=_seconds, metavar="AGE", help="at least this old, for example 90m"
    )
    which.add_argument("--newer-than", type=_seconds, metavar="AGE", help="younger than this, for example 2d")
    which.add_argument("--error", metavar="TEXT", help="whose reason or error contains this text")
    which.add_argument(
        "--id", dest="ids", type=UUID, action="append", default=[], help="this one (repeatable)"
    )

    groups = whole.add_subparsers(dest="group", required=True, metavar="COMMAND")

    def add(
        under: Any,
        name: str,
        run: Command,
        text: str,
        *parents: argparse.ArgumentParser,
        role: str = "operations",
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = under.add_parser(
            name, help=text, description=text, parents=[*parents, _common(role)]
        )
        added.set_defaults(run=run, command=added.prog)
        return added

    region_command.add_region_commands(groups)

    messages = groups.add_parser("outbox", help="outbox messages that wait for the bus, and dead letters")
    outbox = messages.add_subparsers(dest="what", required=True, metavar="COMMAND")
    add(outbox, "status", _outbox_status, "Show what waits, how old it is, and which relays are at work.")
    add(outbox, "dead", _outbox_dead, "List outbox messages that the bus would not take.", filters)
    inspect = add(outbox, "inspect", _outbox_inspect, "Show one message that the bus would not take.")
    inspect.add_argument("id", type=UUID)
    add(outbox, "requeue", _outbox_requeue, "Put such messages back for the relay.", filters, yes)

    dead = groups.add_parser("queues", help="dead-letter queues: messages that no consumer managed")
    queue = dead.add_subparsers(dest="what", required=True, metavar="COMMAND")
    add(queue, "list", _queues_list, "Count the messages of each dead-letter queue.")
    looked = add(queue, "inspect", _queues_inspect, "Show a queue's messages; they stay in it.", filters)
    looked.add_argument("queue", help="its name in `rewards queues list`")
    looked.add_argument("--body", action="store_true", help="show the whole messages")
    looked.add_argument("--show-personal", action="store_true", help="allow bodies that name people")
    driven = add(queue, "redrive", _queues_redrive, "Send messages back to their consumer.", filters, yes)
    driven.add_argument("queue", help="its name in `rewards queues list`")
    driven.add_argument("--most", type=whole_number(1, 1_000_000), metavar="N", help="move at most so many")

    text = "Deliver what the bus published in a time range once more to one consumer."
    again = add(groups, "replay", _replay, text, yes)
    again.add_argument("consumer", help="its name in `rewards queues list`")
    again.add_argument(
        "--since", type=_moment, required=True, metavar="TIME", help="a time, or how long ago: 2h"
    )
    again.add_argument("--until", type=_moment, metavar="TIME", help="likewise (default: now)")

    text = (
        "Give somebody a sign-in and an empty account. Cognito mails them a password for their first sign-in."
    )
    invited = add(groups, "invite", _invite, text, yes)
    invited.add_argument("name", metavar="NAME", help="their username")
    invited.add_argument("email", metavar="EMAIL", help="where the password goes")
    invited.add_argument("--staff", action="store_true", help="they run the shop")
    invited.add_argument("--resend", action="store_true", help="mail one who has not come yet again")

    people = groups.add_parser("staff", help="who runs the shop")
    staff = people.add_subparsers(dest="what", required=True, metavar="COMMAND")
    add(staff, "list", _staff_list, "List who runs the shop. `rewards invite --staff` adds somebody.")
    text = "Make one of the staff a customer again, at once and in every Region."
    dismissed = add(staff, "dismiss", _staff_dismiss, text, yes)
    dismissed.add_argument("customer", metavar="ID_OR_USERNAME", help="who")

    text = (
        "Load a catalogue with pictures and stock: the sample's, or your own. What is there stays as it is."
    )
    seeded = add(groups, "seed", _seed, text, yes, role="admin")
    seeded.add_argument(
        "--catalogue",
        type=input_file,
        metavar="FILE",
        help="your own, as CSV (docs/deploy.md); else the sample's",
    )
    seeded.add_argument(
        "--items",
        type=_of_sample("items"),
        default=200,
        metavar="N",
        help="items of the sample (default: %(default)s)",
    )
    seeded.add_argument(
        "--customers",
        type=_of_sample("customers"),
        metavar="N",
        help="customers of the sample, too: for a shop to try out",
    )

    order = add(groups, "order", _order, "Tell an order's whole story: tables, events, effects.")
    order.add_argument("id", type=UUID)
    order.add_argument("--logs", action="store_true", help="with the functions' log lines about it")
    customer = add(groups, "customer", _customer, "Tell a customer's whole story, without personal data.")
    customer.add_argument("customer", metavar="ID_OR_USERNAME", help="who")
    customer.add_argument("--show-personal", action="store_true", help="with name and address")
    audit = add(
        groups, "audit", _audit, "Compare balances, ledger and orders now; exit status 1: they differ."
    )
    audit.add_argument("--whole", action="store_true", help="everything, not a sample of a few seconds")
    return whole
