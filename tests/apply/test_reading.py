"""Reading a document: what it may say, and how its mistakes are told."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from slaq.configuration import Configuration, presets
from slaq.configuration.records import (
    Holiday,
    Hours,
    Policy,
    Schedule,
    Target,
    Threshold,
    default_thresholds,
)
from slaq.errors import InvalidConfiguration

OPEN = {"timezone": "UTC", "hours": {"mon-fri": ["09:00-17:00"]}}


def problems_of(document: dict[str, Any], tenant: str | None = "acme") -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        Configuration.of(document, tenant=tenant)
    return caught.value.problems


def schedule(**keys: object) -> dict[str, Any]:
    return {"schedules": {"desk": {**OPEN, **keys}}}


def policy(**keys: object) -> dict[str, Any]:
    return {"policies": {"gold": keys}}


def target(**keys: object) -> dict[str, Any]:
    return policy(targets={"high": {"response": "1h", **keys}})


def test_every_mistake_is_told_at_once_with_table_key_and_value() -> None:
    text = """
    [tenants.acme]
    prune = "yes"
    [tenants.acme.users]
    ada = { email = "nope" }
    [tenants.acme.policies.gold.targets.high]
    response = -5
    respond = 3
    [tenants."acme.com".clients]
    x = { policy = 5 }
    """
    with pytest.raises(InvalidConfiguration) as caught:
        Configuration.parse(text)
    assert caught.value.problems == [
        'tenants.acme.users.ada.email: "nope" is not an e-mail address',
        'tenants.acme.policies.gold.targets.high.response: -5 is not a positive number of minutes (30) or of hours and minutes ("30m", "4h", "1h 30m")',
        'tenants.acme.policies.gold.targets.high.respond: 3 stands under an unknown key; did you mean "response"?',
        'tenants.acme.prune: "yes" is neither true nor false',
        'tenants."acme.com".clients.x.policy: 5 is not text',
    ]
    assert str(caught.value).splitlines() == caught.value.problems


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"polices": {}}, 'tenants.acme.polices: {} stands under an unknown key; did you mean "policies"?'),
    ({"users": 3}, "tenants.acme.users: 3 is not a table"),
    ({"users": {"ada": 3}}, "tenants.acme.users.ada: 3 is not a table"),
    ({"users": {"": {}}}, 'tenants.acme.users: "" is empty'),
    ({"users": {"a\0": {}}}, "cannot be stored"),
    ({"users": {"a" * 201: {}}}, "is longer than 200 characters"),
    (policy(name="\U0001f40c" * 201), "is longer than 200 characters"),
    ({"users": {"ada": {"name": "\ud800"}}}, "cannot be stored"),
    ({"name": 5}, "tenants.acme.name: 5 is not text"),
    ({"settings": {"pause_on_awaiting_client": 1}}, "pause_on_awaiting_client: 1 is neither true nor false"),
    ({"priorities": {"p": {"itil_level": 6}}}, "itil_level: 6 is not one of the numbers 1 to 5"),
    ({"priorities": {"p": {"itil_level": "1"}}}, 'itil_level: "1" is not one of the numbers 1 to 5'),
    ({"priorities": {"p": {"itil_level": True}}}, "itil_level: true is not one of the numbers 1 to 5"),
    (schedule(timezone="Europe/Berln"), 'timezone: "Europe/Berln" is not the name of a time zone'),
    ({"schedules": {"desk": {"hours": {"mon": ["09:00-10:00"]}}}}, "tenants.acme.schedules.desk.timezone: is missing"),
    (schedule(hours={"mon": ["9-17"]}), "hours.mon: \"9-17\" is not an opening: '9' is not a time of day"),
    (schedule(hours={"mon": ["09:00"]}), 'hours.mon: "09:00" is not an opening; write "09:00-17:00"'),
    (
        schedule(hours={"mon": ["09:00-09:00"]}),
        'hours.mon: "09:00-09:00" is not an opening: start_time and end_time are both',
    ),
    (schedule(hours={"mon": ["24:00-25:00"]}), 'hours.mon: "24:00-25:00" is not an opening'),
    (schedule(hours={"mon": "09:00-10:00"}), 'hours.mon: "09:00-10:00" is not a list'),
    (schedule(hours={"mon": [9]}), "hours.mon: 9 is not text"),
    (schedule(hours={"monday": ["09:00-10:00"]}), 'hours: "monday" is neither a day nor a range of days'),
    (schedule(hours={"mon-": ["09:00-10:00"]}), 'hours: "mon-" is neither a day nor a range of days'),
    (
        schedule(hours={"mon-fri": ["09:00-10:00"], "wed": []}),
        "tenants.acme.schedules.desk.hours.wed: [] gives wed again, which mon-fri has already",
    ),
    (schedule(hours={"mon": ["09:00-10:00", "09:00-11:00"]}), "has two openings that begin at the same time"),
    (schedule(holidays=["2026-02-29"]), 'holidays: "2026-02-29" is not a day of the calendar'),
    (schedule(holidays=["Christmas"]), 'holidays: "Christmas" is not a holiday; write "2026-12-25 Christmas"'),
    (schedule(holidays=["12-25", "12-25 Xmas"]), 'holidays: "12-25 Xmas" is a date that is already in the list'),
    ({"holidays": ["12-25", "12-25"]}, 'tenants.acme.holidays: "12-25" is a date that is already in the list'),
    (target(response=0), "targets.high.response: 0 is not a positive number of minutes"),
    (target(response="0m"), 'targets.high.response: "0m" is not a positive number of minutes'),
    (target(response=""), 'targets.high.response: "" is not a positive number of minutes'),
    (target(response=2**31), "is not a positive number of minutes"),
    (target(response=1.5), "targets.high.response: 1.5 is not a positive number of minutes"),
    (target(response=True), "targets.high.response: true is not a positive number of minutes"),
    (target(response="1d"), 'targets.high.response: "1d" is ambiguous, for a day may be 24 hours or a working day'),
    (policy(targets={"high": {}}), "targets.high: {} promises neither a response nor a resolution"),
    (target(escalation={"1": 90, "2": 70}), 'escalation: {"1": 90, "2": 70} does not rise from level to level'),
    (target(escalation={"1": 90, "3": 90}), "does not rise from level to level"),
    (target(escalation={"1": 0}), "targets.high.escalation.1: 0 is not a positive whole percentage"),
    (target(escalation={"4": 50}), 'targets.high.escalation: "4" is not one of the numbers 1 to 3'),
    (policy(itil_targets={"6": {"response": 5}}), 'gold.itil_targets: "6" is not one of the numbers 1 to 5'),
    (policy(thresholds={"0": {}}), 'gold.thresholds: "0" is not a positive whole percentage'),
    (policy(thresholds={"050": {}}), 'gold.thresholds: "050" is not a positive whole percentage'),
    (
        policy(thresholds={"50": {"channels": ["sms"]}}),
        'thresholds.50.channels: ["sms"] names "sms", which is not one of',
    ),
    (policy(thresholds={"50": {"channels": ["email", "email"]}}), "names something twice"),
    (policy(thresholds={"50": {"notify": ["assigne"]}}), 'did you mean "assignee"?'),
    (policy(thresholds={"50": {"type": "warn"}}), 'thresholds.50.type: "warn" is not one of "warning", "breach"'),
    ({"boards": {"b": {"escalation_managers": {"1": {}}}}}, "boards.b.escalation_managers.1.manager: is missing"),
    (
        {"boards": {"b": {"escalation_managers": {"4": {}}}}},
        'escalation_managers: "4" is not one of the numbers 1 to 3',
    ),
    (
        {"policies": {"a": {"is_default": True}, "b": {"is_default": True}}},
        'tenants.acme.policies.b.is_default: true makes a second default beside "a"',
    ),
    (
        {"schedules": {"a": {**OPEN, "is_default": True}, "b": {**OPEN, "is_default": True}}},
        'tenants.acme.schedules.b.is_default: true makes a second default beside "a"',
    ),
    (
        {"policies": {"a": {"name": "Same"}, "b": {"name": "Same"}}},
        'tenants.acme.policies.b.name: "Same" is already the name of policy "a"',
    ),
]


@pytest.mark.parametrize(("document", "problem"), MISTAKES)
def test_a_mistake_is_told_once(document: dict[str, Any], problem: str) -> None:
    [told] = problems_of(document)
    assert problem in told
    assert told.startswith("tenants.acme")


EVERY_DAY = [(date(2000, 1, 1) + timedelta(day)).strftime("%m-%d") for day in range(366)]


@pytest.mark.parametrize(
    "document",
    [
        {"schedules": {"desk": {"timezone": "UTC"}}},
        schedule(hours={"mon-sun": []}),
        schedule(holidays=EVERY_DAY),
        {**schedule(holidays=EVERY_DAY[:200]), "holidays": EVERY_DAY[200:]},
    ],
)
def test_a_schedule_that_never_opens_is_refused(document: dict[str, Any]) -> None:
    [told] = problems_of(document)
    assert told.startswith("tenants.acme.schedules.desk.hours: {")
    assert "never opens" in told


def test_what_opens_round_the_clock_needs_no_hours() -> None:
    document = Configuration.of({"schedules": {"desk": {"timezone": "UTC", "is_24x7": True}}}, tenant="acme")
    assert document.tenants[0].of(Schedule)[("desk",)].is_24x7


def test_f40_a_day_has_any_number_of_openings_and_they_may_run_into_the_next() -> None:
    hours = {"fri-mon": ["22:00-06:00"], "tue": ["00:00-24:00", "09:30:15-10:00:00"]}
    [tenant] = Configuration.of(schedule(hours=hours), tenant="acme").tenants
    assert sorted((entry.day, entry.start, entry.end) for entry in tenant.of(Hours).values()) == [
        (0, "22:00", "06:00"),
        (1, "22:00", "06:00"),
        (2, "00:00", "24:00"),
        (2, "09:30:15", "10:00"),
        (5, "22:00", "06:00"),
        (6, "22:00", "06:00"),
    ]


def test_holidays_are_of_one_date_or_of_every_year_and_of_one_schedule_or_of_all() -> None:
    document = {**schedule(holidays=["2026-04-03  Good Friday", "02-29"]), "holidays": ["12-25 Christmas"]}
    [tenant] = Configuration.of(document, tenant="acme").tenants
    assert set(tenant.of(Holiday).values()) == {
        Holiday(schedule="", date="12-25", name="Christmas"),
        Holiday(schedule="desk", date="2026-04-03", name="Good Friday"),
        Holiday(schedule="desk", date="02-29"),
    }


@pytest.mark.parametrize(("written", "minutes"), [(30, 30), ("30m", 30), ("4h", 240), ("1h 30m", 90), ("1h30m", 90)])
def test_minutes_and_hours(written: object, minutes: int) -> None:
    [tenant] = Configuration.of(target(response=written), tenant="acme").tenants
    assert tenant.of(Target)[("gold", "high")].response == minutes


def test_escalation_levels_are_70_90_110_unless_given_and_those_left_out_are_off() -> None:
    targets = {
        "high": {"response": 5},
        "low": {"response": 5, "escalation": {3: 120}},
        "none": {"response": 5, "escalation": {}},
    }
    [tenant] = Configuration.of(policy(targets=targets), tenant="acme").tenants
    levels = {each.priority: each.escalation for each in tenant.of(Target).values()}
    assert levels == {"high": (70, 90, 110), "low": (None, None, 120), "none": (None, None, None)}


def test_thresholds_are_the_four_usual_ones_unless_given() -> None:
    [tenant] = Configuration.of(policy(), tenant="acme").tenants
    assert tuple(tenant.of(Threshold).values()) == default_thresholds("gold")
    assert [each.percent for each in default_thresholds("gold")] == [50, 75, 90, 100]
    [none] = Configuration.of(policy(thresholds={}), tenant="acme").tenants
    assert not none.of(Threshold)


def test_a_threshold_from_100_on_is_a_breach() -> None:
    [tenant] = Configuration.of(policy(thresholds={99: {}, 100: {}, 120: {"type": "warning"}}), tenant="acme").tenants
    types = {each.percent: each.type for each in tenant.of(Threshold).values()}
    assert types == {99: "warning", 100: "breach", 120: "warning"}


def test_a_name_is_the_id_unless_given() -> None:
    [tenant] = Configuration.of(policy(), tenant="acme").tenants
    assert tenant.of(Policy)[("gold",)].name == "gold"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "slaq.toml"
    path.write_bytes(b"\xff\xfe")
    for source in (path, tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(InvalidConfiguration, match="cannot be read"):
            Configuration.load(source)


def test_a_file_that_is_not_toml() -> None:
    with pytest.raises(InvalidConfiguration, match=r"not TOML: Cannot overwrite a value .*line 2"):
        Configuration.parse("prune = true\nprune = true\n\n")


def test_a_file_of_no_tenant_needs_one_named() -> None:
    assert problems_of({"policies": {}}, None) == [
        'tenants: is missing: the file has ["policies"]; to apply it to one tenant, name that'
    ]
    assert problems_of({"tenants": {}}) == [
        'tenants: the file names its tenants itself; apply it without the tenant "acme"'
    ]
    assert problems_of({}, "") == ['tenants: "" is empty']


def test_the_presets_and_the_example_are_read() -> None:
    assert presets() == ["itil"]
    assert len(Configuration.load("itil", tenant="acme").tenants[0].itil_targets) == 5
    example = Path(__file__).parents[2] / "examples" / "servicedesk.toml"
    assert [tenant.tenant for tenant in Configuration.load(example).tenants] == ["acme", "kiwi"]
