"""Called by the user pool before it makes a token: staff without an authenticator app get one as customers.

The pool lets everybody choose whether an app is asked for, and asks for its code at each sign-in of those who
have one. So nobody is one of the staff by a password alone.
"""

from typing import Any

from handlers.edge.observability import guarded, logger
from handlers.edge.user_pool import STAFF_GROUP, users

#: What Cognito calls an authenticator app among a user's settings.
_APP = "SOFTWARE_TOKEN_MFA"


@guarded
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Give the event back, without the group where there is no second step. Cognito waits 5 s for it."""
    groups = (event["request"].get("groupConfiguration") or {}).get("groupsToOverride") or []
    if STAFF_GROUP not in groups:
        return event
    user = users().admin_get_user(UserPoolId=event["userPoolId"], Username=event["userName"])
    # guard: staff without an authenticator app are customers
    if _APP not in user.get("UserMFASettingList", ()):
        logger.warning("staff without an authenticator app")
        others = [group for group in groups if group != STAFF_GROUP]
        event["response"] = {"claimsOverrideDetails": {"groupOverrideDetails": {"groupsToOverride": others}}}
    return event
