"""One delivery as an e-mail: what it says, under headers that are the same on every try."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from functools import cache
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

import attrs
import jinja2

from slaq.errors import ConfigurationError, DeliveryRefused
from slaq.hours import Schedule, format_remaining

_MINUTE = timedelta(minutes=1)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # strftime would follow the host's locale
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_ATOMS = r"[\w!#$%&'*+/=?^`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOMS}(?:\.{_ATOMS})*")
_DOMAIN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")
_LINK = re.compile(r"https?://[^\x00-\x20\x7f-\xa0\u2028\u2029]{1,2000}")
_LONGEST_SUBJECT = 200
_LONGEST_TEXT = 500
_LONGEST_NAME = 80
_FINISHED = {"response": "answered", "resolution": "resolved"}
_POLICY = SMTP.clone(cte_type="7bit")  # bodies that every server takes, whatever it says of 8BITMIME


@attrs.frozen
class Delivery:
    """A delivery with everything that its mail says, as it stands when it is sent.

    ``due_at``, ``finished_at`` and ``is_met`` are those of the crossing's phase; ``schedule`` is that of
    the promise that the ticket is under.
    """

    tenant: str
    delivery_id: UUID
    schedule: Schedule
    status: str
    attempts: int
    crossing_id: UUID
    ticket_id: str
    user_id: str
    template: str
    phase: str
    percent: int
    level: int | None
    is_voided: bool
    recipient_name: str
    address: str | None
    is_active: bool
    ticket_number: str
    title: str
    url: str | None
    client_name: str | None
    priority_name: str | None
    policy_name: str | None
    board_name: str | None
    due_at: datetime | None
    finished_at: datetime | None
    is_met: bool | None
    paused_at: datetime | None
    is_assignee: bool
    is_board_manager: bool
    manager_levels: list[int]


@attrs.frozen
class Mail:
    """A message with its envelope; ``name`` is the delivery's id."""

    name: str
    sender: str
    recipient: str
    message: EmailMessage


def build(delivery: Delivery, mail_from: str, now: datetime) -> Mail:
    """The mail of ``delivery`` as of ``now``.

    Raises ``DeliveryRefused`` when the recipient has no usable address or the template fails,
    ``ConfigurationError`` when ``mail_from`` is not an address.
    """
    sender = mailbox(mail_from)
    recipient = _recipient(delivery)
    values = variables(delivery, now)
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject(delivery)
    message["Date"] = now
    message["Message-ID"] = f"<{delivery.delivery_id}@{sender.domain}>"
    message["In-Reply-To"] = message["References"] = f"<{_thread(delivery)}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Slaq-Event"] = str(delivery.crossing_id)
    try:
        message.set_content(_render(f"{delivery.template}.txt.jinja", values))
        message.add_alternative(_render(f"{delivery.template}.html.jinja", values), subtype="html")
    except jinja2.TemplateError as error:
        raise DeliveryRefused(f"template {delivery.template} cannot be rendered: {error}") from error
    return Mail(str(delivery.delivery_id), sender.addr_spec, recipient.addr_spec, message)


def mailbox(text: str) -> Address:
    """The sender that ``SLAQ_MAIL_FROM`` names; raises ``ConfigurationError``."""
    name, address = parseaddr(text)
    try:
        return _address(name, address)
    except ValueError as error:
        raise ConfigurationError(
            f"SLAQ_MAIL_FROM {text!r} is not an address such as 'slaq <slaq@example.com>'"
        ) from error


def subject(delivery: Delivery) -> str:
    """The subject: ticket number, what happened, title; one line, cut when it is very long."""
    title = one_line(delivery.title, _LONGEST_TEXT)
    number = one_line(delivery.ticket_number, _LONGEST_NAME)
    return _header_text(f"[{number}] {headline(delivery)}" + (f": {title}" if title else ""), _LONGEST_SUBJECT)


def headline(delivery: Delivery) -> str:
    """What happened, in a few words."""
    used = f"{delivery.percent} % used"
    if delivery.percent >= 100:
        used = "breached" if delivery.percent == 100 else f"breached, {used}"
    if delivery.level is not None:
        return f"Escalated to level {delivery.level}, {delivery.phase} SLA {used}"
    return f"{delivery.phase.capitalize()} SLA {used}"


