"""Changes reach the request path step by step, after the schema; load has its bounds."""

import json
import re
import shlex
import tomllib
from typing import Any

import pytest

from handlers.edge.problems import KINDS
from handlers.edge.reading import MAX_BODY_BYTES
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.slices import SLICE_S
from sql.connection import CONNECT_S
from sql.transaction import RetryPolicy
from tests.documents import PAGES
from tests.sam import deployed
from tools.template import ROOT, functions, referred, resources, started_by, template, the, variables

#: What the emulator does not know; a false condition leaves it out there.
ONLY_ON_AWS = {
    "AWS::Events::Archive": "KeepsEvents",
    "AWS::Events::EventBusPolicy": "IsCloud",
    "AWS::WAFv2::WebACL": "IsCloud",
    "AWS::WAFv2::WebACLAssociation": "IsCloud",
}

#: The alarms at which a deployment goes back.
TAKES_BACK = {
    "CheckoutsFailingAlarm",
    "InternalErrorsAlarm",
    "RequestFunctionsFailingAlarm",
    "RequestsFailingAlarm",
}

#: With a test customer, that one, too.
TRIES = {"SmokeOrderFailingAlarm"}


def test_each_function_of_the_api_changes_gradually_and_goes_back_at_an_alarm() -> None:
    alarms = resources("AWS::CloudWatch::Alarm")
    for name, properties in functions().items():
        if name not in started_by("Api"):
            continue
        assert properties["AutoPublishAlias"] == "live", name
        preference = properties["DeploymentPreference"]
        assert preference["Type"].startswith(("Canary", "Linear")), name
        _, watched, emulated = preference["Alarms"]["Fn::If"]
        assert set(referred(watched)) - {"AWS::NoValue"} == TAKES_BACK | TRIES, name
        made_everywhere = {name for name, each in alarms.items() if "Condition" not in each}
        assert {alarm["Ref"] for alarm in emulated} == TAKES_BACK & made_everywhere, name


def test_a_new_checkout_that_answers_500_is_seen_while_a_tenth_of_the_requests_goes_to_it() -> None:
    # No error of Lambda's: the handler has answered. And among the requests of a whole shop a fiftieth.
    alarm = resources("AWS::CloudWatch::Alarm")["CheckoutsFailingAlarm"]["Properties"]
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    placed = functions()["CheckoutFunction"]["Events"]["PlaceOrder"]["Properties"]
    assert (dimensions["Method"], dimensions["Resource"]) == (placed["Method"].upper(), placed["Path"])
    kind = functions()["CheckoutFunction"]["DeploymentPreference"]["Type"]
    percent, minutes = map(int, re.findall(r"\d+", kind))
    assert alarm["Statistic"] == "Average"
    assert 0.01 < alarm["Threshold"] < percent / 100 / 2
    assert alarm["EvaluationPeriods"] * alarm["Period"] < minutes * 60, "too late"


def test_nothing_is_ordered_and_nobody_may_order_without_a_test_customer() -> None:
    assert template()["Parameters"]["SmokeCustomerId"]["Default"] == ""
    assert template()["Conditions"]["PlacesSmokeOrders"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "SmokeCustomerId"}, ""]}]
    }
    assert variables("SmokeOrderFunction")["SMOKE_CUSTOMER_ID"] == {"Ref": "SmokeCustomerId"}
    (schedule,) = functions()["SmokeOrderFunction"]["Events"].values()
    assert schedule["Properties"]["State"] == {"Fn::If": ["PlacesSmokeOrders", "ENABLED", "DISABLED"]}
    conditional = {
        name for name, each in template()["Resources"].items() if each.get("Condition") == "PlacesSmokeOrders"
    }
    assert conditional == {"PlaceSmokeOrdersPolicy", "SmokeOrderStoppedAlarm", "SmokeOrderFailingAlarm"}
    watched = functions()["CheckoutFunction"]["DeploymentPreference"]["Alarms"]["Fn::If"][1]
    (tried,) = (alarm["Fn::If"] for alarm in watched if "Fn::If" in alarm)
    assert tried == ["PlacesSmokeOrders", {"Ref": "SmokeOrderFailingAlarm"}, {"Ref": "AWS::NoValue"}]


