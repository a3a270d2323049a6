"""What becomes of each command that a page prints: it is run as it stands, or says why not.

A command is looked up as it is printed, without its comment, and and what goes on over several lines as one. All of them, and
those inside sentences, are also read by the programs that they name (tests/unit/test_documented_commands.py).
"""
# ruff: noqa: E501  # they are as long as they are printed

#: Run in the Region of `make up`, in an empty environment, in this order: what they find there.
IN_THE_REGION = (
    "./rewards outbox status",
    "make invoke FUNCTION=CheckoutFunction",
    "make invoke FUNCTION=CleanCartFunction EVENT=events/samples/CleanCartFunction.json",
    "./rewards queues list",
    '. .local/region.env && curl -s "$AWS_ENDPOINT_URL/_ministack/ses/messages" '
    "| grep -o '[0-9A-Z]\\{4\\}-[0-9A-Z]\\{4\\}' | tail -1",
    "./rewards queues inspect clean-cart",
    "./rewards queues redrive clean-cart --error LookupError",
    "./rewards queues redrive clean-cart --error LookupError --yes",
    "./rewards invite smoke-a success+smoke-a@simulator.amazonses.com --yes",
    '. .local/region.env && .local/dev/bin/python -m local.sample_data load --dsn "$DATABASE_URL" --customers 1000',
)

#: Run by themselves, in an empty environment: the exit status that they end with.
ALONE = {
    "make help": 0,
    ".local/dev/bin/python -m local.sample_data csv --directory .local/csv": 0,
    ".local/dev/bin/python -m local.sample_data pictures --directory .local/pictures": 0,
    "printf 'create table t (a int primary key, b jsonb);\\ncreate index async i on t (b);\\n' > .local/new.sql": 0,
    ".local/dev/bin/python -m tools.dsql_check .local/new.sql": 1,
}


def _limits(*values: int) -> str:
    """Give the line that sets the limits of all methods, from the stage's own to that of the last."""
    pairs = zip(_METHODS, values[::2], values[1::2], strict=True)
    each = (
        f"'op=replace,path={method}/throttling/{name}Limit,value={value}'"
        for method, rate, burst in pairs
        for name, value in (("rate", rate), ("burst", burst))
    )
    line = 'aws apigateway update-stage --rest-api-id "$API_ID" --stage-name v1 --patch-operations '
    return line + " ".join(each)


_METHODS = (
    "/*/*",
    "/~1orders/POST",
    "/~1points~1transfers/POST",
    "/~1account/DELETE",
    "/~1health/GET",
    "/~1staff~1operations/GET",
    "/~1staff~1boosts/POST",
)

#: Run in a deployed Region by AWS's own models, as the AWS CLI is no part of this: tests/system/test_restore.py.
BY_MODELS = (
    'aws apigateway get-stage --rest-api-id "$API_ID" --stage-name v1 --query methodSettings > .local/limits.json',
    _limits(*[0] * 14),
    _limits(500, 1000, 200, 400, 50, 100, 5, 10, 50, 100, 10, 20, 10, 20),
    "aws scheduler list-schedules --query \"Schedules[?contains(Name, 'RelayFunction')].Name\" --output text",
    'aws scheduler get-schedule --name "$RELAY_SCHEDULE" --query '
    "'{Name: Name, ScheduleExpression: ScheduleExpression, FlexibleTimeWindow: FlexibleTimeWindow, "
    "Target: Target}' > .local/relay.json",
    "aws scheduler update-schedule --cli-input-json file://.local/relay.json --state DISABLED",
    "aws scheduler update-schedule --cli-input-json file://.local/relay.json --state ENABLED",
)

