"""The job queue beside its peers on one Postgres in one run: no-op jobs, so what counts is the queue.

    python -m benchmarks jobs [--rounds 3] [--peers slaq,pg-boss] [--only latency,send] [--patience 60]

A round measures everything once, peer after peer in an order that rotates; ratios are taken within a round, of moments
that lie close together. Client and server share the machine: compare ratios of one run, nothing else. What others take
of it meanwhile is told at the end; a measurement that they disturb is made again while patience lasts.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.queues.ring import SETTINGS, Filled, Peer, Ring, fetch_node
from slaq.postgres import temporary


class Figure(NamedTuple):
    """What is read off the numbers that a peer prints."""

    title: str
    unit: str
    """``jobs/s`` or ``ms``."""
    of: Callable[[list[float]], float]


class Measure(NamedTuple):
    name: str
    action: str
    count: int
    filled: Filled | None
    figures: tuple[Figure, ...]


class Goal(NamedTuple):
    text: str
    figure: str
    against: tuple[str, str] | float
    """A peer and its figure, or so many milliseconds."""
    least: float
    """It is reached at this ratio, of how many times as fast slaq is."""


def rate(title: str) -> Figure:
    return Figure(title, "jobs/s", median)


def percentile(title: str, percent: int) -> Figure:
    return Figure(title, "ms", lambda times: sorted(times)[len(times) * percent // 100])


SLAQ, PG_BOSS, PROCRASTINATE, PGQUEUER = "slaq", "pg-boss", "Procrastinate", "pgqueuer"
PEERS = (
    Peer(SLAQ, "slaq.py", "send insert fetch fetch-alone batches singles latency future others"),
    Peer(PG_BOSS, "pg_boss.mjs", "send insert fetch fetch-alone batches singles latency future others"),
    Peer(PGQUEUER, "pgqueuer.py", "send insert batches singles latency"),
    Peer("graphile-worker", "graphile_worker.mjs", "send insert batches singles latency"),
    Peer(PROCRASTINATE, "procrastinate.py", "send insert singles latency future others"),
    Peer("SQL floor", "floor.py", "send insert fetch fetch-alone singles latency"),
)
SEND, INSERT = "one send", "bulk insert, 1000 at a time"
FETCH, FETCH_ALONE = "fetch(100) and complete, 10 loops", "fetch(100) and complete, 1 loop"
BATCHES, SINGLES = "handlers of batches of 100", "handlers one by one, 10 at a time"
P50, P99 = "enqueue to start, p50", "enqueue to start, p99"
FUTURE, OTHERS = "empty fetch, 200,000 future jobs", "empty fetch, 20,000 jobs of another queue"
BACKLOG = Filled("insert", 20_000)
MEASURES = (
    Measure("send", "send", 2000, None, (rate(SEND),)),
    Measure("insert", "insert", 20_000, None, (rate(INSERT),)),
    Measure("fetch", "fetch", BACKLOG.count, BACKLOG, (rate(FETCH),)),
    Measure("fetch-alone", "fetch_alone", BACKLOG.count, BACKLOG, (rate(FETCH_ALONE),)),
    Measure("batches", "work_batches", BACKLOG.count, BACKLOG, (rate(BATCHES),)),
    Measure("singles", "work", 5000, Filled("insert", 5000), (rate(SINGLES),)),
    Measure("latency", "latency", 300, None, (percentile(P50, 50), percentile(P99, 99))),
    Measure("future", "fetch_nothing", 300, Filled("insert_later", 200_000), (percentile(FUTURE, 50),)),
    Measure("others", "fetch_nothing", 300, Filled("insert_others", 20_000), (percentile(OTHERS, 50),)),
)
FIGURES = {figure.title: figure for measure in MEASURES for figure in measure.figures}
GOALS = (
    Goal("one send: twice pg-boss", SEND, (PG_BOSS, SEND), 2),
    Goal("bulk insert: ahead of pg-boss", INSERT, (PG_BOSS, INSERT), 1),
    Goal("bulk insert: ahead of pgqueuer", INSERT, (PGQUEUER, INSERT), 1),
    Goal("fetch(100) and complete: level with pg-boss's work()", FETCH, (PG_BOSS, BATCHES), 1),
    Goal("fetch(100) and complete: at the least 0.7 of it", FETCH, (PG_BOSS, BATCHES), 0.7),
    Goal("fetch(100) and complete: 12 times Procrastinate", FETCH, (PROCRASTINATE, SINGLES), 12),
    Goal("batch handlers: level with pg-boss's work()", BATCHES, (PG_BOSS, BATCHES), 1),
    Goal("batch handlers: at the least 0.7 of it", BATCHES, (PG_BOSS, BATCHES), 0.7),
    Goal("batch handlers: 12 times Procrastinate", BATCHES, (PROCRASTINATE, SINGLES), 12),
    Goal("one by one: five times Procrastinate", SINGLES, (PROCRASTINATE, SINGLES), 5),
    Goal("one by one: ahead of pg-boss's fetch-one loops", SINGLES, (PG_BOSS, SINGLES), 1),
    Goal("one by one: ahead of pgqueuer", SINGLES, (PGQUEUER, SINGLES), 1),
    Goal("enqueue to start, p50: ahead of pg-boss", P50, (PG_BOSS, P50), 1),
    Goal("enqueue to start, p99: ahead of pg-boss", P99, (PG_BOSS, P99), 1),
    Goal("empty fetch with 200,000 future jobs: under 2 ms", FUTURE, 2.0, 1),
    Goal("empty fetch with 20,000 jobs of another queue ahead: under 2 ms", OTHERS, 2.0, 1),
)

Round = dict[tuple[str, str], float]
"""By peer and title of figure."""


def is_ready(ring: Ring, peer: Peer, measures: Sequence[Measure]) -> bool:
    try:
        for measure in measures:
            if measure.name in peer.measures.split():
                ring.prepare(peer, measure.filled)
    except RuntimeError as error:
        print(f"left out: {error}", flush=True)
        return False
    return True


def measure_round(ring: Ring, peers: Sequence[Peer], measures: Sequence[Measure], turn: int) -> Round:
    found: Round = {}
    for measure in measures:
        able = [peer for peer in peers if measure.name in peer.measures.split()]
        for at in range(len(able)):
            peer = able[(at + turn) % len(able)]
            try:
                numbers = ring.measure(peer, measure.filled, measure.action, measure.count)
            except RuntimeError as error:
                print(f"left out: {error}", flush=True)
                continue
            found |= {(peer.name, figure.title): figure.of(numbers) for figure in measure.figures}
    return found


def ratios(rounds: Sequence[Round], title: str, against: tuple[str, str] | float) -> list[float]:
    """How many times as fast slaq was, in each round that measured both."""
    pairs = [
        (each[SLAQ, title], against if isinstance(against, float) else each[against])
        for each in rounds
        if (SLAQ, title) in each and (isinstance(against, float) or against in each)
    ]
    return [theirs / ours if FIGURES[title].unit == "ms" else ours / theirs for ours, theirs in pairs]


def spread(values: Sequence[float], digits: int) -> str:
    """Median, least and most."""
    middle, least, most = (f"{of(values):,.{digits}f}" for of in (median, min, max))
    return f"{middle:>9} ({least} to {most})"


def report_figures(rounds: Sequence[Round], peers: Sequence[Peer]) -> None:
    print("\nMedian (least to most) of the rounds, and of how many times as fast slaq is within a round")
    for title, figure in FIGURES.items():
        found = {peer.name: [each[peer.name, title] for each in rounds if (peer.name, title) in each] for peer in peers}
        if any(found.values()):
            print(f"\n{title}, {figure.unit}")
        for name, values in found.items():
            if values:
                shares = [] if name == SLAQ else ratios(rounds, title, (name, title))
                digits = 2 if figure.unit == "ms" else 0
                print(f"  {name:16}{spread(values, digits):34}{spread(shares, 2) if shares else ''}".rstrip())


def report_goals(rounds: Sequence[Round], measures: Sequence[Measure]) -> None:
    print("\nGoals, and how many times as fast slaq is as what they name")
    asked = {figure.title for measure in measures for figure in measure.figures}
    for goal in GOALS:
        if goal.figure in asked:
            shares = ratios(rounds, goal.figure, goal.against)
            verdict = "not measured" if not shares else "reached" if median(shares) >= goal.least else "missed"
            print(f"  {verdict:13}{spread(shares, 2) if shares else '':32}{goal.text}")


def chosen(*options: str) -> argparse.Namespace:
    def among(names: Sequence[str]) -> Callable[[str], list[str]]:
        def listed(text: str) -> list[str]:
            unknown = set(text.split(",")) - set(names)
            if unknown:
                raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: there are {', '.join(names)}")
            return text.split(",")

        return listed

    peers, measures = [peer.name for peer in PEERS], [measure.name for measure in MEASURES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks jobs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--patience", type=float, default=60, help="seconds to spend on quiet moments, where others are busy"
    )
    parser.add_argument("--peers", type=among(peers), default=peers, help=", ".join(peers))
    parser.add_argument("--only", type=among(measures), default=measures, help=", ".join(measures))
    return parser.parse_args(options)


def main(*options: str) -> None:
    asked = chosen(*options)
    peers = [peer for peer in PEERS if peer.name in asked.peers]
    measures = [measure for measure in MEASURES if measure.name in asked.only]
    reason = fetch_node() if any(peer.is_node for peer in peers) else None
    if reason:
        print(f"left out: {', '.join(peer.name for peer in peers if peer.is_node)}: {reason}")
        peers = [peer for peer in peers if not peer.is_node]
    rounds: list[Round] = []
    with temporary(SETTINGS) as server:
        ring = Ring(server, asked.patience)
        print("filling the databases", flush=True)
        peers = [peer for peer in peers if is_ready(ring, peer, measures)]
        for turn in range(asked.rounds):
            print(f"round {turn + 1} of {asked.rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
            rounds.append(measure_round(ring, peers, measures, turn))
    report_figures(rounds, peers)
    report_goals(rounds, measures)
    if ring.shares:
        middle, most = median(ring.shares), max(ring.shares)
        print(
            f"\nOther processes took {middle:.0%} of the processors in the median measurement, {most:.0%} in the worst."
        )
