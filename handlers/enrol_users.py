"""Consumer of the enrolment queue: gives the sample's customers a user in the pool, with the demo's password.

A stack without that password has neither the queue nor this function; people get theirs by `rewards invite`.
"""

from typing import Annotated

from pydantic import Field, SecretStr

from domain.contract import Contract, Id
from domain.usernames import one_form
from handlers.edge.consume import CommandConsumer
from handlers.edge.observability import guarded, observe_effect
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from handlers.edge.user_pool import OWNER, STAFF_GROUP, attributes_of, owner_of, users
from sql.transactions.enrolment import Standing, find_standing, have_user_deleted

#: Stands in a user from its making until it can sign in; of a user without it nothing is changed any more.
_ENROLLING = "custom:enrolling"

#: A record takes six calls at most, of which one may take its whole time.
_MARGIN_MS = 15_000


class _Environment(DatabaseEnvironment):
    user_pool_id: NonEmpty
    demo_password: Annotated[SecretStr, Field(min_length=12)]


class Enrolment(Contract):
    """One customer to enrol. `staff` asks for the group, which the database has to know them to belong in."""

    username: Annotated[str, Field(min_length=1, max_length=50)]
    email: NonEmpty
    customer_id: Id
    staff: bool = False


class UnknownCustomerError(Exception):
    """The database has no customer of this id. Load or invite the customer first, then redrive."""


class WrongUsernameError(Exception):
    """The customer of this id has another username. Find out who wrote the message."""


class NotStaffError(Exception):
    """The customer is none of the staff (`staff_members`): never was, or is no longer."""


class UsernameTakenError(Exception):
    """The pool's user of this name is another customer's, and was left as it is."""


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()


def _enrol(enrolment: Enrolment) -> str:
    """Give the customer a user, once; say what became of it: done, duplicate, skipped.

    Skipped is who was erased: nobody has to do anything about that, and the message with the name is gone.
    """
    username = one_form(enrolment.username)
    standing = find_standing(_DATABASE, enrolment.customer_id)
    if _is_erased(enrolment, username, standing):
        return "skipped"
    # guard: a message's word is not taken for whose name it is
    if standing is None or one_form(standing.username or "") != username:
        raise UnknownCustomerError if standing is None else WrongUsernameError
    # guard: a message makes nobody one of the staff
    if enrolment.staff and not standing.staff:
        raise NotStaffError
    if not _make(enrolment, username):
        return "duplicate"
    _complete(enrolment, username)
    # guard: whoever was erased meanwhile has no user
    if _is_erased(enrolment, username, find_standing(_DATABASE, enrolment.customer_id)):
        return "skipped"
    return "done"


def _is_erased(enrolment: Enrolment, username: str, standing: Standing | None) -> bool:
    # guard: whoever was erased is not enrolled
    if standing is not None and standing.erased:
        # An earlier delivery may have made the user and not come so far as to ask again.
        have_user_deleted(_DATABASE, enrolment.customer_id, username, _ENVIRONMENT.region)
        return True
    return False


def _make(enrolment: Enrolment, username: str) -> bool:
    """Make the user, and tell whether it is still to be completed. Raises UsernameTakenError."""
    pool = _ENVIRONMENT.user_pool_id
    try:
        users().admin_create_user(
            UserPoolId=pool,
            Username=username,
            MessageAction="SUPPRESS",
            UserAttributes=[
                {"Name": "email", "Value": enrolment.email},
                {"Name": "email_verified", "Value": "true"},
                {"Name": OWNER, "Value": str(enrolment.customer_id)},
                {"Name": _ENROLLING, "Value": "yes"},
            ],
        )
    except users().exceptions.UsernameExistsException:
        user = users().admin_get_user(UserPoolId=pool, Username=username)
        attributes = attributes_of(user["UserAttributes"])
        # guard: a user that exists is not taken for the customer's own
        if owner_of(attributes) != enrolment.customer_id:
            raise UsernameTakenError from None
        # guard: a user that is complete is not touched again
        if not attributes.get(_ENROLLING):
            return False
        # guard: a password is set once
        if user["UserStatus"] != "FORCE_CHANGE_PASSWORD":
            _forget_mark(username)  # the last that was missing
            return False
    return True


def _complete(enrolment: Enrolment, username: str) -> None:
    """Give a user group and password. Cut off anywhere, it is done again by the next delivery."""
    who = {"UserPoolId": _ENVIRONMENT.user_pool_id, "Username": username}
    if enrolment.staff:
        users().admin_add_user_to_group(**who, GroupName=STAFF_GROUP)
    password = _ENVIRONMENT.demo_password.get_secret_value()
    users().admin_set_user_password(**who, Password=password, Permanent=True)
    _forget_mark(username)


def _forget_mark(username: str) -> None:
    users().admin_update_user_attributes(
        UserPoolId=_ENVIRONMENT.user_pool_id,
        Username=username,
        UserAttributes=[{"Name": _ENROLLING, "Value": ""}],
    )


handler = guarded(CommandConsumer(Enrolment, _enrol, observe_effect, _MARGIN_MS))
