"""What slaq must know of a ticket, as the application hands it over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from slaq.errors import InvalidInstant, InvalidTicket
from slaq.facts import PauseSource

_INSTANTS = ("entered_at", "closed_at", "status_changed_at", "response_state_changed_at")

TOLERANCE = timedelta(minutes=1)
"""How far ahead of the database's clock the instant of a fact may lie."""


def instant_of(value: datetime, name: str) -> datetime:
    """``value`` in UTC; raises ``InvalidInstant`` unless it is a timezone-aware datetime."""
    if not isinstance(value, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped too
        raise InvalidInstant(f"{name} must be a datetime, not {value!r}")
    if value.utcoffset() is None:
        raise InvalidInstant(f"{name} has no time zone: {value!r}; give an aware datetime, e.g. datetime.now(UTC)")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInstant(f"{name} is out of range: {value!r}") from error


def checked_text(value: object, name: str) -> str:
    """``value`` if it is a non-empty string that Postgres can store; raises ``InvalidTicket``."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidTicket(f"{name} must be a non-empty string without NUL characters, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidTicket(f"{name} is not valid Unicode: {value!r}") from error
    return value


def checked_source(value: object) -> PauseSource:
    """``value`` as a pause source; raises ``InvalidTicket`` when there is no such source."""
    try:
        return PauseSource(value)
    except ValueError as error:
        raise InvalidTicket(f"source must be one of {', '.join(PauseSource)}, not {value!r}") from error


_STATES = ("awaiting_client", "awaiting_internal")


def checked_response_state(value: object, name: str) -> str | None:
    """``value`` if it says whose turn it is, or ``None``; raises ``InvalidTicket``."""
    if value is not None and value not in _STATES:
        raise InvalidTicket(f"{name} must be one of {', '.join(_STATES)} or None, not {value!r}")
    return None if value is None else str(value)


def _required_text(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    checked_text(value, f"Ticket.{attribute.name}")


def _optional_text(_: object, attribute: attrs.Attribute[str | None], value: object) -> None:
    if value is not None:
        checked_text(value, f"Ticket.{attribute.name}")


def _title(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    if value != "":  # a ticket may have no title yet
        checked_text(value, f"Ticket.{attribute.name}")


def _response_state(_: object, attribute: attrs.Attribute[str | None], value: object) -> None:
    checked_response_state(value, f"Ticket.{attribute.name}")


@attrs.frozen(kw_only=True)
class Ticket:
    """A ticket as it is after a save. References are ids that the tenant's configuration has.

    ``entered_at``, ``closed_at``, ``status_changed_at`` and ``response_state_changed_at`` are the
    instants of the facts (aware datetimes); where one is missing, the moment of the call is taken.
    Raises ``InvalidTicket`` or ``InvalidInstant`` for a field of the wrong type or value.
    """

    ticket_id: str = attrs.field(validator=_required_text)
    entered_at: datetime
    ticket_number: str = attrs.field(
        default=attrs.Factory(lambda ticket: ticket.ticket_id, takes_self=True), validator=_required_text
    )
    title: str = attrs.field(default="", validator=_title)
    url: str | None = attrs.field(default=None, validator=_optional_text)
    client_id: str | None = attrs.field(default=None, validator=_optional_text)
    board_id: str | None = attrs.field(default=None, validator=_optional_text)
    priority_id: str | None = attrs.field(default=None, validator=_optional_text)
    status_id: str | None = attrs.field(default=None, validator=_optional_text)
    assigned_to: str | None = attrs.field(default=None, validator=_optional_text)
    response_state: str | None = attrs.field(default=None, validator=_response_state)
    closed_at: datetime | None = None
    status_changed_at: datetime | None = None
    response_state_changed_at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        """Bring every instant to UTC; only ``entered_at`` may not be missing."""
        for name in _INSTANTS:
            if name == "entered_at" or getattr(self, name) is not None:
                object.__setattr__(self, name, instant_of(getattr(self, name), f"Ticket.{name}"))

    def instants(self) -> dict[str, datetime]:
        """The instants that it gives, by name."""
        return {name: value for name in _INSTANTS if (value := getattr(self, name)) is not None}

    def fields(self) -> dict[str, Any]:
        """The columns that slaq stores of it."""
        return {
            "ticket_id": self.ticket_id,
            "ticket_number": self.ticket_number,
            "title": self.title,
            "url": self.url,
            "client_id": self.client_id,
            "board_id": self.board_id,
            "priority_id": self.priority_id,
            "status_id": self.status_id,
            "assigned_to": self.assigned_to,
            "response_state": self.response_state,
            "entered_at": self.entered_at,
            "closed_at": self.closed_at,
        }


def checked_ticket(value: object) -> Ticket:
    """``value`` if it is a ``Ticket``; raises ``InvalidTicket``."""
    if not isinstance(value, Ticket):
        raise InvalidTicket(f"a slaq.Ticket is needed, not {value!r}")
    return value
