"""Gauges and counters of the queues in Prometheus's text format, over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any

import attrs
import psycopg
from psycopg import AsyncConnection

from slaq.jobs import managing
from slaq.jobs.calls import run_call_async
from slaq.jobs.execute import Claim
from slaq.jobs.model import QueueStats

_log = logging.getLogger("slaq.jobs")
BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0)
"""Upper bounds of the durations, in seconds."""


@attrs.define
class Metrics:
    """What one worker process counts, and what it asks Postgres for at each scrape."""

    conninfo: str
    schema: str
    runs: dict[tuple[str, str], int] = attrs.field(factory=lambda: defaultdict(int))
    durations: dict[str, list[int]] = attrs.field(factory=lambda: defaultdict(lambda: [0] * (len(BUCKETS) + 1)))
    seconds: dict[str, float] = attrs.field(factory=lambda: defaultdict(float))

    def note(self, claim: Claim, seconds: float) -> None:
        """Count the runs of ``claim``, which took ``seconds`` together."""
        queue = claim.jobs[0].queue
        for outcome in claim.outcomes or []:
            self.runs[queue, "completed" if outcome.is_done else "failed"] += 1
        if claim.outcomes is None:
            self.runs[queue, "interrupted"] += len(claim.jobs)
        place = next((at for at, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self.durations[queue][place] += 1
        self.seconds[queue] += seconds

    async def text(self) -> str:
        """The whole page."""
        async with await AsyncConnection.connect(self.conninfo, autocommit=True) as conn:
            stats = await run_call_async(conn, managing.get_queue_stats(), self.schema)
            now = await run_call_async(conn, managing.now(), self.schema)
        lines = [*_gauges(stats, now), *self._counters()]
        return "".join(f"{line}\n" for line in lines)

    def _counters(self) -> Iterator[str]:
        yield "# HELP slaq_job_runs_total Runs of jobs that ended in this process."
        yield "# TYPE slaq_job_runs_total counter"
        for (queue, outcome), count in sorted(self.runs.items()):
            yield f'slaq_job_runs_total{{queue="{queue}",outcome="{outcome}"}} {count}'
        yield "# HELP slaq_job_duration_seconds How long calls of handlers took."
        yield "# TYPE slaq_job_duration_seconds histogram"
        for queue, counts in sorted(self.durations.items()):
            for bound, count in zip((*BUCKETS, "+Inf"), accumulate(counts), strict=True):
                yield f'slaq_job_duration_seconds_bucket{{queue="{queue}",le="{bound}"}} {count}'
            yield f'slaq_job_duration_seconds_sum{{queue="{queue}"}} {self.seconds[queue]:.6f}'
            yield f'slaq_job_duration_seconds_count{{queue="{queue}"}} {sum(counts)}'


def _gauges(stats: list[QueueStats], now: Any) -> Iterator[str]:
    yield "# HELP slaq_jobs Jobs in the database, by queue and state."
    yield "# TYPE slaq_jobs gauge"
    for each in stats:
        for state in ("ready", "deferred", "active", "completed", "failed", "cancelled"):
            yield f'slaq_jobs{{queue="{each.name}",state="{state}"}} {getattr(each, state)}'
    yield "# HELP slaq_oldest_ready_seconds How long the oldest ready job has waited."
    yield "# TYPE slaq_oldest_ready_seconds gauge"
    for each in stats:
        waited = 0.0 if each.oldest_ready is None else max((now - each.oldest_ready).total_seconds(), 0.0)
        yield f'slaq_oldest_ready_seconds{{queue="{each.name}"}} {waited:.3f}'


@asynccontextmanager
async def serving(metrics: Metrics, port: int, host: str = "0.0.0.0") -> AsyncGenerator[int, None]:  # noqa: S104 - scraped from elsewhere
    """Answer every GET on ``port`` (0: any free one) with the metrics, while the code inside runs; yields the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            status, body = "200 OK", (await metrics.text()).encode()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            writer.close()
            return
        except psycopg.Error as error:
            _log.warning("metrics could not be read: %s", error)
            status, body = "503 Service Unavailable", b"Postgres cannot be reached\n"
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port)
    async with server:
        yield server.sockets[0].getsockname()[1]
