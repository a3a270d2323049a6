"""The deployment's own step: a CloudFormation custom resource that migrates the schema.

CloudFormation invokes the function when the stack is made, and again when a property of the resource changes:
so the template gives it the role links (`RoleArns`: database role -> list of IAM role ARNs) and something
that changes with the migrations. With an update come the properties before it (`OldResourceProperties`): the
links of functions that still run. The settings are read inside the invocation and not at import:
whatever happens, CloudFormation gets an answer.
"""

from typing import Any

from pydantic import ConfigDict, Field

from domain.contract import Contract
from handlers.edge.custom_resource import LambdaContext, ResourceResponse
from handlers.edge.observability import logger
from handlers.edge.settings import DatabaseEnvironment
from sql.migrate import migrate
from sql.transactions.index_items import index_items

#: The resource is the schema itself: an update never replaces it, and deleting the stack leaves the data.
PHYSICAL_ID = "xpoints-schema"

#: What is kept of the function's time when the search's words are written, the answer's share included.
_INDEX_MARGIN_MS = 30_000


class Properties(Contract):
    """The custom resource's properties that matter here, among those of CloudFormation's own."""

    model_config = ConfigDict(extra="ignore")

    role_arns: dict[str, list[str]] = Field(alias="RoleArns", default_factory=dict)


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Serve one custom resource request; the outcome goes to its ResponseURL."""
    answer = ResourceResponse(event, PHYSICAL_ID)
    if event["RequestType"] == "Delete":
        return answer.succeed()
    clock = answer.fail_in_time(context, _OUT_OF_TIME)
    database = None
    try:
        database = DatabaseEnvironment.read().database()
        properties = Properties.model_validate(event.get("ResourceProperties", {}))
        former = Properties.model_validate(event.get("OldResourceProperties", {}))
        applied = migrate(
            database, properties.role_arns, former_role_arns=former.role_arns, report=logger.info
        )
        # For items that are older than the search's words. What there is no time for, the sweep does.
        index_items(database, lambda: context.get_remaining_time_in_millis() < _INDEX_MARGIN_MS)
    except Exception as error:
        logger.exception("migration failed")
        answer.fail(f"{type(error).__name__}: {error}")
    else:
        logger.info("schema up to date", extra={"applied_statements": applied})
        answer.succeed({"AppliedStatements": str(applied)})
    finally:
        clock.cancel()
        if database is not None:
            database.discard()
    return None


_OUT_OF_TIME = (
    "The migration did not end within the function's time. What it has applied is kept: deploy again and it "
    "goes on from there. The function's log names the statement; a long index build shows in sys.jobs."
)
