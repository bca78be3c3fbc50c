"""What a worker shows to Prometheus: its queues, its timer, the outbox, and the runs in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from slaq.jobs.execute import Claim
from slaq.jobs.sync_queue import SyncJobQueue
from slaq.jobs.timer import Timer
from slaq.store.queries import query

BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0)
"""Upper bounds of the durations, in seconds."""
_STATES = ("ready", "deferred", "active", "completed", "failed", "cancelled")


class Metrics(Collector):
    """Counts the runs of one process, and asks Postgres for the rest at each scrape."""

    def __init__(self, conninfo: str, schema: str) -> None:
        self._conninfo = conninfo
        self._schema = schema
        self.timer: Timer | None = None
        self.registry = CollectorRegistry()
        self.runs = Counter(
            "slaq_job_runs", "Runs of jobs that ended in this process.", ["queue", "outcome"], registry=self.registry
        )
        self.durations = Histogram(
            "slaq_job_duration_seconds", "How long calls of handlers took.", ["queue"], buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.registry.register(self)

    def note(self, claim: Claim, seconds: float) -> None:
        """Count the runs of ``claim``, which took ``seconds`` together."""
        queue = claim.jobs[0].queue
        for outcome in claim.outcomes or []:
            self.runs.labels(queue, "completed" if outcome.is_done else "failed").inc()
        if claim.outcomes is None:
            self.runs.labels(queue, "interrupted").inc(len(claim.jobs))
        self.durations.labels(queue).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """What Postgres says now; without it, only that it cannot be asked."""
        try:
            with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5) as conn:
                found = [*self._queues(conn), *self._alarms(conn), *self._outbox(conn)]
        except psycopg.Error:
            found = []
        yield GaugeMetricFamily("slaq_postgres_up", "Whether Postgres could be asked.", value=bool(found))
        yield from found
        if self.timer is not None:
            yield CounterMetricFamily(
                "slaq_rescues", "Tickets of Temporal's that were overdue and told by this poller.", value=self.timer.rescues
            )  # fmt: skip

    def _queues(self, conn: psycopg.Connection) -> Iterator[Metric]:
        now = _now(conn, self._schema)
        jobs = GaugeMetricFamily("slaq_jobs", "Jobs in the database.", labels=["queue", "state"])
        oldest = GaugeMetricFamily(
            "slaq_oldest_ready_seconds", "How long the oldest ready job has waited.", labels=["queue"]
        )
        for stats in SyncJobQueue(self._schema).get_queue_stats(conn):
            for state in _STATES:
                jobs.add_metric([stats.name, state], getattr(stats, state))
            oldest.add_metric([stats.name], _since(stats.oldest_ready, now))
        yield jobs
        yield oldest

    def _alarms(self, conn: psycopg.Connection) -> Iterator[Metric]:
        now = _now(conn, self._schema)
        row = conn.execute(query("timer", "backlog", self._schema), {"now": now}).fetchone()
        armed, due, failing, oldest_due_at = row or (0, 0, 0, None)
        alarms = GaugeMetricFamily("slaq_alarms", "Tickets with a crossing ahead, due, or failing.", labels=["state"])
        for state, count in (("armed", armed), ("due", due), ("failing", failing)):
            alarms.add_metric([state], count)
        yield alarms
        yield GaugeMetricFamily(
            "slaq_oldest_due_seconds", "How long the oldest due crossing is untold.", value=_since(oldest_due_at, now)
        )

    def _outbox(self, conn: psycopg.Connection) -> Iterator[Metric]:
        row = conn.execute(query("temporal", "outbox_backlog", self._schema)).fetchone()
        waiting, failing, oldest_at = row or (0, 0, None)
        outbox = GaugeMetricFamily("slaq_outbox", "What Temporal has not been told yet.", labels=["state"])
        for state, count in (("waiting", waiting), ("failing", failing)):
            outbox.add_metric([state], count)
        yield outbox
        yield GaugeMetricFamily(
            "slaq_oldest_outbox_seconds", "How long the oldest of it waits.", value=_since(oldest_at, _now(conn, self._schema))
        )  # fmt: skip


def _now(conn: psycopg.Connection, schema: str) -> datetime:
    row = conn.execute(query("timer", "now", schema)).fetchone()
    return row[0] if row else datetime.max  # noqa: DTZ901 - a SELECT without FROM has a row


def _since(instant: datetime | None, now: datetime) -> float:
    return 0.0 if instant is None else max((now - instant).total_seconds(), 0.0)


@contextmanager
def serving(metrics: Metrics, port: int, host: str = "0.0.0.0") -> Generator[int, None, None]:  # noqa: S104 - scraped from elsewhere
    """Answer on ``port`` (0: any free one), from a thread, while the code inside runs; yields the port."""
    server, thread = start_http_server(port, host, metrics.registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
