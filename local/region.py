"""One machine as a Region: a DSQL, an AWS emulator, and the real `sam build` and `sam deploy` onto it."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import quote

import psutil
import psycopg
from botocore.exceptions import ClientError
from psycopg.conninfo import make_conninfo

from domain.usernames import one_form
from local import builds
from local.emulator import CREDENTIALS, ROOT_ARN, Emulator
from local.engine import NAME_OF_HOST
from local.functions import Function, deployed
from local.gateway import complete_gateway
from local.log_lines import lines_of
from local_dsql.cluster import POSTGRES_SETTINGS, LocalDsql
from local_dsql.guard import Guarded, StartError
from local_dsql.limits import TOKEN_AGE_S
from local_dsql.places import is_alive
from local_dsql.postgres import EmbeddedPostgres
from local_dsql.tokens import ADMIN, Key
from sql.connection import Database, DatabaseSettings
from sql.migrate import migrate
from sql.token import Credentials, presign
from tools.template import read, resources, template

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / ".local" / "run"
#: A run writes thousands of small files, a function's code for each of its processes, and removes them again.
#: On a busy disk that is what starting and stopping would take most of their time for.
MEMORY = Path("/dev/shm")  # noqa: S108  # on Linux; elsewhere everything is below .local/run
FREE_BYTES = 1 << 30

#: Runs in the SAM CLI's environment, by its path.
_SAM_PROCESS = Path(__file__).with_name("sam_process.py")

STACK_NAME = "rewards-orders"
SCHEMA = "xpoints"
DEPLOY_TIMEOUT_S = 300.0
ENROLMENT_TIMEOUT_S = 60.0

#: The key that everybody has here who is no function of the Region's: the account's root.
ROOT_KEY = Credentials(*CREDENTIALS.values())

DEMO_PASSWORD = "Shop-Points-2026"  # noqa: S105  # of users that exist on this machine only
SENDER_ADDRESS = "orders@shop.example.com"


class LocalRegion:
    """A deployed Region on this machine for the length of a `with` block.

    `database` is a running one that several Regions share, as the Regions of a cluster do; without one the
    Region starts its own. With `plain` everybody goes to the PostgreSQL behind it, for comparison, once the
    schema has been migrated through it: migrations are written for DSQL. Ports are free ones unless given. A
    `durable` Region can be lost and come back. Enter it in the main thread: on Linux the database stops with
    the thread that started it.
    """

    def __init__(
        self,
        region_name: str = "us-east-1",
        database: LocalDsql | None = None,
        *,
        plain: bool = False,
        port: int | None = None,
        database_port: int | None = None,
        durable: bool = False,
        parameters: dict[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.region_name = region_name
        self.outputs: dict[str, str] = {}
        #: What the stack made: names, URLs or ids by the logical ids of template.yaml.
        self.resources: dict[str, str] = {}
        self._say = say
        self._shared_database = database
        self._plain = plain
        self._port = port
        self._database_port = database_port
        self._durable = durable
        self._parameters = parameters or {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start and deploy, some 10 s. Raises StartError."""
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every process and remove what was written."""
        self._stack.close()

    @property
    def endpoint_url(self) -> str:
        """Where the Region's AWS APIs answer."""
        return self._emulator.endpoint_url

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The PostgreSQL behind the database, for what DSQL does not let through."""
        return self.database.postgres

    @property
    def environment(self) -> dict[str, str]:
        """What an AWS tool needs to talk to this Region and to nothing else, whatever the user has set up."""
        return self._emulator.environment

    @property
    def database_port(self) -> int:
        """The port of the database's endpoint in this Region."""
        return self.postgres.port if self._plain else self.database.endpoint(self.region_name)

    @property
    def database_url(self) -> str:
        """The database as its owner, with the shop's schema on the search path, as any driver reads it.

        The token in it is good for a week, which is as long as one can be.
        """
        token = quote(self.token(expires_s=TOKEN_AGE_S), safe="")
        path = f"options=-csearch_path%3D{SCHEMA}%2Cpublic"
        place = f"{self.database.host}:{self.database_port}"
        return f"postgresql://{ADMIN}:{token}@{place}/postgres?sslmode=disable&{path}"

    def token(self, role: str = ADMIN, expires_s: int = 900) -> str:
        """Sign a token for the database, as the account's root, who is linked to every role of the shop."""
        action = "DbConnectAdmin" if role == ADMIN else "DbConnect"
        return presign(
            ROOT_KEY, self.database.host, self.region_name, action, expires_s, now=datetime.now(UTC)
        )

    def conninfo(self, role: str = ADMIN) -> str:
        """Give what `psycopg.connect` needs for a session from now on, as a role of the database."""
        return make_conninfo(
            host=self.database.host,
            port=self.database_port,
            dbname="postgres",
            user=role,
            password=self.token(role),
            sslmode="disable",
        )

    def way_to_database(self, role: str, application_name: str) -> Database:
        """Give the way to the database that code of the shop takes, as a role of the database."""
        settings = DatabaseSettings(
            host=self.database.host,
            port=self.database_port,
            role=role,
            region=self.region_name,
            tls="disable",
            application_name=application_name,
        )
        return Database(settings, mint=lambda asked: self.token(asked.role))

    def check(self) -> None:
        """Raise StartError when the database or the emulator has ended."""
        if not self.database.is_running():
            raise StartError("The database has ended, and with it the Region. Start it again: make up.")
        if not self._emulator.is_running():
            raise StartError(
                "The AWS emulator has ended, and with it the Region. Start it again: make up. It said last:\n"
                f"{self._emulator.last_lines()}"
            )

    @property
    def api_url(self) -> str:
        """The shop's API, without a slash at its end."""
        return f"{self.endpoint_url}/_aws/execute-api/{self.outputs['ApiId']}/v1"

    @property
    def pages_url(self) -> str:
        """Where the shop's pages are for a browser of this machine, with a slash at its end.

        Browsers take any name ending in .localhost for this machine; Safari may not, other programs do not.
        """
        label = self.outputs["PagesUrl"].removeprefix("https://").partition(".")[0]
        return f"http://{label}.cloudfront.localhost:{self._emulator.port}/"

    @property
    def authorizations(self) -> Path:
        """What IAM was asked for, each kind of call once: JSON with principal, action, resource, decision."""
        return self._emulator.authorizations

    @property
    def log(self) -> Path:
        """The emulator's log, which also holds what the functions print."""
        return self._emulator.log

    def client(self, service: str) -> Any:
        """Give a boto3 client of the Region."""
        return self._emulator.client(service)

    def functions(self) -> dict[str, Function]:
        """Give the functions as they are deployed, by their logical ids in the template."""
        return deployed(self.client("lambda"), self.resources)

    def function_processes(self, function: str) -> list[psutil.Process]:
        """Give the processes that run a function now, by its logical id in the template."""
        return self._emulator.function_processes(function)

    def kill(self) -> None:
        """End everything of the Region with SIGKILL, as its loss would; a database that it shares stays."""
        self._emulator.stop()

    def lose(self) -> None:
        """End every function with SIGKILL, and a durable Region's AWS with what it keeps; the database stays.

        Raises StartError when that does not end.
        """
        self._emulator.lose()

    def come_back(self) -> None:
        """Bring a durable Region back after `lose`: its schedules begin at once. Raises StartError."""
        self._emulator.come_back()
        self.run_scheduled("RelayFunction", "CleanRegionFunction")

    def run_scheduled(self, *functions: str) -> None:
        """Have scheduled functions run now, by their logical ids; the emulator's schedules wait a minute."""
        for function in functions:
            self.client("lambda").invoke(FunctionName=self.resources[function], InvocationType="Event")

    def emails(self) -> list[dict[str, Any]]:
        """Give the messages sent so far: MessageId, Source, To, Subject, BodyText and more."""
        return self._emulator.emails()

    def sign_in(self, username: str, password: str | None = None) -> str:
        """Sign in as a browser does and give the ID token that the API wants as `Authorization`."""
        answer = self.client("cognito-idp").initiate_auth(
            ClientId=self.outputs["UserPoolClientId"],
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": username, "PASSWORD": password or self.outputs["DemoPassword"]},
        )
        token: str = answer["AuthenticationResult"]["IdToken"]
        return token

    def enrol(self, users: Sequence[Mapping[str, object]]) -> None:
        """Have the shop's own enrolment make users who can sign in, and wait for it.

        A user is `username`, `email`, `customer_id` (a customer who is there, of that username) and, for one,
        `staff`, who is entered among them in the database. Raises StartError after a minute without progress.
        """
        queue = self.resources["EnrolUsersQueue"]
        wanted = {one_form(str(user["username"])) for user in users}
        staff = [(user["customer_id"],) for user in users if user.get("staff")]
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            statement = "insert into xpoints.staff_members (customer_id) values (%s) on conflict do nothing"
            while True:
                with suppress(psycopg.errors.SerializationFailure):  # another Region migrates the schema
                    connection.cursor().executemany(statement, staff)
                    break
        for start in range(0, len(users), 10):
            entries = [
                {"Id": str(number), "MessageBody": json.dumps(user)}
                for number, user in enumerate(users[start : start + 10])
            ]
            self.client("sqs").send_message_batch(QueueUrl=queue, Entries=entries)
        done, last_progress = 0, time.monotonic()
        while done < len(wanted):
            time.sleep(0.1)
            # Some may have been enrolled before: what counts is that all are there.
            now_done = len(wanted & self._enrolled())
            if now_done > done:
                done, last_progress = now_done, time.monotonic()
            elif time.monotonic() - last_progress > ENROLMENT_TIMEOUT_S:
                raise StartError(f"only {done} of {len(wanted)} users were enrolled; see {self.log}")

    def _enrolled(self) -> set[str]:
        pages = self.client("cognito-idp").get_paginator("list_users")
        # A user is there before it has a password: only a confirmed one can sign in.
        return {
            user["Username"]
            for page in pages.paginate(UserPoolId=self.outputs["UserPoolId"])
            for user in page["Users"]
            if user["UserStatus"] == "CONFIRMED"
        }

    def logs(self) -> list[str]:
        """Give every line that the functions have written, oldest first."""
        return lines_of(self.client("logs"), self.outputs["FunctionLogGroupName"])

    def _start(self, stack: ExitStack) -> None:
        directory = _run_directory(self.region_name, stack)
        made_of = builds.made_of()
        built = builds.find(made_of)
        self._say(f"{'' if built else 'building the functions; '}starting the AWS emulator and the database")
        self._emulator = Emulator(directory, self.region_name, self._port, durable=self._durable)
        self._emulator.start()
        stack.callback(self._emulator.stop)
        build = None
        if built is None:
            build = self._sam(["build", "--build-dir", directory / "sam" / "build"], directory)
            stack.callback(build.stop)
        self.database = self._shared_database or self._own_database(directory, stack)
        self.database.take_keys(self._emulator.keys)
        # Once more, to go before the database: a server whose callers are gone has nothing to wait for.
        stack.callback(self._emulator.stop)
        self._emulator.wait()
        # As on AWS, the first Region is the one that is not named.
        elsewhere = {} if self.region_name == "us-east-1" else {"LocationConstraint": self.region_name}
        self.client("s3").create_bucket(
            Bucket="sam-artifacts", **({"CreateBucketConfiguration": elsewhere} if elsewhere else {})
        )
        if built is None:
            assert build is not None
            built = directory / "sam" / "build"
            _finish(build, "sam build")
            _deploy_at_once(built / "template.yaml")
            builds.keep(built, made_of)
        self._say("deploying template.yaml, which migrates the schema")
        self._deploy(directory, built / "template.yaml")

    def _own_database(self, directory: Path, stack: ExitStack) -> LocalDsql:
        place, port = directory.resolve() / "postgres", self._database_port
        stack.callback(shutil.rmtree, place / "data", ignore_errors=True)
        # Nothing waits for the disk: the data are thrown away.
        postgres = None
        if self._plain:
            server = EmbeddedPostgres(place / "data", port=port, fsync=False, settings=POSTGRES_SETTINGS)
            postgres, port = stack.enter_context(server), None
        database = LocalDsql(
            place,
            postgres=postgres,
            port=port,
            tls=False,
            region=self.region_name,
            keys={ROOT_KEY.access_key_id: Key(ROOT_KEY.secret_access_key, ROOT_ARN)},
            names=[NAME_OF_HOST],  # functions in containers know this machine by it
            limits={"index_build_s": 0.0},  # nobody waits to see an index being built
            fsync=False,
        )
        stack.enter_context(database)
        return database

    def _deploy(self, directory: Path, built: Path) -> None:
        parameters = {
            "ClusterEndpoint": self.database.host,
            "DatabasePort": str(self.database.endpoint(self.region_name)),
            "DatabaseTls": "disable",
            "SenderAddress": SENDER_ADDRESS,
            "DemoPassword": DEMO_PASSWORD,
            "InCloud": "false",
            "EmulatorUrl": self._emulator.endpoint_url,
            "GradualDeployment": "false",
            # CloudFormation has no archives here; the emulator's own API has, see below.
            "EventArchiveDays": "0",
            **self._parameters,
        }
        self._deploy_stack(directory, built, parameters)
        self._link_root()
        if self._plain:
            self._say("deploying it again, for PostgreSQL itself")
            parameters["DatabasePort"] = str(self.postgres.port)
            self._deploy_stack(directory, built, parameters)
        formation = self.client("cloudformation")
        stacks = formation.describe_stacks(StackName=STACK_NAME)["Stacks"]
        self.outputs = {item["OutputKey"]: item["OutputValue"] for item in stacks[0]["Outputs"]}
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME)
        self.resources = {
            made["LogicalResourceId"]: made["PhysicalResourceId"]
            for page in pages
            for made in page["StackResourceSummaries"]
        }
        events = self.client("events")
        bus = events.describe_event_bus(Name=self.outputs["EventBusName"])["Arn"]
        events.create_archive(ArchiveName=f"{STACK_NAME}-events", EventSourceArn=bus)
        complete_gateway(self.client("apigateway"), self.outputs["ApiId"], template(), parameters)
        self._spare_the_processors()
        # EventBridge Scheduler fires a rate schedule as soon as it is made, the emulator a minute later.
        self.run_scheduled("RelayFunction")

    def _deploy_stack(self, directory: Path, built: Path, parameters: dict[str, str]) -> None:
        overrides = [f"{name}={value}" for name, value in parameters.items() if value]
        deploy = self._sam(
            ["deploy", "--template-file", built, "--parameter-overrides", *overrides], directory
        )
        try:
            _finish(deploy, "sam deploy")
        except StartError as error:
            raise StartError("\n".join([str(error), "", *self._failures()])) from None
        finally:
            deploy.stop()

    def _link_root(self) -> None:
        """Let whoever has the key `test` connect as every role: people, and what they run by hand."""
        if self._plain:  # it asks nobody who they are
            return
        roles = resources("Custom::Migration")["Migration"]["Properties"]["RoleArns"]
        database = self.way_to_database(ADMIN, "rewards-local")
        migrate(database, {role: [ROOT_ARN] for role in roles}, migrations=[])
        database.discard()

    def _spare_the_processors(self) -> None:
        """Bound how many batches of a queue are at work at once: each takes a process that has to start."""
        functions = self.client("lambda")
        most = max(2, os.cpu_count() or 2)
        for page in functions.get_paginator("list_event_source_mappings").paginate():
            for mapping in page["EventSourceMappings"]:
                deployed = mapping.get("ScalingConfig", {}).get("MaximumConcurrency", most)
                functions.update_event_source_mapping(
                    UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": min(most, deployed)}
                )

    def _failures(self) -> list[str]:
        with suppress(ClientError):
            pages = self.client("cloudformation").get_paginator("describe_stack_events")
            events = [event for page in pages.paginate(StackName=STACK_NAME) for event in page["StackEvents"]]
            return [
                f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
                for event in reversed(events)
                if event["ResourceStatus"].endswith("_FAILED")
            ]
        return []

    def _sam(self, arguments: list[str | Path], directory: Path) -> Guarded:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))},
            **self._emulator.environment,
            # It draws with more than a terminal of ASCII has.
            "PYTHONUTF8": "1",
            "BUNDLE_FOR": "host",
            "SAM_CLI_TELEMETRY": "0",
            # Each time it reads everything that has happened so far.
            "SAM_CLI_POLL_DELAY": "0.5",
            "__SAM_CLI_APP_DIR": str(directory / "sam"),
            # It leaves empty folders there, one a function.
            "TMPDIR": str(directory / "tmp"),
        }
        (directory / "tmp").mkdir(exist_ok=True)
        name, *rest = arguments
        python = ROOT / ".local" / "sam" / "bin" / "python"
        if not python.exists():
            raise StartError("the SAM CLI is not installed; run `make tools`")
        options: list[str | Path] = ["--config-env", "local", "--config-file", ROOT / "samconfig.toml"]
        command: list[str | Path] = [python, "-P", _SAM_PROCESS, name, *options, *rest]
        if name == "build":
            command += ["--template-file", ROOT / "template.yaml"]
        return Guarded(command, environment, directory / f"sam-{name}.log")