def test_smoke_orders_that_fail_are_seen_before_all_requests_go_to_the_new_version() -> None:
    alarm = resources("AWS::CloudWatch::Alarm")["SmokeOrderFailingAlarm"]["Properties"]
    _, minutes = map(int, re.findall(r"\d+", functions()["CheckoutFunction"]["DeploymentPreference"]["Type"]))
    assert alarm["EvaluationPeriods"] * alarm["Period"] < minutes * 60, "too late"
    # One run has ended when the next begins: both would have the same cart.
    assert functions()["SmokeOrderFunction"]["Timeout"] < 60
    # What they try is what is deployed gradually, each at its alias.
    tried = {
        the(value) for name, value in variables("SmokeOrderFunction").items() if name.endswith("_FUNCTION")
    }
    assert tried == {"StorefrontFunction", "CheckoutFunction", "OrdersFunction"}
    assert {functions()[name]["AutoPublishAlias"] for name in tried} == {"live"}


def test_a_stray_time_out_takes_no_deployment_back() -> None:
    alarm = resources("AWS::CloudWatch::Alarm")["RequestFunctionsFailingAlarm"]["Properties"]
    assert alarm["Threshold"] >= 2
    assert alarm["DatapointsToAlarm"] >= 2


def test_a_broken_route_that_few_call_takes_a_deployment_back_and_a_single_request_does_not() -> None:
    alarm = resources("AWS::CloudWatch::Alarm")["InternalErrorsAlarm"]["Properties"]
    (together, *each) = alarm["Metrics"]
    assert together["Expression"] == "SUM(METRICS())"
    assert {one["MetricStat"]["Stat"] for one in each} == {"Sum"}
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    assert 2 <= alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]


def test_a_function_has_answered_before_its_time_is_up_although_the_database_has_not() -> None:
    to_say_so_s, cold_start_s, gateway_s = 2, 3, 29
    usual = template()["Globals"]["Function"]["Timeout"]
    of_all = DatabaseEnvironment.model_fields["database_attempt_s"].default
    for name, each in functions().items():
        if "DATABASE_ROLE" not in variables(name):
            continue
        attempt_s = float(variables(name).get("DATABASE_ATTEMPT_S", of_all))
        longest_s = RetryPolicy().deadline_s + CONNECT_S + attempt_s
        timeout_s = each.get("Timeout", usual)
        assert longest_s + to_say_so_s <= timeout_s, name
        if name in started_by("Api"):
            assert timeout_s + cold_start_s < gateway_s, name
        if each["Handler"] in ("handlers.erase_customer.handler", "handlers.retire_item.handler"):
            assert SLICE_S + longest_s + to_say_so_s <= timeout_s, name


def test_no_function_of_the_database_changes_before_the_schema() -> None:
    for name, each in resources("AWS::Serverless::Function").items():
        role = variables(name).get("DATABASE_ROLE")
        assert (each.get("DependsOn") == "Migration") == (role not in (None, "admin")), name


def test_the_migration_runs_again_whenever_its_code_or_the_cluster_changes() -> None:
    migration = template()["Resources"]["Migration"]["Properties"]
    assert migration["CodeVersion"] == {"Ref": "MigrateFunction.Version"}
    # And on another cluster, which was restored from a backup of this one.
    environment = template()["Globals"]["Function"]["Environment"]["Variables"]
    assert migration["ClusterEndpoint"] == environment["DATABASE_HOST"]
    assert functions()["MigrateFunction"]["AutoPublishAlias"]


def test_an_address_that_is_verified_already_stays_out_of_the_stack() -> None:
    assert resources("AWS::SES::EmailIdentity")["SenderIdentity"]["Condition"] == "VerifiesSender"
    assert resources("AWS::SES::EmailIdentity")["SenderDomainIdentity"]["Condition"] == "VerifiesDomain"
    conditions = template()["Conditions"]
    assert conditions["VerifiesSender"] == {"Fn::Equals": [{"Ref": "VerifySender"}, "true"]}
    assert conditions["VerifiesDomain"] == {"Fn::Equals": [{"Ref": "VerifySender"}, "domain"]}


def test_a_domain_that_sends_is_signed_for_and_gets_what_returns() -> None:
    domain = resources("AWS::SES::EmailIdentity")["SenderDomainIdentity"]["Properties"]
    of_sender = {"Fn::Select": [1, {"Fn::Split": ["@", {"Ref": "SenderAddress"}]}]}
    assert domain["EmailIdentity"] == of_sender
    assert domain["DkimAttributes"] == {"SigningEnabled": True}
    assert domain["MailFromAttributes"]["MailFromDomain"] == {
        "Fn::Sub": ["bounce-${AWS::Region}.${Domain}", {"Domain": of_sender}]
    }
    said = str({name: each for name, each in template()["Outputs"].items() if name.startswith("Sender")})
    for record in (
        "DkimDNSTokenValue3",
        "MX 10 feedback-smtp.${AWS::Region}",
        "v=spf1 include:amazonses.com",
        "v=DMARC1",
    ):
        assert record in said
    for name, each in template()["Outputs"].items():
        assert not name.startswith("Sender") or each["Condition"] == "VerifiesDomain", name