def variables(delivery: Delivery, now: datetime) -> dict[str, Any]:
    """What templates may use; ``docs/delivery.md`` lists it. Texts are single lines, absent ones ``None``."""
    remaining, overdue = _left(delivery, now)
    texts = {
        "recipient_name": delivery.recipient_name,
        "ticket_number": delivery.ticket_number,
        "ticket_title": delivery.title,
        "client_name": delivery.client_name,
        "priority_name": delivery.priority_name,
        "policy_name": delivery.policy_name,
        "board_name": delivery.board_name,
    }
    return {name: one_line(text or "", _LONGEST_TEXT) or None for name, text in texts.items()} | {
        "ticket_url": delivery.url if _LINK.fullmatch(delivery.url or "") else None,
        "headline": headline(delivery),
        "phase": delivery.phase.capitalize(),
        "percent": delivery.percent,
        "level": delivery.level,
        "due_at": None if delivery.due_at is None else delivery.due_at.isoformat(),
        "due": None if delivery.due_at is None else when(delivery.due_at, delivery.schedule.timezone),
        "remaining": remaining,
        "overdue": overdue,
        "standing": standing(delivery, now),
        "reason": reason(delivery),
    }


def standing(delivery: Delivery, now: datetime) -> str:
    """How the phase stands now, in one sentence: finished, not promised, paused, overdue or due."""
    zone = delivery.schedule.timezone
    if delivery.finished_at is not None:
        finished = f"The ticket was {_FINISHED[delivery.phase]} on {when(delivery.finished_at, zone)}"
        return finished + {True: ", in time.", False: ", too late.", None: "."}[delivery.is_met]
    if delivery.due_at is None:
        return f"No {delivery.phase} is promised for this ticket any more."
    remaining, overdue = _left(delivery, now)
    due = when(delivery.due_at, zone)
    if overdue is not None:
        return f"Overdue since {due}, by {overdue} of business time."
    if delivery.paused_at is not None:
        return (
            f"The clock has stood still since {when(delivery.paused_at, zone)}, with {remaining} of business time left."
        )
    return f"Due {due}, {remaining} of business time left."


def reason(delivery: Delivery) -> str:
    """Why this person receives the mail, by the roles they have now."""
    board = f"the board {one_line(delivery.board_name, _LONGEST_NAME)}" if delivery.board_name else "its board"
    roles = ["are assigned to this ticket"] if delivery.is_assignee else []
    if delivery.is_board_manager:
        roles.append(f"manage {board}")
    levels = [level for level in delivery.manager_levels if delivery.level in (None, level)]
    if levels:
        named = " and ".join(str(level) for level in levels)
        roles.append(f"are the escalation manager of level {named} for {board}")
    if not roles:
        return "You receive this because you were to be told when it happened."
    return f"You receive this because you {', and '.join(roles)}."


def when(instant: datetime, zone: str) -> str:
    """An instant for people: in the schedule's zone, and in UTC beside it."""
    utc = f"{instant.astimezone(ZoneInfo('UTC')):%Y-%m-%d %H:%M} UTC"
    if zone == "UTC":
        return utc
    local = instant.astimezone(ZoneInfo(zone))
    return f"{_WEEKDAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} {zone} ({utc})"


def one_line(text: str, most: int) -> str:
    """``text`` without line breaks and control characters, cut to ``most`` characters."""
    line = _CONTROL.sub(" ", text).strip()
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _left(delivery: Delivery, now: datetime) -> tuple[str | None, str | None]:
    """Business time left until the due date and overdue since it; at most one of them."""
    if delivery.due_at is None or delivery.finished_at is not None:
        return None, None
    at = delivery.paused_at if delivery.paused_at is not None and delivery.is_met is None else now
    left = delivery.schedule.remaining(delivery.due_at, at)
    if at >= delivery.due_at:
        return None, _duration(-left)
    return _duration(left), None


def _duration(time: timedelta) -> str:
    return format_remaining(time // _MINUTE) if time >= _MINUTE else "less than a minute"


def _thread(delivery: Delivery) -> UUID:
    """The message that all mails about a ticket answer, so that clients show them together; it was never sent."""
    return uuid5(NAMESPACE_URL, f"{delivery.tenant}\0{delivery.ticket_id}")


def _recipient(delivery: Delivery) -> Address:
    who = f"user {delivery.user_id!r}"
    if not delivery.address:
        raise DeliveryRefused(f"{who} has no e-mail address")
    try:
        return _address(delivery.recipient_name, delivery.address)
    except ValueError as error:
        raise DeliveryRefused(f"the e-mail address {delivery.address!r} of {who} is not usable: {error}") from error


def _address(name: str, address: str) -> Address:
    """A mailbox with its domain in ASCII; raises ``ValueError`` for what is not a plain ``local@domain``."""
    local, _, domain = address.rpartition("@")
    domain = domain.encode("idna").decode()
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise ValueError("not of the form name@domain")
    return Address(_header_text(name, _LONGEST_NAME), local, domain)


def _header_text(text: str, most: int) -> str:
    """``text`` for a header, where nothing of it is read as an encoded word."""
    return one_line(text.replace("=?", "= ?"), most)


def _render(name: str, values: dict[str, Any]) -> str:
    return _templates().get_template(name).render(values)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("slaq.delivery"),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(("html.jinja",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
