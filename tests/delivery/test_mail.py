"""What a mail says, and that nothing in a ticket can break out of it."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slaq.delivery.email import DeliveryRefused, build, headline, mailbox, reason, standing, subject, variables
from slaq.delivery.transport import _bytes
from slaq.errors import ConfigurationError
from slaq.hours import Schedule

from .world import DUE, NOON, delivery

SENDER = "Service Desk <desk@example.com>"
TEMPLATES = [("sla-warning", 75, None), ("sla-breach", 100, None), ("sla-breach", 80, None), ("sla-escalation", 110, 3)]


def wire(**fields: Any) -> EmailMessage:
    """The mail as its recipient's server parses it."""
    return message_from_bytes(_bytes(build(delivery(**fields), SENDER, NOON)), policy=policy.default)  # type: ignore[return-value]


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return body.get_content()


@pytest.mark.parametrize(("template", "percent", "level"), TEMPLATES)
def test_every_template_says_what_where_and_why_in_both_parts(template, percent, level):
    message = wire(template=template, percent=percent, level=level, manager_levels=[3])
    assert [p.get_content_type() for p in message.iter_parts()] == ["text/plain", "text/html"]
    for text in (part(message, "plain"), part(message, "html").replace("&amp;", "&")):
        for said in ("Ada Lovelace", "INC-7", "Printer on fire", "Wayne & Sons", "High", "Gold", f"{percent} %",
                     "Mon 2026-11-23 13:30 Europe/Berlin (2026-11-23 12:30 UTC)", "1h 30m of business time left",
                     "https://desk.example.com/t/7?a=1&b=2", "You receive this because you"):  # fmt: skip
            assert said in text


def test_only_a_used_up_promise_is_called_breached():
    assert "its SLA is breached" in part(wire(template="sla-breach", percent=100), "plain")
    assert "breached" not in part(wire(template="sla-breach", percent=80), "html")


def test_the_text_part_reads_well():
    assert part(wire(), "plain").replace("\r\n", "\n") == (
        "Hello Ada Lovelace,\n"
        "\n"
        "75 % of the response time promised for ticket INC-7 is used.\n"
        "\n"
        "Due Mon 2026-11-23 13:30 Europe/Berlin (2026-11-23 12:30 UTC), 1h 30m of business time left.\n"
        "\n"
        "  Ticket    INC-7\n"
        "  Title     Printer on fire\n"
        "  Client    Wayne & Sons\n"
        "  Priority  High\n"
        "  Policy    Gold\n"
        "  Response  75 % used\n"
        "  Due       Mon 2026-11-23 13:30 Europe/Berlin (2026-11-23 12:30 UTC)\n"
        "\n"
        "https://desk.example.com/t/7?a=1&b=2\n"
        "\n"
        "-- \n"
        "You receive this because you are assigned to this ticket.\n"
    )


@pytest.mark.parametrize("template", ["sla-warning", "sla-breach", "sla-escalation"])
def test_a_ticket_of_which_little_is_known_has_no_empty_lines_and_no_epoch(template):
    unknown = ("url", "client_name", "priority_name", "policy_name", "board_name", "due_at")
    message = wire(template=template, recipient_name="", title="", level=1, **dict.fromkeys(unknown))
    for text in (part(message, "plain"), part(message, "html")):
        assert "None" not in text
        assert "1970" not in text
        assert "No response is promised for this ticket any more." in text
        assert "Client" not in text
        assert "Hello," in text


def test_the_subject_and_headline_say_what_happened():
    assert subject(delivery()) == "[INC-7] Response SLA 75 % used: Printer on fire"
    assert headline(delivery(percent=100)) == "Response SLA breached"
    assert headline(delivery(phase="resolution", percent=120)) == "Resolution SLA breached, 120 % used"
    assert headline(delivery(percent=90, level=2)) == "Escalated to level 2, response SLA 90 % used"


def test_standing_is_one_sentence_for_each_state():
    def said(now=NOON, **fields):
        return standing(delivery(**fields), now)

    due = "Mon 2026-11-23 13:30 Europe/Berlin (2026-11-23 12:30 UTC)"
    at_noon = "Mon 2026-11-23 12:00 Europe/Berlin (2026-11-23 11:00 UTC)"
    assert said() == f"Due {due}, 1h 30m of business time left."
    assert said(DUE - timedelta(seconds=5)) == f"Due {due}, less than a minute of business time left."
    assert said(DUE) == f"Overdue since {due}, by less than a minute of business time."
    assert said(DUE + timedelta(days=1), is_met=False) == f"Overdue since {due}, by 8h of business time."
    assert said(DUE + timedelta(days=9), paused_at=NOON) == (
        f"The clock has stood still since {at_noon}, with 1h 30m of business time left."
    )
    assert said(DUE + timedelta(hours=1), paused_at=DUE + timedelta(minutes=5), is_met=False).startswith("Overdue")
    assert said(finished_at=NOON, is_met=True) == f"The ticket was answered on {at_noon}, in time."
    assert (
        said(finished_at=NOON, is_met=False, phase="resolution") == f"The ticket was resolved on {at_noon}, too late."
    )
    assert said(finished_at=NOON, due_at=None) == f"The ticket was answered on {at_noon}."


def test_remaining_and_overdue_exclude_each_other():
    before, after = variables(delivery(), NOON), variables(delivery(), DUE + timedelta(minutes=3))
    assert (before["remaining"], before["overdue"]) == ("1h 30m", None)
    assert (after["remaining"], after["overdue"]) == (None, "3m")
    gone = variables(delivery(due_at=None), NOON)
    assert (gone["due_at"], gone["due"], gone["remaining"], gone["overdue"]) == (None, None, None, None)