def test_what_returns_becomes_an_event_on_the_bus_that_its_rule_listens_to() -> None:
    (destination,) = [
        each["Properties"] for each in resources("AWS::SES::ConfigurationSetEventDestination").values()
    ]
    assert destination["ConfigurationSetName"] == {"Ref": "MailConfiguration"}
    event = destination["EventDestination"]
    assert (event["Enabled"], event["MatchingEventTypes"]) == (True, ["BOUNCE", "COMPLAINT"])
    assert event["EventBridgeDestination"]["EventBusArn"]["Fn::Sub"].endswith(":event-bus/default")
    pattern = resources("AWS::Events::Rule")["SuppressAddressRule"]["Properties"]["EventPattern"]
    assert pattern["detail"]["mail"]["tags"]["ses:configuration-set"] == [{"Ref": "MailConfiguration"}]
    sends = [name for name in functions() if "SENDER_ADDRESS" in variables(name)]
    assert sends
    for name in sends:
        assert variables(name)["MAIL_CONFIGURATION"] == {"Ref": "MailConfiguration"}, name


def test_what_only_aws_has_stands_behind_a_condition() -> None:
    for name, each in template()["Resources"].items():
        if each["Type"] in ONLY_ON_AWS:
            assert each["Condition"] == ONLY_ON_AWS[each["Type"]], name
        if each["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in each["Properties"]:
            assert each["Condition"] == "IsCloud", name


def test_each_methods_own_limit_is_one_of_a_route_that_there_is() -> None:
    routes = {
        (event["Properties"]["Path"], event["Properties"]["Method"].upper())
        for function in functions().values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "Api"
    }
    every, *own = template()["Resources"]["Api"]["Properties"]["MethodSettings"]
    assert (every["ResourcePath"], every["HttpMethod"]) == ("/*", "*")
    named = {(each["ResourcePath"][1:].replace("~1", "/"), each["HttpMethod"]) for each in own}
    assert named <= routes, "`~1` stands for the slash"
    assert ("/orders", "POST") in named
    for each in (every, *own):
        assert {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= set(each)


def test_who_closes_the_shop_for_a_restore_is_told_every_method_with_a_limit_of_its_own() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    section = text.split("\n## From a backup\n", 1)[1].split("\n## ", 1)[0]
    settings = template()["Resources"]["Api"]["Properties"]["MethodSettings"]
    defaults = template()["Parameters"]

    def said(value: Any) -> str:
        return str(defaults[value["Ref"]]["Default"] if isinstance(value, dict) else value)

    wanted = {
        (f"{each['ResourcePath']}/{each['HttpMethod']}", name): said(
            each[f"Throttling{name.capitalize()}Limit"]
        )
        for each in settings
        for name in ("rate", "burst")
    }
    found = re.findall(r"'op=replace,path=(\S+)/throttling/(rate|burst)Limit,value=(\d+)'", section)
    closing, opening = found[: len(wanted)], found[len(wanted) :]
    assert {(method, name): value for method, name, value in closing} == dict.fromkeys(wanted, "0")
    assert {(method, name): value for method, name, value in opening} == wanted


def test_the_firewall_stands_before_the_api() -> None:
    assert template()["Resources"]["FirewallOfApi"]["Properties"] == {
        "ResourceArn": {
            "Fn::Sub": "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${Api}/stages/${Api.Stage}"
        },
        "WebACLArn": {"Fn::GetAtt": "Firewall.Arn"},
    }


def test_the_firewall_and_the_handlers_agree_on_the_longest_body() -> None:
    firewall = template()["Resources"]["Firewall"]["Properties"]
    (size,) = (rule for rule in firewall["Rules"] if rule["Name"] == "body-size")
    assert size["Statement"]["SizeConstraintStatement"]["Size"] == MAX_BODY_BYTES
    inspected = firewall["AssociationConfig"]["RequestBody"]["API_GATEWAY"]["DefaultSizeInspectionLimit"]
    assert inspected == f"KB_{MAX_BODY_BYTES // 1024}"
    # A body that is too long to be looked at as a whole is too long.
    oversize = size["Statement"]["SizeConstraintStatement"]["FieldToMatch"]["Body"]["OversizeHandling"]
    assert oversize == "MATCH"


def test_the_firewall_answers_with_problems_that_the_api_knows() -> None:
    firewall = template()["Resources"]["Firewall"]["Properties"]
    bodies = {name: json.loads(each["Content"]) for name, each in firewall["CustomResponseBodies"].items()}
    answered = {
        response["CustomResponseBodyKey"]: response["ResponseCode"]
        for rule in firewall["Rules"]
        if (response := rule.get("Action", {}).get("Block", {}).get("CustomResponse"))
    }
    for name, problem in bodies.items():
        kind = KINDS[problem["type"].removeprefix("urn:rewards:problem:")]
        assert (problem["title"], problem["status"], answered[name]) == (kind.title, kind.status, kind.status)


def test_the_firewall_keeps_no_samples_of_requests() -> None:
    firewall = template()["Resources"]["Firewall"]["Properties"]
    shown = [firewall["VisibilityConfig"], *(rule["VisibilityConfig"] for rule in firewall["Rules"])]
    assert not any(each["SampledRequestsEnabled"] for each in shown)


def test_each_consumer_has_a_most_of_runs_at_once() -> None:
    for name, properties in functions().items():
        for event in properties.get("Events", {}).values():
            if event["Type"] == "SQS":
                assert 2 <= event["Properties"]["ScalingConfig"]["MaximumConcurrency"] <= 20, name


def test_executions_are_reserved_only_where_the_account_was_said_to_have_them() -> None:
    reserved = {
        name: properties["ReservedConcurrentExecutions"]["Fn::If"]
        for name, properties in functions().items()
        if "ReservedConcurrentExecutions" in properties
    }
    assert set(reserved) == {"CheckoutFunction", "RelayFunction"}
    assert all(condition == "ReservesConcurrency" for condition, _, _ in reserved.values())
    assert template()["Parameters"]["CheckoutConcurrency"]["Default"] == 0


# --- samconfig.toml


def configured() -> dict[str, Any]:
    """Give samconfig.toml."""
    return tomllib.loads((ROOT / "samconfig.toml").read_text())


def parameters(environment: str) -> dict[str, str]:
    """Give the template's parameters that an environment sets."""
    return assigned(configured()[environment]["deploy"]["parameters"].get("parameter_overrides", []))


def assigned(overrides: str | list[str]) -> dict[str, str]:
    """Read parameters as a list, or as the text that `sam deploy --guided` writes in its place."""
    each = shlex.split(overrides) if isinstance(overrides, str) else overrides
    return dict(one.split("=", 1) for one in each)


def test_no_sender_is_given_by_default() -> None:
    assert "Default" not in template()["Parameters"]["SenderAddress"]
    for environment in ("dev", "prod-a", "prod-b"):
        assert "SenderAddress" not in parameters(environment), environment


def test_parameters_are_read_as_a_person_writes_them_and_as_sam_does() -> None:
    assert assigned('ClusterStack="one" AllowedOrigin="https://shop.example.com"') == assigned(
        ["ClusterStack=one", "AllowedOrigin=https://shop.example.com"]
    )


def test_nothing_that_knows_the_demo_password_is_there_without_one() -> None:
    assert template()["Conditions"]["IsDemo"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "DemoPassword"}, ""]}]}
    conditions = {
        name: each.get("Condition")
        for section in ("Resources", "Outputs")
        for name, each in template()[section].items()
        if name.startswith("EnrolUsers") or "DemoPassword" in referred(each)
    }
    # What the pages offer stands behind a condition of its own, of which this one is a part.
    assert conditions.pop("Pages") is None
    assert conditions.pop("DemoPassword") == "IsDemo"
    assert len(conditions) > 8
    assert set(conditions.values()) == {"IsDemo"}
    assert {"Condition": "IsDemo"} in template()["Conditions"]["ShowsDemoUsers"]["Fn::And"]
    links = template()["Resources"]["Migration"]["Properties"]["RoleArns"]["enrolment"]
    assert [link["Fn::If"][0] for link in links] == ["IsDemo"]


