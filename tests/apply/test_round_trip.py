"""Whatever a document says, applying it leads to just that, from any other document."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from slaq.configuration import Configuration
from slaq.configuration.records import CHANNELS, DAYS, RECIPIENTS
from slaq.services.apply import apply

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    str.strip
)
ids = st.sampled_from(["a", "b", "ü ö", "d.e"])
flags = st.booleans()
minutes = st.integers(1, 2**31 - 1) | st.integers(1, 999).map("{}h".format) | st.integers(1, 99).map("1h {}m".format)


def some_of(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True)


def keys(
    required: dict[str, Any] | None = None, **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required or {}, optional=optional)


@st.composite
def openings(draw: st.DrawFn) -> list[str]:
    starts = draw(st.lists(st.integers(0, 95), unique=True, min_size=1, max_size=3))
    lengths = [draw(st.integers(1, 95)) for _ in starts]
    return [f"{_clock(start)}-{_clock(_end(start, length))}" for start, length in zip(starts, lengths, strict=True)]


def _end(start: int, length: int) -> int:
    return (start + length) % 96 or 96


def _clock(quarters: int) -> str:
    return f"{quarters // 4:02}:{quarters % 4 * 15:02}"


holidays = st.lists(
    st.tuples(st.sampled_from(["12-25", "02-29", "2026-04-03", "2028-02-29"]), st.just("") | text.map(str.strip)),
    unique_by=lambda holiday: holiday[0],
).map(lambda chosen: [f"{date} {name}" .strip() for date, name in chosen])  # fmt: skip

schedules = keys(
    {
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Etc/GMT+5"]),
        "hours": st.dictionaries(st.sampled_from(DAYS), openings(), min_size=1),
    },
    name=text,
    is_24x7=flags,
    holidays=holidays,
)
escalation = st.lists(st.integers(1, 300), unique=True, max_size=3).map(
    lambda percents: {str(level): percent for level, percent in enumerate(sorted(percents), 1)}
)
targets = keys({"response": minutes}, resolution=minutes, is_24x7=flags, escalation=escalation)
thresholds = st.dictionaries(
    st.integers(1, 300).map(str),
    keys(type=st.sampled_from(["warning", "breach"]), notify=some_of(RECIPIENTS), channels=some_of(CHANNELS)),
    max_size=4,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A tenant's document whose references all lead to records of its own."""

    def table(records: st.SearchStrategy[Any]) -> dict[str, Any]:
        return draw(st.dictionaries(ids, records, max_size=3))

    def maybe(known: dict[str, Any]) -> st.SearchStrategy[Any]:
        return st.sampled_from(sorted(known)) if known else st.nothing()

    document: dict[str, Any] = {
        "prune": draw(flags),
        "holidays": draw(holidays),
        "users": table(keys(name=text, email=st.just("a@b"), is_active=flags)),
        "priorities": table(keys(name=text, itil_level=st.integers(1, 5))),
        "statuses": table(keys(name=text, is_closed=flags, pauses_sla=flags)),
        "schedules": table(schedules),
    }
    users = maybe(document["users"])
    per_priority = st.dictionaries(maybe(document["priorities"]), targets) if document["priorities"] else st.just({})
    policies = document["policies"] = table(
        keys(
            description=text,
            schedule=maybe(document["schedules"]),
            targets=per_priority,
            thresholds=thresholds,
        )
    )
    for number, policy in enumerate(policies.values()):
        policy["name"] = f"{draw(st.sampled_from('xyz'))}{number}"
    document["clients"] = table(keys(name=text, policy=maybe(policies)))
    manager = keys({"manager": users}, channels=some_of(CHANNELS))
    managers = st.dictionaries(st.sampled_from("123"), manager) if document["users"] else st.just({})
    document["boards"] = table(keys(manager=users, policy=maybe(policies), escalation_managers=managers))
    for kind in ("schedules", "policies"):
        if document[kind] and draw(flags):
            document[kind][draw(maybe(document[kind]))]["is_default"] = True
    if draw(flags):
        document["settings"] = draw(keys(pause_on_awaiting_client=flags, response_state_tracking=flags))
    return document


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(first=documents(), second=documents())
def test_a_document_is_what_is_there_after_it_was_applied(
    app_conn: Connection, first: dict[str, Any], second: dict[str, Any]
) -> None:
    second["prune"] = True  # what else the first left could be in the way, as a name is
    try:
        for document in (first, second):
            configuration = Configuration.of(document, tenant="acme")
            expected = apply(app_conn, configuration, dry_run=True)
            assert apply(app_conn, configuration) == expected
            assert not apply(app_conn, configuration)
    finally:
        app_conn.rollback()