def test_an_instant_of_a_utc_schedule_is_written_once():
    around_the_clock = Schedule("UTC", (), is_24x7=True)
    assert variables(delivery(schedule=around_the_clock), NOON)["due"] == "2026-11-23 12:30 UTC"


def test_reason_names_the_roles_of_the_recipient():
    assert reason(delivery(is_board_manager=True)) == (
        "You receive this because you are assigned to this ticket, and manage the board Support."
    )
    assert reason(delivery(is_assignee=False, level=2, manager_levels=[1, 2])) == (
        "You receive this because you are the escalation manager of level 2 for the board Support."
    )
    assert reason(delivery(is_assignee=False)) == "You receive this because you were to be told when it happened."


def test_headers_identify_the_delivery_the_event_and_the_thread():
    first = build(delivery(), SENDER, NOON).message
    again = build(delivery(title="Renamed", attempts=3), SENDER, DUE).message
    other = build(delivery(delivery_id=delivery().crossing_id), SENDER, NOON).message
    assert first["Message-ID"] == again["Message-ID"] == "<00000000-0000-0000-0000-000000000001@example.com>"
    assert first["X-Slaq-Event"] == "00000000-0000-0000-0000-000000000002"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["From"] == "Service Desk <desk@example.com>"
    assert first["Date"].datetime == NOON
    assert other["Message-ID"] != first["Message-ID"]
    assert other["References"] == first["References"] == first["In-Reply-To"]
    assert build(delivery(tenant="other"), SENDER, NOON).message["References"] != first["References"]


HOSTILE = [
    "x\r\nBcc: evil@example.com",
    "x\nBcc: evil@example.com\n\n<script>alert(1)</script>",
    "x\rBcc: evil@example.com",
    "x\u2028Bcc: evil\u2029\x85\x0b\x0c\x00\x1b[31m",
    "<img src=x onerror=alert(1)> \"'`{{ 7*7 }}{% raw %}",
    "=?utf-8?q?=0D=0ABcc:_evil=40example.com?=",
    "👩‍👩‍👧 Příliš žluťoučký kůň 漢字 " * 40,
    "x" * 5000,
    '"a" <evil@example.com>, b@example.com',
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_where_they_belong(text):
    names = ("title", "ticket_number", "recipient_name", "client_name", "priority_name", "policy_name", "board_name")
    check_harmless(wire(**dict.fromkeys(names, text)), subject(delivery(**dict.fromkeys(names, text))))


@given(st.text(max_size=300))
def test_no_text_breaks_out_of_a_header(text):
    texts = dict.fromkeys(("title", "ticket_number", "recipient_name"), text)
    check_harmless(wire(**texts), subject(delivery(**texts)))


def check_harmless(message: EmailMessage, expected: str) -> None:
    # the standard library's folding may add or lose a space between encoded words
    assert "".join(message["Subject"].split()) == "".join(expected.split())
    assert sorted(message.keys()) == sorted(
        ["From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "X-Slaq-Event",
         "MIME-Version", "Content-Type"]
    )  # fmt: skip
    assert [address.addr_spec for address in message["To"].addresses] == ["ada@example.com"]
    assert not set("\r\n\x00") & set(message["Subject"])
    assert len(expected) <= 200
    assert all(len(line) <= 998 and line.isascii() for line in message.as_bytes().splitlines())
    seen = Tags()
    seen.feed(part(message, "html"))
    assert seen.tags <= {"html", "head", "meta", "title", "body", "div", "h1", "p", "strong", "table", "tr", "td", "a"}
    assert seen.attributes <= {"lang", "charset", "style", "href"}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "https://x/\r\nBcc: y", "https://x/ y", "data:text/html,x", "https://x/" + "y" * 3000],
)
def test_only_web_addresses_become_links(url):
    assert "href" not in part(wire(url=url), "html")


def test_a_quote_in_a_link_does_not_end_it():
    assert 'href="https://x/&#34;onclick=&#34;y"' in part(wire(url='https://x/"onclick="y'), "html")


@pytest.mark.parametrize(
    "address",
    [None, "", "ada", "@example.com", "ada@", "a b@example.com", "ada@example.com\r\nBcc: evil@example.com",
     "ada@example.com, evil@example.com", "Ada <ada@example.com>", "ada@ex..ample.com", "a..b@example.com", "ada@" + "x" * 64 + ".com"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_with_a_clear_error(address):
    with pytest.raises(DeliveryRefused, match=r"user 'ada' has no e-mail address|of user 'ada' is not usable"):
        build(delivery(address=address), SENDER, NOON)


def test_an_international_domain_is_sent_in_ascii_and_an_international_name_as_it_is():
    mail = build(delivery(address="jürgen@bücher.example"), SENDER, NOON)
    assert mail.recipient == "jürgen@xn--bcher-kva.example"
    assert "jürgen@xn--bcher-kva.example".encode() in _bytes(mail)


@pytest.mark.parametrize("text", ["", "desk", "Desk <desk@>", "a b@c"])
def test_a_sender_that_is_no_address_is_a_mistake_of_the_settings(text):
    with pytest.raises(ConfigurationError, match="SLAQ_MAIL_FROM"):
        mailbox(text)


def test_a_template_that_fails_is_a_refusal():
    with pytest.raises(DeliveryRefused, match="template sla-unknown cannot be rendered"):
        build(delivery(template="sla-unknown"), SENDER, NOON)
