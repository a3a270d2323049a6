"""POST /orders: the caller's cart becomes an order."""

import json
import time
from datetime import UTC, datetime
from uuid import uuid4

from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel, ConfigDict, Field

from domain.checkout import AcceptedOrder
from domain.refusals import Refusal
from handlers.edge.http import Api, Call, Reply, Route
from handlers.edge.observability import count_faults, logger, metrics
from handlers.edge.problems import Problem
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.place_order import PlaceOrder, place_order

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()


class OrderWish(BaseModel):
    """The wish to order the cart as it was shown."""

    model_config = ConfigDict(extra="forbid", strict=True)

    expected_total_points: int = Field(
        ge=0, le=2**53, description="The cart's total in points as the shopper saw it."
    )


def _render(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
    document = {
        "order_id": str(command.request.result_id),
        "status": "PLACED",
        "placed_at": command.now.isoformat(),
        "total_points": order.total_points,
        "balance_after": order.balance_after,
        "lines": [
            {
                "item_id": str(line.item_id),
                "name": line.name,
                "quantity": line.quantity,
                "unit_points": line.unit_points,
            }
            for line in order.lines
        ],
    }
    return 201, json.dumps(document)


def _place(call: Call[OrderWish]) -> Reply | Problem:
    start_s = time.perf_counter()
    command = PlaceOrder(
        request=call.idempotent("POST /orders", result_id=uuid4()),
        event_id=uuid4(),
        expected_points=call.body.expected_total_points,
        now=datetime.now(UTC),
        region=_ENVIRONMENT.region,
        correlation_id=call.correlation_id,
        trace_id=call.trace_id,
    )
    completed = place_order(_DATABASE, command, _render)
    answer = completed.value
    duration_ms = round((time.perf_counter() - start_s) * 1000, 1)
    refused = isinstance(answer, Refusal)
    outcome = answer.code if isinstance(answer, Refusal) else "replayed" if answer.replayed else "placed"
    metrics().add_metric("CheckoutRefused" if refused else f"Checkout_{outcome}", MetricUnit.Count, 1)
    count_faults(completed.faults)
    logger.info(
        "checkout",
        extra={
            "correlation_id": call.correlation_id,
            "outcome": outcome,
            "duration_ms": duration_ms,
            "attempts": completed.attempts,
            "round_trips": completed.round_trips,
            "faults": {fault.value: times for fault, times in completed.faults.items()},
        },
    )
    metrics().flush_metrics()
    if isinstance(answer, Refusal):
        return Problem.of(answer)
    return Reply(
        answer.status,
        answer.body,
        {
            "Idempotency-Replayed": "true" if answer.replayed else "false",
            "Rewards-Attempts": str(completed.attempts),
            "Rewards-Round-Trips": str(completed.round_trips),
            "Server-Timing": f"checkout;dur={duration_ms}",
        },
    )


handler = Api([Route("POST", "/orders", _place, "Order the cart", body=OrderWish)])
