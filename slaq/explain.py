"""Why a phase is due when it is due: the same spans the clock counts, as a ledger whose sum is the target."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum

import attrs

from slaq.phase import ZERO, PhaseClock, Span


class Reason(StrEnum):
    """Why a stretch of time counts or does not."""

    OPEN = "open"
    CLOSED = "closed"
    STOPPED = "paused or closed"


@attrs.frozen
class Line:
    """One stretch of wall-clock time, what it was, and the business time counted by its end."""

    start: datetime
    end: datetime
    reason: Reason
    counted: timedelta
    total: timedelta


def explain(clock: PhaseClock, at: datetime) -> tuple[Line, ...]:
    """The ledger of ``clock`` up to its due instant, or up to ``at`` when it stands still before that.

    The counted time of all lines up to the due instant is the target, exactly. Nothing promised: no lines.
    """
    if clock.target is None:
        return ()
    end = clock.crossed_at(100) or clock.finished_at or at
    lines: list[Line] = []
    total = ZERO
    for start, until, reason in _stretches(clock, end):
        counted = until - start if reason is Reason.OPEN else ZERO
        total += counted
        lines.append(Line(start, until, reason, counted, total))
    return tuple(lines)


def _stretches(clock: PhaseClock, end: datetime) -> Iterator[tuple[datetime, datetime, Reason]]:
    """Every stretch from the start to ``end``, in order and without a gap."""
    reached = clock.spans[0].start
    for span in (*clock.spans, Span(end, end)):
        if reached < min(span.start, end):
            yield reached, min(span.start, end), Reason.STOPPED
        until = min(span.end or end, end)
        if span.start < until:
            for part in clock.schedule.segments(span.start, until):
                yield part.start, part.end, Reason.OPEN if part.is_open else Reason.CLOSED
        reached = max(reached, until)
