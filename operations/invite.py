"""Inviting somebody: a user in the Region's pool, whom Cognito mails a password of their own, and a customer.

The pool is asked first, as it has each name once. Nothing here ever sets or sees a password.
"""

import re
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from domain.contract import PLAIN
from domain.usernames import one_form
from operations.site import Site, SiteError
from sql.transactions.enrolment import find_standing, have_user_deleted
from sql.transactions.invite import dismiss as dismiss_from_staff
from sql.transactions.invite import enter_customer, find_namesakes

#: As the columns of `customers` have it; what the pool takes is wider.
_USERNAME = re.compile(r"[^\W_](?:[\w.-]{0,48}[^\W_])?")
EMAIL = re.compile(r"(?=.{3,50}\Z)[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")

_OWNER = "custom:customer_id"
_STAFF_GROUP = "staff"


class Invitation(NamedTuple):
    """Who is invited. `username` is in the one form; `typed` as it was given."""

    username: str
    typed: str
    email: str
    staff: bool


class _User(NamedTuple):
    """A user of the pool: the customer whose it is, their address, and whether they chose a password."""

    customer_id: UUID
    email: str
    has_password: bool


def read_invitation(name: str, email: str, staff: bool) -> Invitation:
    """Give an invitation. Raises SiteError for a name or an address that cannot be one."""
    username = one_form(name)
    # guard: every character of a username is seen
    if _USERNAME.fullmatch(username) is None or not all(re.fullmatch(PLAIN, one) for one in username):
        raise SiteError(
            f"{name!r} cannot be a username. Give up to 50 letters, digits, '.', '_' and '-', with a letter "
            "or digit at both ends."
        )
    if EMAIL.fullmatch(email) is None:
        raise SiteError(f"{email!r} is no e-mail address of up to 50 plain characters.")
    return Invitation(username, name, email, staff)


def plan(site: Site, invitation: Invitation) -> dict[str, Any]:
    """Say what an invitation would do. Raises SiteError where it cannot be done."""
    user = _find_user(site, invitation.username)
    customer_id = _customer_of(site, invitation, user)
    return _told(invitation, customer_id, "invited before" if user else "to be invited")


def invite(site: Site, invitation: Invitation, resend: bool) -> dict[str, Any]:
    """Invite somebody, or go on with an invitation that stopped; say what was done. Raises SiteError.

    With `resend` one who has not come yet gets another mail.
    """
    user = _find_user(site, invitation.username)
    customer_id = _customer_of(site, invitation, user) or uuid4()
    state = "invited before"
    if user is None:
        customer_id, state = _make_user(site, invitation, customer_id)
    elif resend:
        if user.has_password:
            raise SiteError(
                f"{invitation.username} has chosen a password already. Who forgot it has another sent by the "
                "sign-in service."
            )
        _mail(site, invitation, MessageAction="RESEND")
        state = "mailed again"
    enter_customer(site.database, customer_id, invitation.username, invitation.email, staff=invitation.staff)
    # guard: nobody who was erased comes back by an invitation
    if _is_erased(site, customer_id):
        have_user_deleted(site.database, customer_id, invitation.username, site.region)
        raise _erased(invitation)
    if invitation.staff:
        _users(site).admin_add_user_to_group(
            UserPoolId=site.outputs["UserPoolId"], Username=invitation.username, GroupName=_STAFF_GROUP
        )
    return _told(invitation, customer_id, state)


def dismiss(site: Site, customer_id: UUID) -> bool:
    """Make one of the staff a customer again, and tell whether they were one of the staff.

    The database's word is the one that counts, at once and in every Region; the group follows in this one.
    """
    was_staff = dismiss_from_staff(site.database, customer_id)
    standing = find_standing(site.database, customer_id)
    user = _find_user(site, one_form(standing.username)) if standing and standing.username else None
    if user is not None and user.customer_id == customer_id and standing is not None:
        _users(site).admin_remove_user_from_group(
            UserPoolId=site.outputs["UserPoolId"],
            Username=one_form(standing.username or ""),
            GroupName=_STAFF_GROUP,
        )
    return was_staff


