"""The reference's own calendar cases, and the shapes it got wrong, as data."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slaq.hours import Entry, Holiday, NeverOpens, Schedule, format_remaining

Case = dict[str, Any]
GROUPS: dict[str, list[Case]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "business_hours.json").read_text(encoding="utf-8")
)["groups"]


def cases() -> list[Any]:
    return [
        pytest.param(case.get("kind", group), case["input"], case["expected"], id=f"{group}-{number}-{case['name']}")
        for group, members in GROUPS.items()
        for number, case in enumerate(members)
    ]


def schedule(given: Case) -> Schedule:
    return Schedule(
        timezone=given["timezone"],
        entries=[
            Entry(entry["day_of_week"], entry["start"], entry["end"], entry["enabled"]) for entry in given["entries"]
        ],
        holidays=[Holiday(day["date"], day["recurring"]) for day in given["holidays"]],
        is_24x7=given["is_24x7"],
    )


def minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


def check_within(given: Case, expected: bool) -> None:
    assert expected == schedule(given["schedule"]).is_open(datetime.fromisoformat(given["instant"]))


def check_next_start(given: Case, expected: str | None) -> None:
    at = datetime.fromisoformat(given["instant"])
    if expected is None:
        with pytest.raises(NeverOpens):
            schedule(given["schedule"]).next_open(at)
    else:
        assert datetime.fromisoformat(expected) == schedule(given["schedule"]).next_open(at)


def check_deadline(given: Case, expected: str) -> None:
    start = datetime.fromisoformat(given["start"])
    assert datetime.fromisoformat(expected) == schedule(given["schedule"]).deadline(start, minutes(given["minutes"]))


def check_elapsed(given: Case, expected: Case) -> None:
    start, end = datetime.fromisoformat(given["from"]), datetime.fromisoformat(given["to"])
    assert_duration(expected, schedule(given["schedule"]).elapsed(start, end))


def check_remaining(given: Case, expected: int) -> None:
    due, now = datetime.fromisoformat(given["deadline"]), datetime.fromisoformat(given["now"])
    assert minutes(expected) == schedule(given["schedule"]).remaining(due, now)


def check_format_remaining(given: Case, expected: str) -> None:
    assert expected == format_remaining(given["minutes"])


def check_pause_due(given: Case, expected: str) -> None:
    """Each pause that begins before the due instant moves it by the open time the pause took."""
    hours = schedule(given["schedule"])
    due = hours.deadline(datetime.fromisoformat(given["start"]), minutes(given["minutes"]))
    for start, end in pauses(given):
        if start < due:
            due = hours.deadline(end, hours.elapsed(start, due))
    assert datetime.fromisoformat(expected) == due


def check_pause_elapsed(given: Case, expected: Case) -> None:
    hours = schedule(given["schedule"])
    paused = sum((hours.elapsed(start, end) for start, end in pauses(given)), timedelta())
    start, end = datetime.fromisoformat(given["from"]), datetime.fromisoformat(given["to"])
    assert_duration(expected, hours.elapsed(start, end) - paused)


def pauses(given: Case) -> list[tuple[datetime, datetime]]:
    return [(datetime.fromisoformat(each["from"]), datetime.fromisoformat(each["to"])) for each in given["pauses"]]


def assert_duration(expected: Case, actual: timedelta) -> None:
    assert expected["minutes"] == actual // minutes(1)
    if "seconds" in expected:
        assert timedelta(seconds=expected["seconds"]) == actual


CHECKS = {
    "deadline": check_deadline,
    "elapsed": check_elapsed,
    "format_remaining": check_format_remaining,
    "next_start": check_next_start,
    "pause_due": check_pause_due,
    "pause_elapsed": check_pause_elapsed,
    "remaining": check_remaining,
    "within": check_within,
}


@pytest.mark.parametrize(("kind", "given", "expected"), cases())
def test_case(kind: str, given: Case, expected: Any) -> None:
    """Each case of the file holds."""
    CHECKS[kind](given, expected)


def test_every_case_is_run() -> None:
    """The file is the whole corpus: 127 cases in seven groups."""
    assert {"deadline": 24, "elapsed": 12, "within": 25, "next_start": 5, "remaining": 13} == {
        group: len(members)
        for group, members in GROUPS.items()
        if group not in {"format_remaining", "zones_and_shapes"}
    }
    assert 127 == len(cases())
