"""Running seeds: one server, a database for each process, and what each seed came to."""

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
from aws_lambda_powertools import Logger

from local_dsql.places import own_directory
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Database, DatabaseSettings
from sql.migrate import migrate
from tests.chaos.checks import problems
from tests.chaos.scheduler import Endless
from tests.chaos.wire import SCHEMA, Links
from tests.chaos.world import World
from tools.plain_migrations import plain_migrations

_SETTINGS = {"autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "16GB"}
_TEMPLATE = "chaos"

_links: Links | None = None


@dataclass(slots=True)
class Result:
    """What one seed came to. `fingerprint` is the same whenever the same code runs the same seed."""

    seed: int
    problems: list[str] = field(default_factory=list)
    steps: int = 0
    exchanges: int = 0
    fingerprint: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


@contextlib.contextmanager
def open_server() -> Iterator[EmbeddedPostgres]:
    """Start a server, on memory where there is a file system for it, with the schema in one database."""
    memory = Path("/dev/shm")
    under = memory if memory.is_dir() else None
    with own_directory("rewards-chaos", under, passable=True) as directory:
        server = EmbeddedPostgres(directory / "data", fsync=False)
        try:
            with server:
                server.create_database(_TEMPLATE)
                settings = DatabaseSettings(
                    server.host, "admin", "us-east-1", port=server.port, name=_TEMPLATE, tls="disable"
                )
                database = Database(settings, mint=lambda _: "")
                migrate(database, migrations=plain_migrations())
                database.discard()
                with psycopg.connect(server.conninfo(_TEMPLATE), autocommit=True) as admin:
                    admin.execute(SCHEMA.encode())
                    for name, value in _SETTINGS.items():
                        admin.execute(f"alter system set {name} = '{value}'".encode())
                    admin.execute("select pg_reload_conf()")
                yield server
        finally:
            if server.data_directory.exists():
                shutil.rmtree(server.data_directory, ignore_errors=True)


def open_links(server: EmbeddedPostgres, name: str) -> Links:
    """Make a database of its own for one process, and give the way to it."""
    server.create_database(name, template=_TEMPLATE)
    return Links(partial(server.conninfo, name))


def run_seed(seed: int, links: Links, kind: Callable[[int, Links], World] = World) -> Result:
    """Run one seed and look at what it left."""
    world = kind(seed, links)
    result = Result(seed)
    try:
        world.run()
        result.problems = problems(world)
    except (Exception, Endless) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        result.problems = [f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"]
        world.scheduler.trace += traceback.format_exception(error)
    result.steps, result.exchanges = world.scheduler.steps, world.exchanges.count
    result.counts = world.counts
    result.trace = world.scheduler.trace
    result.fingerprint = zlib.crc32("\n".join(result.trace).encode())
    return result


def quieten() -> None:
    """Have the functions' logs go nowhere: there are thousands of lines a second."""
    logging.disable(logging.CRITICAL)
    Logger(service="rewards")  # the functions' loggers are children of one that their edge makes


def _work(conninfo: str, numbers: "multiprocessing.Queue[int]") -> None:
    """Make a worker process ready: quiet, deaf to Ctrl-C (its parent ends it), with a database of its own."""
    global _links
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    quieten()
    name = f"chaos_{numbers.get()}"
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute(f"create database {name} template {_TEMPLATE}".encode())
    _links = Links(lambda role: psycopg.conninfo.make_conninfo(conninfo, dbname=name, user=role))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _run_in_worker(seed: int) -> Result:
    assert _links is not None
    result = run_seed(seed, _links)
    if not result.problems:
        result.trace = []
    return result


def run_seeds(seeds: Sequence[int], jobs: int) -> Generator[Result, None, None]:
    """Run seeds in parallel; give results as they come. Closing the generator ends all processes."""
    context = multiprocessing.get_context("spawn")
    numbers: multiprocessing.Queue[int] = context.Queue()
    for number in range(jobs):
        numbers.put(number)
    with open_server() as server:
        pool = ProcessPoolExecutor(jobs, context, _work, (server.conninfo(), numbers))
        try:
            for done in as_completed([pool.submit(_run_in_worker, seed) for seed in seeds]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)
