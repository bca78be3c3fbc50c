"""Where the peers meet: one Postgres, a fresh database and a process of its own for each measurement."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import psycopg

from benchmarks.queues.noise import Noise
from slaq.postgres import APP, EmbeddedPostgres
from slaq.store.migrate import grant, migrate

SETTINGS = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
    "autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "4GB",
}  # fmt: skip
"""As a server comes, but for what would fall into one measurement and not into another."""
NODE_PACKAGES = ("graphile-worker@0.18.0", "node@22", "pg-boss@12.38.0")
"""With a Node of their own: both peers want a newer one than many systems have."""
NODE = Path(os.environ.get("SLAQ_BENCH_NODE") or Path(sys.prefix) / "bench-node")
LONGEST = 300
"""Seconds that one program may take."""
QUIET = 0.1
"""The share of the processors that others may have; above it a measurement is made again."""

# Of tables with rows alone: once an empty one has statistics, sessions plan for it as if it stayed so.
_ANALYZE = """
    SELECT format('ANALYZE %s', oid::regclass) FROM pg_class
    WHERE relkind = 'r' AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)' AND pg_relation_size(oid) > 0
"""


class Peer(NamedTuple):
    name: str
    program: str
    """A file beside this one."""
    measures: str
    """What it can do, by the names of its measures."""

    @property
    def is_node(self) -> bool:
        return self.program.endswith(".mjs")

    @property
    def is_slaq(self) -> bool:
        return self.program == "slaq.py"


class Filled(NamedTuple):
    """What a database holds before a measurement: the jobs that an action adds."""

    action: str
    count: int


class Ring:
    """Spends up to ``patience`` seconds, all in all, on waiting for quiet moments and on second attempts."""

    def __init__(self, server: EmbeddedPostgres, patience: float) -> None:
        self._server = server
        self._ready: set[str] = set()
        self._turns = 0
        self._noise = Noise(server.status().pid or 0)
        self._patience = patience
        self.shares: list[float] = []
        """What others had of the processors, in each measurement that counts."""

    def prepare(self, peer: Peer, filled: Filled | None) -> str:
        """The database, made if it is not there yet, of which each measurement gets a copy; raises like ``measure``."""
        stem = peer.program.partition(".")[0]
        name = f"{stem}_{filled.action}_{filled.count}" if filled else f"{stem}_installed"
        if name not in self._ready:
            if filled:
                self._server.create_database(name, self.prepare(peer, None))
                self._run(peer, name, *filled)
            else:
                self._server.create_database(name)
                if peer.is_slaq:
                    with psycopg.connect(self._server.admin_conninfo(name), autocommit=True) as conn:
                        migrate(conn, "slaq")
                        grant(conn, "slaq", APP, to_worker=True)
                self._run(peer, name, "install", 0)
            with self._superuser(name) as conn:
                for (statement,) in conn.execute(_ANALYZE).fetchall():
                    conn.execute(statement)
            self._ready.add(name)
        return name

    def measure(self, peer: Peer, filled: Filled | None, action: str, count: int) -> list[float]:
        """What ``peer`` prints, in the quietest attempt; raises ``RuntimeError`` with what it says when it fails."""
        share, numbers = self._attempt(peer, filled, action, count)
        while share > QUIET and self._patience > 0:
            with self._patiently():
                share, numbers = min((share, numbers), self._attempt(peer, filled, action, count))
        self.shares.append(share)
        return numbers

    def _attempt(self, peer: Peer, filled: Filled | None, action: str, count: int) -> tuple[float, list[float]]:
        self._turns += 1
        name = self._server.create_database(f"turn_{self._turns}", self.prepare(peer, filled))
        try:
            with self._superuser(name) as conn:
                conn.execute("CHECKPOINT")
            with self._patiently():
                self._noise.wait(QUIET, self._patience)
            start = self._noise.now()
            numbers = self._run(peer, name, action, count)
            return self._noise.since(start), numbers
        finally:
            self._server.drop_database(name)

    @contextmanager
    def _patiently(self) -> Generator[None]:
        before, left = monotonic(), self._patience
        yield
        self._patience = left - (monotonic() - before)

    def _superuser(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self._server.conninfo(database, "postgres"), autocommit=True)

    def _run(self, peer: Peer, database: str, action: str, count: int) -> list[float]:
        program = Path(__file__).with_name(peer.program)
        runner = (
            [NODE / "node_modules/.bin/node", program]
            if peer.is_node
            else [sys.executable, "-m", f"{__package__}.{program.stem}"]
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
            "PGHOST": str(self._server.socket_directory), "PGUSER": APP if peer.is_slaq else "postgres",
            "PGDATABASE": database, "PEER_MODULES": str(NODE),
        }  # fmt: skip
        try:
            done = subprocess.run(
                [*runner, action, str(count)],
                check=True,
                capture_output=True,
                text=True,
                timeout=LONGEST,
                env=environment,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{peer.name} has not ended {action} after {LONGEST} s") from error
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"{peer.name} failed in {action}: {error.stderr.strip()[-1000:]}") from error
        return json.loads(done.stdout.splitlines()[-1])


def fetch_node() -> str | None:
    """Have npm fetch the peers in Node, unless it has; returns why they cannot run."""
    if shutil.which("npm") is None:
        return "npm is not installed"
    stamp = NODE / "fetched"
    if stamp.exists() and stamp.read_text() == " ".join(NODE_PACKAGES):
        return None
    NODE.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", f"--prefix={NODE}", *NODE_PACKAGES]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return f"npm has not fetched them in {LONGEST} s"
    except subprocess.CalledProcessError as error:
        return f"npm could not fetch them: {error.stderr.strip()[-500:]}"
    stamp.write_text(" ".join(NODE_PACKAGES))
    return None
