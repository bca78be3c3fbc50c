"""What was promised: the targets, the schedule they are counted in, and what is watched on the way."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import attrs

from slaq.hours import Schedule

AT_RISK_PERCENT = 75
"""From this share of its business target on, a running phase is at risk."""


class Phase(StrEnum):
    """The two clocks of a ticket, in the order in which equal crossings are told."""

    RESPONSE = "response"
    RESOLUTION = "resolution"


class Kind(StrEnum):
    """What is crossed, in the order in which equal crossings are told."""

    BREACH = "breach"
    THRESHOLD = "threshold"
    ESCALATION = "escalation"


class Channel(StrEnum):
    """The ways in which a person is told."""

    IN_APP = "in_app"
    EMAIL = "email"


@attrs.frozen
class Threshold:
    """A percentage of the target at which people are told, and who."""

    percent: int
    notification_type: str = "warning"
    notify_assignee: bool = True
    notify_board_manager: bool = False
    notify_escalation_manager: bool = False
    channels: tuple[Channel, ...] = (Channel.IN_APP,)


@attrs.frozen
class Escalation:
    """A level (1 to 3) and the percentage of the target at which its manager is told."""

    level: int
    percent: int


@attrs.frozen
class Promise:
    """One promise, as it stood at some instant: business-time targets and what is watched.

    A phase whose target is ``None`` is not promised; a promise without any target stops the clocks.
    """

    schedule: Schedule
    response: timedelta | None = None
    resolution: timedelta | None = None
    thresholds: tuple[Threshold, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    policy_id: str | None = None

    @property
    def is_targeted(self) -> bool:
        """Whether anything is promised at all."""
        return self.response is not None or self.resolution is not None

    def target(self, phase: Phase) -> timedelta | None:
        """The business time within which ``phase`` must be finished."""
        return self.response if phase is Phase.RESPONSE else self.resolution


@attrs.frozen(order=False)
class Watch:
    """One percentage that is watched; an escalation is known by its level, whatever its percentage."""

    kind: Kind
    percent: int
    level: int | None = None

    @property
    def identity(self) -> tuple[Kind, int]:
        """What stays the same when a promise changes around it."""
        return self.kind, self.percent if self.level is None else self.level


BREACH = Watch(Kind.BREACH, 100)


def watches(promise: Promise) -> tuple[Watch, ...]:
    """Everything that can be crossed on the way through ``promise``, the breach always among it.

    In the order in which equal crossings of one phase are told.
    """
    percents = sorted(threshold.percent for threshold in promise.thresholds)
    steps = sorted(promise.escalations, key=lambda step: step.percent)
    return (
        BREACH,
        *(Watch(Kind.THRESHOLD, percent) for percent in percents),
        *(Watch(Kind.ESCALATION, step.percent, step.level) for step in steps),
    )
