"""What happened: the facts that a ticket's clocks are folded from."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs

from slaq.promise import Promise


class FactKind(StrEnum):
    """The seven things that can happen to a clock."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    ANSWERED = "answered"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    RETARGETED = "retargeted"


STOPS = frozenset({FactKind.ANSWERED, FactKind.RESOLVED})
"""Facts that end a phase; at one instant they come before a crossing."""


class PauseSource(StrEnum):
    """Who holds a ticket paused, in the order in which the reason is shown."""

    AWAITING_CLIENT = "awaiting_client"
    STATUS = "status"
    MANUAL = "manual"


@attrs.frozen
class Fact:
    """One thing that happened.

    ``at`` is when it happened, ``known_at`` when slaq learned of it; facts that were learned
    together share a ``change``. ``promise`` belongs to ``started`` and ``retargeted``,
    ``source`` to ``paused`` and ``resumed``.
    """

    kind: FactKind
    at: datetime
    known_at: datetime
    source: PauseSource | None = None
    promise: Promise | None = None
    change: int = 0