@pytest.mark.parametrize(
    ("password", "taken"),
    [
        ("", True),
        ("Shop-Points-2026", True),
        ("Abcdefghij12", True),
        ("A1" + "b" * 97, True),
        ("Abcdefghij1", False),  # short
        ("A1" + "b" * 98, False),
        ("shop-points-2026", False),
        ("SHOP-POINTS-2026", False),
        ("Shop-Points-Year", False),
        ("Shop Points 2026", False),
        ("Shop,Points-2026", False),
        ("Shöp-Points-2026", False),
        ("Shop-Points-2026\n", False),
    ],
)
def test_a_demo_password_that_the_pool_would_refuse_is_refused_before(password: str, taken: bool) -> None:
    parameter = template()["Parameters"]["DemoPassword"]
    policy = template()["Resources"]["UserPool"]["Properties"]["Policies"]["PasswordPolicy"]
    # CloudFormation asks for a match of the whole value.
    assert bool(re.fullmatch(parameter["AllowedPattern"], password)) is taken
    asked = {"RequireLowercase": "[a-z]", "RequireUppercase": "[A-Z]", "RequireNumbers": "[0-9]"}
    kept = len(password) >= policy["MinimumLength"] and all(
        re.search(letters, password) for rule, letters in asked.items() if policy[rule]
    )
    assert kept or not taken or not password
    assert str(policy["MinimumLength"]) in parameter["ConstraintDescription"]
    assert policy["RequireSymbols"] is False