def _told(invitation: Invitation, customer_id: UUID | None, state: str) -> dict[str, Any]:
    return {
        "username": invitation.username,
        "customer_id": customer_id or "a new one",
        "staff": invitation.staff,
        "state": state,
    }


def _customer_of(site: Site, invitation: Invitation, user: _User | None) -> UUID | None:
    """Give the customer whom the invitation is for, None for a new one. Raises SiteError for another's."""
    found = find_namesakes(site.database, sorted({invitation.username, invitation.typed}))
    if len(found) > 1:
        raise SiteError(
            f"More than one customer has the username {invitation.username}. Give the others another one."
        )
    addresses = {None if one.email is None else one.email.casefold() for one in found}
    if user is not None:
        addresses.add(user.email.casefold())
    # guard: an invitation takes nobody's name
    if addresses - {invitation.email.casefold()}:
        raise SiteError(
            f"{invitation.username} is somebody's username, and their address is another one. Give another "
            "username; nothing was changed."
        )
    ids = {one.customer_id for one in found} | ({user.customer_id} if user else set())
    if len(ids) > 1:
        raise SiteError(
            f"The sign-in {invitation.username} is another customer's than the username. Look at both: "
            f"{', '.join(sorted(map(str, ids)))}."
        )
    for customer_id in ids:
        if _is_erased(site, customer_id):
            raise _erased(invitation)
        return customer_id
    return None


def _is_erased(site: Site, customer_id: UUID) -> bool:
    standing = find_standing(site.database, customer_id)
    return standing is not None and standing.erased


def _erased(invitation: Invitation) -> SiteError:
    return SiteError(
        f"The account of {invitation.username} is being erased. In some minutes the name is free again."
    )


def _make_user(site: Site, invitation: Invitation, customer_id: UUID) -> tuple[UUID, str]:
    """Make the user; give the customer, who is another's doing where somebody was quicker."""
    client = _users(site)
    try:
        _mail(
            site,
            invitation,
            UserAttributes=[
                {"Name": "email", "Value": invitation.email},
                {"Name": "email_verified", "Value": "true"},
                {"Name": _OWNER, "Value": str(customer_id)},
            ],
        )
    except client.exceptions.UsernameExistsException:
        made = _customer_of(site, invitation, _find_user(site, invitation.username))
        if made is None:
            raise SiteError(f"{invitation.username} came and went. Run the command again.") from None
        return made, "invited before"
    return customer_id, "mailed"


def _mail(site: Site, invitation: Invitation, **more: Any) -> None:
    """Have Cognito mail a password that it makes itself, good for one sign-in."""
    _users(site).admin_create_user(
        UserPoolId=site.outputs["UserPoolId"],
        Username=invitation.username,
        DesiredDeliveryMediums=["EMAIL"],
        **more,
    )


def _find_user(site: Site, username: str) -> _User | None:
    """Give a user of the pool, or None. Raises SiteError for one that is no customer's."""
    client = _users(site)
    try:
        user = client.admin_get_user(UserPoolId=site.outputs["UserPoolId"], Username=username)
    except client.exceptions.UserNotFoundException:
        return None
    attributes = {one["Name"]: one.get("Value", "") for one in user["UserAttributes"]}
    try:
        customer_id = UUID(attributes.get(_OWNER, ""))
    except ValueError:
        raise SiteError(
            f"The pool has a user {username} who is no customer's. Delete it, or give another username."
        ) from None
    has_password = user["UserStatus"] != "FORCE_CHANGE_PASSWORD"
    return _User(customer_id, attributes.get("email", ""), has_password)


def _users(site: Site) -> Any:
    return site.client("cognito-idp")