#: What deploys to an account, or asks one: checked against what the programs and AWS's own models know.
NEEDS_AN_ACCOUNT = (
    "./rewards region single --region us-east-1 --cluster-stack rewards-cluster-dev --deletion-protection false",
    "./rewards region single --region us-east-1",
    "./rewards region pair --region us-east-1 --region us-east-2 --witness us-west-2 --alarm-email you@example.com",
    "./rewards region pair --region us-east-1 --region us-east-2 --witness us-west-2",
    "./rewards outbox status --stack rewards-orders-dev --region us-east-1 --role admin",
    "./rewards outbox status --stack rewards-orders --region us-east-1 --profile shop",
    "make build && .local/sam/bin/sam deploy --config-env prod-a",
    ".local/sam/bin/sam deploy --config-env dev --guided",
    ".local/sam/bin/sam deploy --config-env prod-a",
    ".local/sam/bin/sam deploy --config-env prod-a --guided",
    ".local/sam/bin/sam deploy --config-env prod-b --guided",
    ".local/sam/bin/sam deploy --config-env prod-a --parameter-overrides "
    '"ClusterStack=rewards-cluster CheckoutConcurrency=200 LogRetentionDays=90 GradualDeployment=true '
    'SmokeCustomerId=$SMOKE_CUSTOMER_ID"',
    'aws lambda invoke --function-name "$SMOKE_ORDER_FUNCTION" --cli-binary-format raw-in-base64-out '
    "--payload '{\"now\": true}' .local/smoke.json",
    *(
        f".local/sam/bin/sam deploy --config-env prod-{deployed} --parameter-overrides "
        '"ClusterStack=rewards-cluster CheckoutConcurrency=200 LogRetentionDays=90 GradualDeployment=true '
        f'OtherRegion=$PAGES_REGION_OF_{other}"'
        for deployed, other in (("b", "A"), ("a", "B"))
    ),
    '.local/dev/bin/python -m local.sample_data pictures --bucket "$BUCKET"',
    ".local/sam/bin/sam deploy --template-file pipeline.yaml --stack-name rewards-pipeline --region us-east-1 "
    "--capabilities CAPABILITY_IAM --parameter-overrides GitHubRepository=you/your-fork MonthlyBudget=200 "
    "BudgetEmail=you@example.com",
    ".local/sam/bin/sam delete --config-env prod-a --no-prompts",
    "aws cloudformation update-termination-protection --stack-name rewards-cluster "
    "--no-enable-termination-protection",
    "aws cloudformation delete-stack --stack-name rewards-cluster",
    'aws backup list-recovery-points-by-resource --resource-arn "$CLUSTER_ARN"',
    'aws backup start-restore-job --recovery-point-arn "$RECOVERY_POINT_ARN" --iam-role-arn "$RESTORE_ROLE_ARN" '
    '--metadata \'{"regionalConfig": "[{\\"region\\": \\"us-east-1\\", '
    '\\"isDeletionProtectionEnabled\\": true}]"}\'',
)

#: Not run as they stand: why, and the test that runs the same otherwise, where there is one.
NOT_RUN = {
    "make test": "it is what runs this",
    "make demo": "the same with fewer orders: tests/system/test_demo.py",
    "make up": "what IN_THE_REGION runs in: tests/system/test_documented_commands.py",
    "make sale ARGS=--live": "it waits for a browser: tests/unit/test_live.py",
    'make stress ARGS="--live 8080 --transfers 2000"': "it waits for a browser: tests/unit/test_live.py",
    "make regions": "the same drill in short: tests/system/test_two_regions.py",
    "make exercises": "the same exercises: tests/integration/test_exercises.py",
    "make build": "the same for this machine: tests/system/test_region.py; for AWS's: tests/unit/test_artifacts.py",
    "make dsql": "it takes the port 5432; on a free one: tests/local_dsql/test_drivers.py",
    'make dsql ARGS="--port 5433 --tokens"': "it takes the port 5433; on a free one: tests/local_dsql/test_login.py",
    "make chaos SEEDS=1000": "many minutes; some seeds: tests/chaos/test_chaos.py",
    "make chaos SEED=123": "the same for other seeds: tests/chaos/test_chaos.py",
    "make mutations": "an hour; that guards are found: tests/unit/test_guards.py",
    "make mutations ONLY=lease": "minutes; that guards are found: tests/unit/test_guards.py",
    "make mutations ARGS='--from \"a body is UTF-8\"'": "the same; where it begins: tests/unit/test_guards.py",
    "make bench": "minutes; what it is made of: tests/unit/test_bench.py",
    ".local/dev/bin/python -m bench": "an hour; what it is made of: tests/unit/test_bench.py",
    "make bench BENCH=checkout": "minutes: tests/unit/test_bench.py",
    "make bench BENCH=checkout ARGS=--quick": "a minute: tests/unit/test_bench.py",
    "make bench BENCH=checkout ARGS=--profile": "minutes: tests/unit/test_bench.py",
    'make bench BENCH=checkout ARGS="--json .local/figures.json"': "minutes: tests/unit/test_bench.py",
    "make bench BENCH=scale": "it writes docs/scale.md anew, of which tests/unit/test_scale.py asks the same",
    "make bench BENCH=coldstart": "minutes: tests/unit/test_bench.py",
    "make bench BENCH=coldstart ARGS=--quick": "minutes: tests/unit/test_bench.py",
    "make bench BENCH=coldstart ARGS=--profile": "minutes: tests/unit/test_bench.py",
    'cd .local/csv && psql "$DSN" -f load.sql': (
        "it wants a database with the workshop's tables alone: tests/integration/test_sample_data.py"
    ),
    "make invoke FUNCTION=CheckoutFunction CONTAINER=1": "it wants a container engine",
}

EVERYTHING = [*IN_THE_REGION, *ALONE, *BY_MODELS, *NEEDS_AN_ACCOUNT, *NOT_RUN]