def test_a_guided_deployment_takes_no_demo_password() -> None:
    # Of a parameter with NoEcho SAM asks until something is typed.
    demo_password = template()["Parameters"]["DemoPassword"]
    assert (demo_password["Default"], demo_password.get("NoEcho", False)) == ("", False)
    assert "DemoPassword" not in parameters("prod-a")


@pytest.mark.parametrize("environment", ["dev", "prod-a", "prod-b"])
def test_an_environment_sets_parameters_that_there_are_and_imports_its_cluster(environment: str) -> None:
    assert set(parameters(environment)) <= set(template()["Parameters"])
    assert parameters(environment)["ClusterStack"].startswith("rewards-cluster")
    exports = {
        output["Export"]["Name"]["Fn::Sub"]
        for output in template("cluster.yaml")["Outputs"].values()
        if "Export" in output
    }
    imported = template()["Globals"]["Function"]["Environment"]["Variables"]["DATABASE_HOST"]
    name = imported["Fn::If"][2]["Fn::ImportValue"]["Fn::Sub"].replace("${ClusterStack}", "${AWS::StackName}")
    assert name in exports


def test_dev_asks_for_the_sender_alone() -> None:
    required = {name for name, each in template()["Parameters"].items() if "Default" not in each}
    assert required - set(parameters("dev")) == {"SenderAddress"}


def test_production_deploys_gradually_again_after_a_deployment_that_was_not() -> None:
    # A parameter that neither the command nor the file names stays as the stack has it.
    assert parameters("prod-a")["GradualDeployment"] == "true"


def test_the_two_regions_of_production_differ_in_the_region_alone() -> None:
    a, b = configured()["prod-a"], configured()["prod-b"]
    assert a["global"]["parameters"].pop("region") != b["global"]["parameters"].pop("region")
    assert a == b


# --- What all have ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", started_by("ScheduleV2"))
def test_a_run_that_failed_is_made_good_by_the_next_and_none_waits_for_longer_than_a_minute(
    name: str,
) -> None:
    assert functions()[name]["EventInvokeConfig"] == {
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
    }


def test_each_request_and_each_run_is_traced() -> None:
    made = list(deployed().values())
    functions_of_sam = [each for each in made if each["Type"] == "AWS::Lambda::Function"]
    assert len(functions_of_sam) == len(functions())
    assert all(each["Properties"]["TracingConfig"] == {"Mode": "Active"} for each in functions_of_sam)
    (stage,) = (each for each in made if each["Type"] == "AWS::ApiGateway::Stage")
    assert stage["Properties"]["TracingEnabled"] is True


def test_the_bus_keeps_events_for_as_long_as_is_asked() -> None:
    (archive,) = resources("AWS::Events::Archive").values()
    assert archive["Properties"]["RetentionDays"] == {"Ref": "EventArchiveDays"}


def test_an_output_that_a_page_names_is_there() -> None:
    outputs = {*template()["Outputs"], *template("cluster.yaml")["Outputs"]}
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"[Oo]utputs? `(\w+)`|`(\w+)` (?:is|are) among the outputs", text))
    found = {name for each in named for name in each if name}
    assert "DashboardUrl" in found
    assert found <= outputs