def _deploy_at_once(built: Path) -> None:
    """Make GradualDeployment false in a built template's defaults, too, and the template JSON.

    The emulator applies SAM's transform without the parameters' values, and it is the transform that makes
    the resources of a gradual deployment. `sam deploy` reads the template five times, JSON in no time.
    """
    made = read(built.read_text(encoding="utf-8"))
    gradual = made["Parameters"]["GradualDeployment"]
    if gradual["Default"] != "true":
        raise StartError(f"{built} has another default of GradualDeployment than 'true'")
    gradual["Default"] = "false"
    built.write_text(json.dumps(made), encoding="utf-8")


def _finish(step: Guarded, name: str) -> None:
    try:
        code = step.wait(DEPLOY_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise StartError(
            f"{name} did not end within {DEPLOY_TIMEOUT_S:.0f} s. It said last:\n{step.last_lines()}"
        ) from None
    if code != 0:
        raise StartError(f"{name} failed (exit code {code}). It said last:\n{step.last_lines()}")


def remove_runs_left_behind() -> None:
    """Remove the directories of runs that were killed."""
    for path in RUNS.iterdir() if RUNS.is_dir() else ():
        with suppress(ValueError):
            if not is_alive(int(path.name.split("-")[0])):
                _remove(path)


def _run_directory(region_name: str, stack: ExitStack) -> Path:
    """Make this run's directory, in memory where it is free, and remove those of runs that were killed."""
    RUNS.mkdir(parents=True, exist_ok=True)
    remove_runs_left_behind()
    directory = RUNS / f"{os.getpid()}-{region_name}-{secrets.token_hex(4)}"
    stack.callback(_remove, directory)
    if _has_space(MEMORY):
        in_memory = MEMORY / f"rewards-{directory.name}"
        # Others may pass through: run as root, PostgreSQL drops to another user.
        in_memory.mkdir(mode=0o711)
        directory.symlink_to(in_memory)
    else:
        directory.mkdir()
    return directory


def _remove(directory: Path) -> None:
    place = directory.resolve()
    shutil.rmtree(EmbeddedPostgres(place / "postgres" / "data").data_directory, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
    if directory.is_symlink():
        directory.unlink()


def _has_space(directory: Path) -> bool:
    with suppress(OSError):
        filesystem = os.statvfs(directory)
        return os.access(directory, os.W_OK) and filesystem.f_bavail * filesystem.f_frsize >= FREE_BYTES
    return False


def stop_on_signals() -> None:
    """Have SIGTERM and SIGHUP leave the `with` blocks, as Ctrl-C does."""

    def leave(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def stopwatch() -> Callable[[str], None]:
    """Give a `say` that prints each step to the standard error with the seconds since now."""
    start = time.monotonic()

    def say(step: str) -> None:
        print(f"{time.monotonic() - start:5.1f} s  {step}", file=sys.stderr, flush=True)

    return say
