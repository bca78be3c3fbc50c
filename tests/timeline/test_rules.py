"""The rules of the clock, sentence by sentence, in the order in which the design states them."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import NeverOpens
from slaq.phase import State
from slaq.promise import Kind, Phase, watches
from slaq.timeline import Headline, Settlement, fold, settle, settle_change

from .build import (
    ALWAYS,
    OFFICE,
    Ticket,
    answered,
    fact,
    instant,
    name,
    paused,
    promise,
    reopened,
    resolved,
    resumed,
    retargeted,
    row,
    span,
    started,
    ticket,
    week,
)


def minutes(duration: timedelta | None) -> float | None:
    return None if duration is None else duration / timedelta(minutes=1)


# ── clocks and pauses ───────────────────────────────────────────────────────────────────────────


def test_both_clocks_run_side_by_side_from_the_start() -> None:
    """Resolution is watched while the response is still owed (F-11)."""
    both = ticket(response="8h", resolution="4h", thresholds=[50])
    assert ["resolution 50% Mon 11:00", "response 50% Mon 13:00", "resolution breach Mon 13:00"] == sorted(
        both.rows("Mon 13:00"), key=lambda text: (text[-5:], text.startswith("resolution"), "50%" not in text)
    )
    assert ("Mon 17:00", "Mon 13:00") == (both.due("response"), both.due("resolution"))


def test_a_pause_over_the_weekend_moves_nothing() -> None:
    """Friday 17:00 to Monday 09:00 costs no open time (F-05)."""
    friday = ticket("Fri 16:00", response="2h")
    weekend = friday.paused("Fri 17:00").resumed("Mon+1 09:00")
    assert "Mon+1 10:00" == friday.due() == weekend.due()
    assert 30 == minutes(weekend.response("Mon+1 09:30").remaining)
    assert State.AT_RISK is weekend.response("Mon+1 09:30").state


def test_a_pause_costs_the_open_time_within_it() -> None:
    """An hour of pause moves a due past closing time to the next day, not into the evening (F-05)."""
    assert "Tue 09:30" == ticket(response="7h 30m").paused("Mon 10:00").resumed("Mon 11:00").due()
    assert "Mon+1 09:15" == ticket("Fri 15:00", response="2h").paused("Fri 16:45").resumed("Mon+1 09:00").due()


def test_pauses_of_seconds_count_in_full() -> None:
    """Ten pauses of 59 seconds cost 9 minutes 50 seconds (F-48)."""
    often = ticket(response="1h")
    for minute in range(10):
        often = often.paused(f"Mon 09:{minute:02}").resumed(f"Mon 09:{minute:02}:59")
    assert "Mon 10:09:50" == often.due()


def test_total_pause_is_the_wall_clock_time_of_finished_pauses() -> None:
    """It is for people: a weekend counts, a running pause does not."""
    weekend = ticket("Fri 16:00", response="2h").paused("Fri 17:00").resumed("Mon+1 09:00")
    assert timedelta(hours=64) == weekend.clocks().total_pause
    assert timedelta(hours=64) == weekend.paused("Mon+1 09:10").clocks().total_pause


def test_paused_while_any_source_holds() -> None:
    """The ticket resumes with the last source that lets go."""
    held = ticket(response="2h").paused("Mon 09:30").paused("Mon 09:40", "manual").resumed("Mon 09:50")
    assert Headline.PAUSED is held.headline("Mon 10:00")
    assert instant("Mon 09:30") == held.clocks().paused_at
    freed = held.resumed("Mon 10:30", "manual")
    assert Headline.ON_TRACK is freed.headline("Mon 10:30")
    assert ("Mon 12:00", timedelta(hours=1)) == (freed.due(), freed.clocks().total_pause)


def test_the_reason_shown_is_awaiting_client_then_status_then_manual() -> None:
    """Whichever came first."""
    reasons = []
    held = ticket(response="8h")
    for minute, source in enumerate(("manual", "status", "awaiting_client")):
        held = held.paused(f"Mon 09:1{minute}", source)
        reasons.append(held.clocks().pause_reason)
    assert [PauseSource.MANUAL, PauseSource.STATUS, PauseSource.AWAITING_CLIENT] == reasons
    assert PauseSource.STATUS is held.resumed("Mon 09:20", "awaiting_client").clocks().pause_reason
    assert ticket(response="8h").clocks().pause_reason is None


def test_nothing_is_crossed_during_a_pause() -> None:
    """The same threshold is looked at again after it (F-07)."""
    halted = ticket(response="100m", thresholds=[50, 90]).paused("Mon 09:30").resumed("Mon 09:40").paused("Mon 10:35")
    assert ["response 50% Mon 10:00"] == halted.told("Tue 12:00")
    assert [
        "response 50% Mon 10:00",
        "response 90% Tue 09:05",
        "response breach Tue 09:15",
    ] == halted.resumed("Tue 09:00").rows("Tue 12:00")


# ── facts ───────────────────────────────────────────────────────────────────────────────────────


def test_facts_fold_in_the_order_in_which_they_happened() -> None:
    """The order of arrival is nothing but the tie."""
    log = [
        started("Mon 09:00", promise(response="4h", resolution="8h")),
        paused("Mon 09:30"),
        resumed("Mon 10:00"),
        paused("Mon 10:30", "manual"),
        retargeted("Mon 10:45", promise(response="6h", resolution="9h")),
        resumed("Mon 11:00", "manual"),
        answered("Mon 11:30"),
        resolved("Mon 12:00"),
        reopened("Mon 13:00"),
    ]
    for seed in range(20):
        assert fold(log) == fold(random.Random(seed).sample(log, len(log)))


def test_ties_fold_in_the_order_of_arrival() -> None:
    """Paused then resumed at one instant runs, resumed then paused stands still."""
    base = ticket(response="1h")
    assert base.paused("Mon 09:30").resumed("Mon 09:30").clocks().paused_at is None
    assert instant("Mon 09:30") == base.resumed("Mon 09:30").paused("Mon 09:30").clocks().paused_at


def test_a_fact_that_changes_nothing_is_without_effect() -> None:
    """Pausing what is paused, resuming what runs, reopening what is open, answering what is answered."""
    base = ticket(response="1h", resolution="8h").paused("Mon 09:10").resumed("Mon 09:20").answered("Mon 09:30")
    again = (
        base.paused("Mon 09:40")
        .paused("Mon 09:45")
        .resumed("Mon 09:50", "manual")
        .resumed("Mon 09:55")
        .resumed("Mon 09:56")
        .reopened("Mon 09:57")
        .answered("Mon 09:58")
    )
    assert base.paused("Mon 09:40").resumed("Mon 09:55").clocks() == again.clocks()


def test_a_pause_of_a_closed_ticket_is_without_effect() -> None:
    """Also after it is reopened."""
    closed = ticket(response="1h", resolution="8h").resolved("Mon 10:00").paused("Mon 11:00")
    assert closed.clocks().paused_at is None
    assert ("met", "running") == closed.reopened("Mon 12:00").states("Mon 12:00")


def test_the_same_fact_twice_is_one_fact() -> None:
    """Even when something else of that instant lies between the two (F-20)."""
    base = ticket(response="4h", resolution="8h").paused("Mon 10:00").resumed("Mon 10:00").resolved("Mon 11:00")
    twice = base.reopened("Mon 11:00").paused("Mon 10:00").resolved("Mon 11:00").resumed("Mon 10:00")
    assert base.reopened("Mon 11:00").clocks() == twice.clocks()


def test_two_retargets_at_one_instant_are_two() -> None:
    """The one that arrived last holds."""
    twice = ticket(response="1h").retargeted("Mon 09:30", response="2h").retargeted("Mon 09:30", response="3h")
    assert "Mon 12:00" == twice.due()


def test_the_first_answer_in_time_wins_not_the_first_to_arrive() -> None:
    """An answer of 10:58 that becomes known at 11:05 replaces one of 11:02."""
    late = ticket(response="2h").answered("Mon 11:02").answered("Mon 10:58", known="Mon 11:05")
    assert instant("Mon 10:58") == late.clocks().response.finished_at
    assert (False, True) == (late.met("Mon 11:02"), late.met("Mon 11:05"))


def test_a_late_answer_corrects_the_verdict_and_what_was_told_stays_told() -> None:
    """10:58, known at 11:05, meets 11:00: the breach row is voided, thresholds stay."""
    late = ticket(response="2h", thresholds=[50, 100], levels={1: 100}).answered("Mon 10:58", known="Mon 11:05")
    assert ["response breach Mon 11:00"] == late.breaches("Mon 11:04")
    assert [
        "response 50% Mon 10:00",
        "response breach Mon 11:00 voided",
        "response 100% Mon 11:00",
        "response level 1 Mon 11:00",
    ] == late.rows("Tue 12:00")
    assert (False, True) == (late.met("Mon 11:04"), late.met("Mon 11:05"))
    assert State.MET is late.response("Mon 11:05").state


def test_a_late_pause_moves_a_breach_and_tells_no_threshold_again() -> None:
    """The breach follows the facts to its new instant; the threshold was told."""
    late = ticket(response="2h", thresholds=[100]).learned("Mon 11:10", paused("Mon 10:30"), resumed("Mon 11:00"))
    assert [
        "response breach Mon 11:00 voided",
        "response 100% Mon 11:00",
        "response breach Mon 11:30",
    ] == late.rows("Tue 12:00")


def test_late_facts_that_undo_and_restore_a_breach_revive_its_row() -> None:
    """A second late fact brings the exact instant back."""
    undone = ticket(response="2h").learned("Mon 11:10", paused("Mon 10:30"))
    assert ["response breach Mon 11:00 voided"] == undone.rows("Mon 11:20")
    restored = undone.learned("Mon 11:30", resumed("Mon 10:30"))
    assert ["response breach Mon 11:00"] == restored.rows("Mon 11:30")


def test_instants_before_the_start_count_as_the_start() -> None:
    """In the order in which they happened, whatever the order of arrival."""
    early = ticket("Mon 10:00", response="1h", resolution="4h").resumed("Mon 08:45").paused("Mon 08:30")
    assert ("Mon 11:00", None) == (early.due(), early.clocks().paused_at)
    assert timedelta() == early.clocks().total_pause
    assert instant("Mon 10:00") == early.answered("Mon 08:00").clocks().response.finished_at
    held = ticket("Mon 10:00", response="1h").paused("Mon 08:00")
    assert (instant("Mon 10:00"), "Mon 11:30") == (held.clocks().paused_at, held.resumed("Mon 10:30").due())


def test_nothing_has_started_before_the_start() -> None:
    """Facts may be known before a promise is; with none there is no clock."""
    assert fold([]) is None
    assert fold([paused("Mon 08:00")]) is None
    assert Settlement(None, ()) == settle([answered("Mon 08:00")], (), instant("Mon 09:00"))
    first = started("Mon 09:00", promise(response="1h"))
    settlement = settle_change([paused("Mon 08:00")], [first], (), instant("Mon 09:00"))
    assert settlement.clocks is not None and instant("Mon 09:00") == settlement.clocks.paused_at


# ── settling ────────────────────────────────────────────────────────────────────────────────────


def settled(story: Ticket, now: str) -> Settlement:
    """A settling of the newest change alone, after timers that were down since the start."""
    newest = story.log[-1].change
    old = [each for each in story.log if each.change < newest]
    new = [each for each in story.log if each.change == newest]
    return settle_change(old, new, (), instant(now))


@pytest.mark.parametrize(
    "change",
    [
        paused("Mon 11:30"),
        answered("Mon 11:30"),
        resolved("Mon 11:30"),
        retargeted("Mon 11:30", promise(response="9h")),
    ],
    ids=lambda each: each.kind.value,
)
def test_no_change_drops_a_crossing_that_lies_before_it(change: Fact) -> None:
    """With the timers down, pausing, answering, resolving or retargeting tells what was due first."""
    down = ticket(response="3h", thresholds=[50, 75]).learned("Mon 11:30", change)
    told = [name(record.crossing.crossed_at) for record in settled(down, "Mon 11:30").told]
    assert ["Mon 10:30", "Mon 11:15"] == told


def test_an_outage_drops_nothing_and_tells_the_oldest_first() -> None:
    """Three thresholds missed are three told (F-10)."""
    settlement = settle(
        ticket(response="2h", resolution="2h 30m", thresholds=[50, 75, 90]).log, (), instant("Mon 12:00")
    )
    told = [row(record) for record in settlement.told]
    assert [
        "response 50% Mon 10:00",
        "resolution 50% Mon 10:15",
        "response 75% Mon 10:30",
        "response 90% Mon 10:48",
        "resolution 75% Mon 10:52:30",
        "response breach Mon 11:00",
        "resolution 90% Mon 11:15",
        "resolution breach Mon 11:30",
    ] == told


def test_settling_again_tells_nothing_again() -> None:
    """And the alarm is the next crossing that is not told, or nothing."""
    story = ticket(response="2h", thresholds=[50, 75])
    first = settle(story.log, (), instant("Mon 10:00"))
    again = settle(story.log, first.records, instant("Mon 10:00"))
    assert (1, 0, 0, 0) == (len(first.told), len(again.told), len(again.voided), len(again.revived))
    assert first.records == again.records
    assert "Mon 10:30" == name(first.alarm) == name(again.alarm)
    assert settle(story.log, first.records, instant("Mon 11:00")).alarm is None


def test_the_alarm_of_an_overdue_ticket_lies_in_the_past() -> None:
    """Before anything is told it is the earliest crossing of all."""
    story = ticket(response="2h", thresholds=[50])
    assert "Mon 10:00" == name(settle(story.log, (), instant("Mon 09:00")).alarm)
    assert settle(story.paused("Mon 09:10").log, (), instant("Mon 09:10")).alarm is None


def test_a_change_with_an_answer_and_a_retarget_settles_the_old_promise_between_them() -> None:
    """Learned together, the resolution's 50 % at 11:00 lies before the retarget of 11:30."""
    both = ticket(response="4h", resolution="4h", thresholds=[50]).learned(
        "Mon 12:00", answered("Mon 10:30"), retargeted("Mon 11:30", promise(response="8h", resolution="40h"))
    )
    told = [row(record) for record in settled(both, "Mon 12:00").told]
    assert ["resolution 50% Mon 11:00 voided"] == told


def test_what_a_change_tells_comes_oldest_first() -> None:
    """Crossings that a retarget puts into the past may be older than those of the old promise."""
    harder = ticket(response="8h", resolution="2h", thresholds=[50]).retargeted(
        "Mon 11:00", response="30m", resolution="2h"
    )
    told = [name(record.crossing.crossed_at) for record in settled(harder, "Mon 11:00").told]
    assert ["Mon 09:30", "Mon 10:00", "Mon 11:00"] == told


# ── ties at one instant ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stop", [answered, resolved])
def test_a_stop_prevents_the_crossing_of_its_instant(stop: type[Fact]) -> None:
    """Answered at the due instant is met; one microsecond later is not."""
    base = ticket(response="1h", thresholds=[100])
    on_time = base.learned("Mon 10:00", stop("Mon 10:00"))  # type: ignore[arg-type, call-arg]
    assert ([], True) == (on_time.rows("Tue 12:00"), on_time.met("Mon 10:00"))
    late = base.learned("Mon 10:00:00.000001", stop("Mon 10:00:00.000001"))  # type: ignore[arg-type, call-arg]
    assert ["response breach Mon 10:00", "response 100% Mon 10:00"] == late.rows("Tue 12:00")
    assert late.met("Mon 10:00:00.000001") is False


def test_a_stop_at_the_due_instant_known_late_undoes_the_breach() -> None:
    """The other order of arrival: the crossing was told first."""
    late = ticket(response="1h", thresholds=[100]).answered("Mon 10:00", known="Mon 10:01")
    assert ["response breach Mon 10:00 voided", "response 100% Mon 10:00"] == late.rows("Mon 11:00")


def test_unanswered_at_due_is_breached() -> None:
    """At due + 0; a microsecond before it is not."""
    base = ticket(response="1h")
    assert State.AT_RISK is base.response("Mon 09:59:59.999999").state
    assert (State.BREACHED, False) == (base.response("Mon 10:00").state, base.met("Mon 10:00"))
    assert ["response breach Mon 10:00"] == base.rows("Mon 10:00")


def test_a_crossing_precedes_a_pause() -> None:
    """Due and paused at one instant is breached, whether the two arrive together or not."""
    on_due = ticket(response="1h", thresholds=[50, 100]).paused("Mon 10:00")
    assert ["response 50% Mon 09:30", "response breach Mon 10:00", "response 100% Mon 10:00"] == on_due.rows(
        "Mon 12:00"
    )
    just_before = ticket(response="1h", thresholds=[50, 100]).paused("Mon 09:59:59.999999")
    assert ["response 50% Mon 09:30"] == just_before.rows("Mon 12:00")


def test_a_crossing_at_closing_precedes_a_pause_after_hours() -> None:
    """Used up exactly at closing is due at closing."""
    closing = ticket("Fri 16:00", response="1h").paused("Fri 20:00")
    assert ["response breach Fri 17:00"] == closing.rows("Mon+1 12:00")


@pytest.mark.parametrize("stop", ["answered", "resolved"])
def test_a_stop_prevents_the_crossing_whatever_else_its_instant_holds(stop: str) -> None:
    """Paused, or paused and resumed, at the due instant, then stopped there."""
    phase = {"answered": "response", "resolved": "resolution"}[stop]
    stopped = fact(FactKind(stop), "Mon 10:00")
    for others in ([], [paused("Mon 10:00")], [paused("Mon 10:00"), resumed("Mon 10:00")]):
        both = ticket(response="1h", resolution="1h").learned("Mon 10:00", *others, stopped)
        assert (True, []) == (both.met("Mon 10:00", phase), [text for text in both.rows("Tue 12:00") if phase in text])


def test_an_answer_at_one_instant_stops_only_the_response() -> None:
    """The resolution's crossing of that instant is told."""
    both = ticket(response="1h", resolution="1h", thresholds=[100]).answered("Mon 10:00")
    assert ["resolution breach Mon 10:00", "resolution 100% Mon 10:00"] == both.rows("Tue 09:00")


def test_a_retarget_acts_after_the_crossings_of_its_instant() -> None:
    """The breach at 10:00 happened, and is undone by the longer promise; the threshold was told, too."""
    moved = ticket(response="1h", thresholds=[100]).retargeted("Mon 10:00", response="2h", thresholds=[100])
    assert [
        "response breach Mon 10:00 voided",
        "response 100% Mon 10:00 voided",
        "response breach Mon 11:00",
        "response 100% Mon 11:00",
    ] == moved.rows("Mon 12:00")


def test_a_stop_and_a_retarget_at_one_instant() -> None:
    """The stop prevents its own crossing, the retarget still acts after those of the other phase."""
    both = ticket(response="1h", resolution="2h", thresholds=[50, 100]).learned(
        "Mon 10:00",
        answered("Mon 10:00"),
        retargeted("Mon 10:00", promise(response="1h", resolution="8h", thresholds=[50, 100])),
    )
    assert ["response 50% Mon 09:30", "resolution 50% Mon 10:00 voided"] == both.rows("Mon 12:00")


def test_equal_crossings_go_by_phase_kind_and_percent() -> None:
    """Response before resolution; breach, threshold, escalation; then percent, whatever the policy's order."""
    zero = ticket(response="0m", resolution="0m", thresholds=[90, 50, 120], levels={3: 110, 1: 70, 2: 90})
    kinds = ["breach", "50%", "90%", "120%", "level 1", "level 2", "level 3"]
    assert [f"{phase} {what} Mon 09:00" for phase in ("response", "resolution") for what in kinds] == zero.rows(
        "Mon 09:00"
    )
    settlement = settle(zero.log, (), instant("Mon 09:00"))
    assert list(settlement.told) == sorted(settlement.told, key=lambda record: record.crossing.order)


# ── crossings ───────────────────────────────────────────────────────────────────────────────────


def test_the_breach_is_always_watched() -> None:
    """Also by a policy without any threshold (F-36)."""
    assert ["response breach Mon 10:00"] == ticket(response="1h").rows("Tue 12:00")
    assert [(Kind.BREACH, 100)] == [(watch.kind, watch.percent) for watch in watches(promise(response="1h"))]


def test_only_configured_thresholds_are_told() -> None:
    """A policy with 80 and 95 tells at 80 and at 95 (F-24, F-36)."""
    assert ["response 80% Mon 09:48", "response 95% Mon 09:57"] == ticket(response="1h", thresholds=[80, 95]).told(
        "Tue 12:00"
    )


def test_thresholds_may_lie_above_100_percent() -> None:
    """They are told while the phase is open (F-37)."""
    base = ticket(response="1h", thresholds=[150, 400])
    assert ["response 150% Mon 10:30", "response 400% Mon 13:00"] == base.told("Tue 12:00")
    assert ["response 150% Mon 10:30"] == base.answered("Mon 12:00").told("Tue 12:00")
    assert 250 == base.response("Mon 11:30").percent


def test_a_threshold_at_100_percent_is_a_row_beside_the_breach() -> None:
    """The breach itself tells nobody."""
    assert ["response breach Mon 10:00", "response 100% Mon 10:00"] == ticket(response="1h", thresholds=[100]).rows(
        "Mon 10:00"
    )


def test_crossings_are_exact() -> None:
    """A third of the odd lot is rounded up to the microsecond at which it is used up."""
    odd = ticket(response="0.001s", thresholds=[33])
    crossing = odd.clocks().crossings[0]
    assert timedelta(microseconds=330) == crossing.crossed_at - instant("Mon 09:00")
    odd = ticket(response="0.00001s", thresholds=[33])
    assert timedelta(microseconds=4) == odd.clocks().crossings[0].crossed_at - instant("Mon 09:00")


def test_reopening_and_late_facts_void_no_threshold() -> None:
    """A resolution of 12:30 learned late keeps the 100 % that was told at 13:00; so does reopening."""
    late = ticket(resolution="4h", thresholds=[50, 100]).resolved("Mon 12:30", known="Mon 13:30").reopened("Mon 14:00")
    assert [
        "resolution 50% Mon 11:00",
        "resolution breach Mon 13:00 voided",
        "resolution 100% Mon 13:00",
        "resolution breach Mon 14:30",
    ] == late.rows("Tue 12:00")


def test_the_next_crossing_is_read_from_the_clocks() -> None:
    """The first after the instant, in either phase."""
    upcoming = ticket(response="2h", resolution="8h", thresholds=[50]).at("Mon 10:00").next_crossing
    assert upcoming is not None and ("Mon 11:00", Phase.RESPONSE) == (name(upcoming.crossed_at), upcoming.phase)
    assert ticket(response="2h").paused("Mon 09:30").at("Mon 09:30").next_crossing is None


# ── breach, escalation ──────────────────────────────────────────────────────────────────────────


def test_a_breach_is_not_a_response() -> None:
    """The verdict is false and nothing else; the clock runs on until somebody answers (F-16)."""
    open_ = ticket(response="1h").clocks().response
    assert (None, False) == (open_.finished_at, open_.met(instant("Mon 11:00")))
    reading = ticket(response="1h").response("Mon 11:00")
    assert (State.BREACHED, -60, 200) == (reading.state, minutes(reading.remaining), reading.percent)
    answered_late = ticket(response="1h").answered("Mon 12:00").clocks().response
    assert (instant("Mon 12:00"), False) == (answered_late.finished_at, answered_late.met(instant("Mon 12:00")))


def test_each_level_is_told_once_per_phase_in_order() -> None:
    """At its own percent of each phase, below and above 100 (F-31)."""
    levels = {1: 70, 2: 90, 3: 110}
    assert [
        "response level 1 Mon 09:42",
        "response level 2 Mon 09:54",
        "response level 3 Mon 10:06",
        "resolution level 1 Mon 10:24",
        "resolution level 2 Mon 10:48",
        "resolution level 3 Mon 11:12",
    ] == ticket(response="1h", resolution="2h", levels=levels).told("Tue 12:00")


def test_a_level_that_moves_to_another_percent_is_not_told_again() -> None:
    """Its live row stands while its own percent is in the past."""
    moved = ticket(response="10h", schedule=ALWAYS, levels={1: 50}).retargeted(
        "Mon 15:00", ALWAYS, response="10h", levels={1: 80}
    )
    assert ["response level 1 Mon 14:00"] == moved.told("Tue 12:00")


def test_a_level_that_moves_before_it_is_told_follows_its_new_percent() -> None:
    """It was watched all the time: a new percent that lies in the past is told at once."""
    moved = ticket(response="10h", schedule=ALWAYS, levels={1: 90}).retargeted(
        "Mon 15:00", ALWAYS, response="10h", levels={1: 50}
    )
    assert ["response level 1 Mon 14:00"] == moved.told("Mon 15:00")


# ── resolution ──────────────────────────────────────────────────────────────────────────────────


def test_resolution_stops_the_response_clock_too() -> None:
    """An unanswered ticket is answered by its resolution, and judged against its due (F-17)."""
    in_time = ticket(response="2h", resolution="8h").resolved("Mon 10:00")
    assert instant("Mon 10:00") == in_time.clocks().response.finished_at
    assert (("met", "met"), Headline.MET) == (in_time.states("Tue 12:00"), in_time.headline("Tue 12:00"))
    too_late = ticket(response="2h", resolution="8h").resolved("Mon 12:00")
    assert (("missed", "met"), Headline.RESPONSE_BREACHED) == (
        too_late.states("Tue 12:00"),
        too_late.headline("Tue 12:00"),
    )


def test_a_real_earlier_answer_replaces_the_stamp_of_the_resolution() -> None:
    """And corrects the verdict; a later one does not."""
    stamped = ticket(response="2h", resolution="8h").resolved("Mon 12:00")
    real = stamped.answered("Mon 10:30", known="Mon 13:00")
    assert (False, True) == (real.met("Mon 12:30"), real.met("Mon 13:00"))
    assert ["response breach Mon 11:00 voided"] == real.breaches("Tue 12:00")
    after = stamped.answered("Mon 14:00")
    assert instant("Mon 12:00") == after.clocks().response.finished_at


def test_an_answer_before_the_resolution_stands() -> None:
    """Only the unanswered are stamped."""
    both = ticket(response="2h", resolution="8h").answered("Mon 09:30").resolved("Mon 12:00").clocks()
    assert (instant("Mon 09:30"), instant("Mon 12:00")) == (both.response.finished_at, both.resolution.finished_at)


def test_the_first_resolution_in_time_wins() -> None:
    """A second close does not overwrite the first (F-19, F-20)."""
    twice = ticket(resolution="2h").resolved("Mon 10:30").resolved("Mon 15:00")
    assert (instant("Mon 10:30"), True) == (twice.clocks().resolution.finished_at, twice.met("Mon 15:00", "resolution"))


def test_resolving_a_paused_ticket_ends_the_pause_first() -> None:
    """No open time ran, so it is met; nothing stays paused, also after reopening (F-18)."""
    closed = ticket("Mon 09:00", response="1h", resolution="2h").paused("Mon 09:00").resolved("Tue 12:00")
    assert (("met", "met"), Headline.MET) == (closed.states("Tue 12:00"), closed.headline("Tue 12:00"))
    assert (None, None, timedelta(hours=27)) == (
        closed.clocks().paused_at,
        closed.clocks().pause_reason,
        closed.clocks().total_pause,
    )
    assert ("met", "running") == closed.reopened("Wed 09:00").states("Wed 10:00")
    assert "Wed 11:00" == closed.reopened("Wed 09:00").due("resolution")


def test_answering_while_paused_is_judged_without_the_pause() -> None:
    """The pause goes on for the resolution (F-46)."""
    held = ticket(response="1h", resolution="2h").paused("Mon 09:30").answered("Mon 15:00")
    assert (("met", "paused"), "Mon 15:30") == (held.states("Mon 16:00"), held.due())
    assert Headline.PAUSED is held.headline("Mon 16:00")


def test_born_closed_is_met_and_silent() -> None:
    """Closed at or before entered: both clocks stopped."""
    for closed_at in ("Mon 08:00", "Mon 09:00"):
        for target in ("1h", "0m"):
            born = Ticket(()).learned(
                "Mon 12:00",
                started("Mon 09:00", promise(response=target, resolution=target, thresholds=[50])),
                resolved(closed_at),
            )
            assert ([], ("met", "met")) == (born.rows("Tue 12:00"), born.states("Mon 12:00"))
            assert Headline.MET is born.headline("Mon 12:00")
            assert settled(born, "Mon 12:00").alarm is None


def test_first_seen_closed_is_judged_at_its_closing_in_silence() -> None:
    """Its crossings are recorded as silent, those of the response as well as those of the resolution."""
    seen = Ticket(()).learned(
        "Wed 12:00",
        started("Mon 09:00", promise(response="1h", resolution="2h", thresholds=[50])),
        resolved("Mon 10:30"),
    )
    assert [
        "response 50% Mon 09:30 silent",
        "response breach Mon 10:00 silent",
        "resolution 50% Mon 10:00 silent",
    ] == seen.rows("Wed 12:00")
    assert ("missed", "met") == seen.states("Wed 12:00")
    assert [
        *seen.rows("Wed 12:00"),
        "resolution breach Thu 10:00",
    ] == seen.reopened("Thu 09:30").rows("Fri 12:00")


def test_first_seen_closed_and_retargeted_is_silent_too() -> None:
    """Nothing is told of a history that slaq was not there for."""
    seen = Ticket(()).learned(
        "Wed 12:00",
        started("Mon 09:00", promise(response="1h", thresholds=[50])),
        retargeted("Mon 09:40", promise(response="30m", thresholds=[50])),
        resolved("Mon 10:30"),
    )
    assert all(text.endswith("silent") for text in seen.rows("Wed 12:00"))


def test_first_seen_open_again_is_not_silent() -> None:
    """A ticket that was closed and reopened before slaq saw it is open."""
    seen = Ticket(()).learned(
        "Wed 12:00", started("Mon 09:00", promise(resolution="2h")), resolved("Mon 10:30"), reopened("Tue 09:00")
    )
    assert ["resolution breach Tue 09:30"] == seen.rows("Wed 12:00")


def test_first_seen_open_tells_what_has_been_crossed() -> None:
    """An import is no reason for silence."""
    seen = Ticket(()).learned("Wed 12:00", started("Mon 09:00", promise(response="1h", thresholds=[50])))
    assert ["response 50% Mon 09:30", "response breach Mon 10:00"] == seen.rows("Wed 12:00")


# ── reopening ───────────────────────────────────────────────────────────────────────────────────


def test_reopening_resumes_the_resolution_clock_without_the_closed_time() -> None:
    """And is no pause (F-19)."""
    again = (
        ticket(response="1h", resolution="4h", thresholds=[50])
        .answered("Mon 09:10")
        .resolved("Mon 10:00")
        .reopened("Tue 09:00")
    )
    assert ("Tue 12:00", timedelta()) == (again.due("resolution"), again.clocks().total_pause)
    assert ["resolution 50% Tue 10:00", "resolution breach Tue 12:00"] == again.rows("Wed 12:00")
    assert 60 == minutes(again.resolution("Tue 09:00").used)


def test_crossings_stay_crossed_when_reopened_and_are_not_told_again() -> None:
    """The verdict is the fold's again: missed stays breached, met is undecided."""
    missed = ticket(resolution="2h", thresholds=[50]).resolved("Mon 12:00").reopened("Tue 09:00")
    assert ["resolution 50% Mon 10:00", "resolution breach Mon 11:00"] == missed.rows("Wed 12:00")
    assert (State.BREACHED, False) == (missed.resolution("Tue 09:00").state, missed.met("Tue 09:00", "resolution"))
    met = ticket(resolution="2h").resolved("Mon 10:00").reopened("Tue 09:00")
    assert (True, None) == (met.met("Mon 12:00", "resolution"), met.met("Tue 09:30", "resolution"))


def test_the_response_stays_finished_when_reopened() -> None:
    """Also when only the resolution had finished it."""
    again = ticket(response="1h", resolution="8h").resolved("Mon 09:30").reopened("Mon 10:00").answered("Mon 11:00")
    assert ("met", "running") == again.states("Mon 12:00")
    assert instant("Mon 09:30") == again.clocks().response.finished_at


def test_resolved_at_due_and_reopened_is_breached_at_the_reopening() -> None:
    """The stop prevented the crossing; open again with nothing left, it is crossed."""
    again = ticket(resolution="2h").resolved("Mon 11:00").reopened("Mon 13:00")
    assert (True, False) == (again.met("Mon 12:00", "resolution"), again.met("Mon 13:00", "resolution"))
    assert ["resolution breach Mon 13:00"] == again.rows("Mon 14:00")


def test_reopened_and_resolved_again() -> None:
    """The second resolution is judged by the open time of both lives."""
    again = ticket(resolution="4h").resolved("Mon 11:00").reopened("Tue 09:00")
    assert again.resolved("Tue 11:00").met("Tue 12:00", "resolution") is True
    assert again.resolved("Tue 11:01").met("Tue 12:00", "resolution") is False


# ── retarget ────────────────────────────────────────────────────────────────────────────────────


def test_a_retarget_counts_from_the_original_start_with_the_same_facts() -> None:
    """Another target, another schedule: no time already used is given back (F-08)."""
    base = ticket(response="4h").paused("Mon 10:00").resumed("Mon 10:30")
    assert "Mon 13:30" == base.retargeted("Mon 12:00", response="4h").due()
    assert "Mon 15:30" == base.retargeted("Mon 12:00", response="6h").due()
    evening = base.retargeted("Mon 12:00", week("12:00-20:00"), response="4h")
    assert "Mon 16:00" == evening.due()


def test_a_retarget_while_paused_keeps_the_pause() -> None:
    """And is due by the new promise once it resumes."""
    held = ticket(response="2h").paused("Mon 10:00").retargeted("Mon 12:00", response="3h")
    assert (Headline.PAUSED, []) == (held.headline("Mon 16:00"), held.rows("Mon 16:00"))
    assert "Tue 11:00" == held.resumed("Tue 09:00").due()


def test_a_finished_phase_keeps_its_due_and_verdict() -> None:
    """A harder promise does not turn it into a miss, an easier one not into a success (F-25)."""
    good = (
        ticket(response="2h", resolution="8h")
        .answered("Mon 10:30")
        .retargeted("Mon 11:00", response="1h", resolution="8h")
    )
    assert ("Mon 11:00", True, []) == (good.due(), good.met("Mon 12:00"), good.rows("Mon 12:00"))
    bad = (
        ticket(response="1h", resolution="8h")
        .answered("Mon 10:30")
        .retargeted("Mon 11:00", response="4h", resolution="8h")
    )
    assert ("Mon 10:00", False) == (bad.due(), bad.met("Mon 12:00"))
    assert ["response breach Mon 10:00"] == bad.rows("Mon 12:00")


def test_a_finished_phase_keeps_its_thresholds() -> None:
    """A retarget voids nothing of it, and a target that goes takes nothing of it along."""
    base = ticket(response="2h", resolution="8h", thresholds=[50], levels={1: 25}).answered("Mon 10:30")
    rows = ["response level 1 Mon 09:30", "response 50% Mon 10:00"]
    assert rows == base.retargeted("Mon 10:40", response="100h", resolution="80h").rows("Mon 10:50")
    assert (rows, "met") == (
        base.retargeted("Mon 10:40").rows("Mon 12:00"),
        base.retargeted("Mon 10:40").states("Mon 12:00")[0],
    )


def test_crossings_newly_in_the_past_are_told_at_the_retarget() -> None:
    """At their exact instants under the new promise."""
    harder = ticket(response="8h", thresholds=[50, 75]).retargeted("Mon 11:00", response="2h", thresholds=[50, 75])
    assert [] == harder.rows("Mon 10:59")
    assert ["response 50% Mon 10:00", "response 75% Mon 10:30", "response breach Mon 11:00"] == harder.rows("Mon 11:00")


def test_crossings_that_now_lie_ahead_are_voided_and_told_again_there() -> None:
    """Those that lie behind, at whatever instant, stay."""
    easier = ticket(response="2h", thresholds=[25, 50, 75]).retargeted(
        "Mon 10:30", response="4h", thresholds=[25, 50, 75]
    )
    assert [
        "response 25% Mon 09:30",
        "response 50% Mon 10:00 voided",
        "response 75% Mon 10:30 voided",
    ] == easier.rows("Mon 10:30")
    assert [
        *easier.rows("Mon 10:30"),
        "response 50% Mon 11:00",
        "response 75% Mon 12:00",
        "response breach Mon 13:00",
    ] == easier.rows("Mon 15:00")


def test_a_breach_that_the_new_promise_undoes_is_undone() -> None:
    """The verdict is open again (F-42)."""
    undone = ticket(response="1h").retargeted("Mon 11:00", response="4h")
    assert (False, None) == (undone.met("Mon 10:30"), undone.met("Mon 11:00"))
    assert State.RUNNING is undone.response("Mon 11:00").state
    assert ["response breach Mon 10:00 voided"] == undone.rows("Mon 12:00")


def test_a_breach_moves_with_the_promise_also_within_the_past() -> None:
    """One live breach row, at the instant of the fold."""
    moved = ticket(response="1h").retargeted("Mon 12:00", response="2h")
    assert ["response breach Mon 10:00 voided", "response breach Mon 11:00"] == moved.rows("Mon 12:00")


def test_a_voided_row_whose_exact_instant_comes_back_is_revived() -> None:
    """And not told again: there and back leaves the rows of the first promise."""
    terms = {"response": "2h", "thresholds": [50, 75], "levels": {1: 60}}
    there = ticket(**terms).retargeted("Mon 10:45", response="8h", thresholds=[50, 75], levels={1: 60})
    rows = ["response 50% Mon 10:00", "response level 1 Mon 10:12", "response 75% Mon 10:30"]
    assert [f"{text} voided" for text in rows] == there.rows("Mon 10:50")
    assert rows == there.retargeted("Mon 10:50", **terms).rows("Mon 10:50")


def test_a_row_is_revived_even_if_its_threshold_had_been_gone() -> None:
    """What was told at that exact instant is told, though the threshold was added anew."""
    terms = {"response": "2h", "thresholds": [50], "levels": {1: 60}}
    gone = ticket(**terms).retargeted("Mon 10:45", response="8h")
    assert ["response 50% Mon 10:00 voided", "response level 1 Mon 10:12 voided"] == gone.rows("Mon 10:50")
    rows = ["response 50% Mon 10:00", "response level 1 Mon 10:12"]
    assert rows == gone.retargeted("Mon 10:50", **terms).rows("Mon 10:50")


def test_a_retarget_of_what_is_paused_voids_what_is_not_used_up_any_more() -> None:
    """Its instant is not known, but it is not in the past."""
    held = (
        ticket(response="2h", thresholds=[50])
        .paused("Mon 10:30")
        .retargeted("Mon 11:00", response="8h", thresholds=[50])
    )
    assert ["response 50% Mon 10:00 voided"] == held.rows("Mon 16:00")


def test_a_schedule_change_is_a_retarget() -> None:
    """A holiday that closes the day on which it breached undoes the breach."""
    closed = week("09:00-17:00", holidays=["2024-01-01"])
    free = ticket(response="1h").retargeted("Mon 12:00", closed, response="1h")
    assert ["response breach Mon 10:00 voided", "response breach Tue 10:00"] == free.rows("Tue 12:00")


def test_without_a_target_the_clocks_stop_and_no_alarm_is_left() -> None:
    """The headline is none, the breach is undone; what was told stays (F-23)."""
    gone = ticket(response="2h", resolution="2h", thresholds=[50]).retargeted("Mon 12:00")
    assert (Headline.NONE, ("none", "none")) == (gone.headline("Mon 12:00"), gone.states("Mon 12:00"))
    assert ["response 50% Mon 10:00", "resolution 50% Mon 10:00"] == gone.told("Tue 12:00")
    assert all(text.endswith("voided") for text in gone.breaches("Tue 12:00"))
    assert (None, None) == (gone.met("Mon 12:00"), settled(gone, "Mon 12:00").alarm)
    reading = gone.response("Mon 12:00")
    assert (None, None, None, None) == (reading.due_at, reading.remaining, reading.percent, reading.at_risk_at)


def test_facts_go_on_being_recorded_without_a_target() -> None:
    """They count when it returns: a retarget from the original start."""
    gone = (
        ticket(response="2h", resolution="8h", thresholds=[50])
        .retargeted("Mon 09:30")
        .paused("Mon 10:00")
        .resumed("Mon 11:00")
    )
    back = gone.retargeted("Mon 11:15", response="2h", resolution="8h", thresholds=[50])
    assert ("Mon 12:00", ["response 50% Mon 10:00"]) == (back.due(), back.rows("Mon 11:30"))
    assert ("none", "none") == gone.answered("Mon 11:10").states("Mon 11:10")


def test_a_target_that_returns_revives_what_it_had_crossed() -> None:
    """The breach of the exact instant is back, no threshold is told twice."""
    terms = {"response": "2h", "thresholds": [50, 100]}
    back = ticket(**terms).retargeted("Mon 12:00").retargeted("Mon 13:00", **terms)
    assert ["response 50% Mon 10:00", "response breach Mon 11:00", "response 100% Mon 11:00"] == back.rows("Mon 14:00")


def test_an_answer_without_a_target_finishes_a_phase_that_is_not_promised() -> None:
    """Finished while nothing was promised, it keeps that: no due, no verdict, also when a target returns."""
    back = (
        ticket(response="2h", resolution="8h")
        .retargeted("Mon 09:30")
        .answered("Mon 12:00")
        .retargeted("Mon 13:00", response="2h", resolution="8h")
    )
    assert (("none", "running"), None) == (back.states("Mon 14:00"), back.met("Mon 14:00"))


def test_one_phase_may_lose_its_target_alone() -> None:
    """The other goes on."""
    half = ticket(response="2h", resolution="4h").retargeted("Mon 10:00", resolution="4h")
    assert (("none", "at_risk"), Headline.AT_RISK) == (half.states("Mon 12:00"), half.headline("Mon 12:00"))
    assert ["resolution breach Mon 13:00"] == half.rows("Tue 12:00")


def test_a_ticket_without_a_target_yet_is_watched_whole_once_it_has_one() -> None:
    """Its first target is no addition: crossings in the past are told."""
    first = ticket().retargeted("Mon 11:00", response="2h", thresholds=[50])
    assert (Headline.NONE, []) == (first.headline("Mon 10:00"), first.rows("Mon 10:59"))
    assert ["response 50% Mon 10:00", "response breach Mon 11:00"] == first.rows("Mon 12:00")


def test_thresholds_and_levels_added_later_fire_only_for_crossings_after_the_change() -> None:
    """The crossing of 10:00 would have been before it was watched."""
    terms = {"response": "4h", "thresholds": [75]}
    added = ticket(**terms).retargeted("Mon 11:30", response="4h", thresholds=[25, 50, 75, 90], levels={1: 20, 2: 70})
    assert [
        "response level 2 Mon 11:48",
        "response 75% Mon 12:00",
        "response 90% Mon 12:36",
    ] == added.told("Mon 15:00")


def test_an_addition_does_not_fire_for_a_crossing_at_the_instant_of_the_change() -> None:
    """Only for those after it, and a later retarget does not change that."""
    added = ticket(response="4h").retargeted("Mon 11:00", response="4h", thresholds=[50])
    assert [] == added.told("Mon 15:00")
    assert [] == added.retargeted("Mon 12:00", response="4h", thresholds=[50]).told("Mon 15:00")
    assert ["response 50% Mon 13:00"] == added.retargeted("Mon 12:00", response="8h", thresholds=[50]).told("Mon 15:00")


def test_removed_and_added_again_is_added() -> None:
    """What was not watched in between stays untold."""
    terms = {"response": "4h", "thresholds": [50]}
    again = ticket(**terms).retargeted("Mon 10:00", response="4h").retargeted("Mon 12:00", **terms)
    assert [] == again.told("Mon 15:00")
    in_time = ticket(**terms).retargeted("Mon 10:00", response="4h").retargeted("Mon 10:30", **terms)
    assert ["response 50% Mon 11:00"] == in_time.told("Mon 15:00")


def test_a_threshold_removed_after_it_was_told_keeps_its_row() -> None:
    """Nothing is voided for it while its instant lies in the past."""
    removed = ticket(response="4h", thresholds=[50, 75]).retargeted("Mon 11:30", response="4h")
    assert ["response 50% Mon 11:00"] == removed.told("Mon 15:00")


def test_a_closed_ticket_that_was_retargeted_is_reopened_under_the_new_promise() -> None:
    """Closed it kept the old due; open again the present promise holds, from the original start."""
    closed = (
        ticket(resolution="8h", thresholds=[50])
        .resolved("Mon 12:00")
        .retargeted("Mon 13:00", resolution="4h", thresholds=[50])
    )
    assert ("Mon 17:00", []) == (closed.due("resolution"), closed.rows("Mon 15:00"))
    again = closed.reopened("Mon 16:00")
    assert "Mon 17:00" == again.due("resolution")
    assert ["resolution 50% Mon 11:00", "resolution breach Mon 17:00"] == again.rows("Tue 12:00")


def test_a_late_answer_before_a_retarget_brings_the_old_promise_back() -> None:
    """The phase was finished before the change: old due, old verdict, old rows."""
    late = ticket(response="2h", thresholds=[50]).retargeted("Mon 10:30", response="8h", thresholds=[50])
    assert ["response 50% Mon 10:00 voided"] == late.rows("Mon 10:59")
    known = late.answered("Mon 10:15", known="Mon 11:00")
    assert (["response 50% Mon 10:00"], "Mon 11:00", True) == (
        known.rows("Mon 11:00"),
        known.due(),
        known.met("Mon 11:00"),
    )


# ── status ──────────────────────────────────────────────────────────────────────────────────────


def test_the_headline_is_the_first_that_applies() -> None:
    """Paused, response breached, resolution breached, at risk, on track, met, none."""
    terms = {"response": "2h", "resolution": "4h"}
    breached = ticket(**terms)
    assert Headline.PAUSED is breached.paused("Mon 14:00").headline("Mon 14:00")
    assert Headline.RESPONSE_BREACHED is breached.headline("Mon 14:00")
    assert Headline.RESOLUTION_BREACHED is breached.answered("Mon 09:30").headline("Mon 14:00")
    assert Headline.RESOLUTION_BREACHED is ticket(response="8h", resolution="4h").headline("Mon 15:00")
    assert Headline.AT_RISK is breached.answered("Mon 09:30").headline("Mon 12:00")
    assert Headline.ON_TRACK is breached.answered("Mon 09:30").headline("Mon 11:59")
    assert Headline.MET is breached.resolved("Mon 10:30").headline("Mon 20:00")
    assert Headline.NONE is ticket().headline("Mon 20:00")


def test_a_closed_ticket_is_never_paused() -> None:
    """The headline of a closed ticket is its verdict (F-18)."""
    assert Headline.MET is ticket(response="2h").paused("Mon 10:00").resolved("Mon 10:30").headline("Mon 12:00")


def test_a_missed_response_stays_the_headline() -> None:
    """Beside it the resolution has its own state (F-42)."""
    late = ticket(response="1h", resolution="8h").answered("Mon 11:00")
    assert (Headline.RESPONSE_BREACHED, ("missed", "running")) == (late.headline("Mon 12:00"), late.states("Mon 12:00"))


def test_each_phase_has_a_state_at_every_instant() -> None:
    """Running, at risk at exactly 75 %, breached at due + 0; met, missed; paused hides no breach."""
    base = ticket(response="1h", resolution="4h")
    states = {
        at: base.states(at)[0] for at in ("Mon 09:00", "Mon 09:44:59.999999", "Mon 09:45", "Mon 09:59:59", "Mon 10:00")
    }
    assert ["running", "running", "at_risk", "at_risk", "breached"] == list(states.values())
    assert ("met", "running") == base.answered("Mon 10:00").states("Mon 10:00")
    assert ("missed", "running") == base.answered("Mon 10:01").states("Mon 10:01")
    assert ("breached", "paused") == base.paused("Mon 11:00").states("Mon 11:00")
    assert ("paused", "paused") == base.paused("Mon 09:50").states("Mon 16:00")
    assert ("none", "running") == ticket(resolution="4h").states("Mon 09:00")


def test_at_risk_is_measured_in_business_time() -> None:
    """60 of 480 minutes used is not at risk, whatever the weekend (F-42, F-60)."""
    friday = ticket("Fri 16:00", response="8h")
    assert State.RUNNING is friday.response("Sun 22:00").state
    assert (State.AT_RISK, "Mon+1 14:00") == (
        friday.response("Mon+1 14:00").state,
        name(friday.response("Mon+1 09:00").at_risk_at),
    )


def test_at_risk_begins_at_closing_when_three_quarters_are_used_there() -> None:
    """Its instant is a column: state and column agree."""
    closing = ticket("Fri 14:00", response="4h")
    assert ("Fri 17:00", State.AT_RISK) == (
        name(closing.response("Fri 15:00").at_risk_at),
        closing.response("Fri 17:00").state,
    )


def test_remaining_is_business_time_and_negative_when_overdue() -> None:
    """And nothing for a finished phase."""
    friday = ticket("Fri 16:00", response="2h")
    assert 60 == minutes(friday.response("Sat 12:00").remaining)
    assert -30 == minutes(friday.response("Mon+1 10:30").remaining)
    assert friday.answered("Fri 16:30").response("Sat 12:00").remaining is None


def test_a_paused_phase_shows_its_projected_due() -> None:
    """When it would be due if it resumed now; used and remaining stand still."""
    held = ticket(response="2h").paused("Mon 10:00")
    projected = {at: name(held.response(at).due_at) for at in ("Mon 10:00", "Mon 12:00", "Mon 16:30", "Mon 23:00")}
    assert {
        "Mon 10:00": "Mon 11:00",
        "Mon 12:00": "Mon 13:00",
        "Mon 16:30": "Tue 09:30",
        "Mon 23:00": "Tue 10:00",
    } == projected
    assert (60, 50) == (minutes(held.response("Mon 23:00").remaining), held.response("Mon 23:00").percent)
    assert "Mon 11:00" == held.due()


def test_a_breached_phase_that_is_paused_keeps_its_due() -> None:
    """There is nothing to project."""
    late = ticket(response="1h").paused("Mon 11:00")
    assert ("Mon 10:00", -60) == (
        name(late.response("Mon 15:00").due_at),
        minutes(late.response("Mon 15:00").remaining),
    )


# ── what must have been told ────────────────────────────────────────────────────────────────────


def test_expected_is_a_function_of_the_log_and_an_instant() -> None:
    """What is learned later is not known yet."""
    story = ticket(response="2h", thresholds=[50]).answered("Mon 09:30", known="Mon 10:30")
    assert [] == story.rows("Mon 09:59")
    assert ["response 50% Mon 10:00"] == story.rows("Mon 10:00") == story.rows("Tue 12:00")


def test_a_settling_reports_what_it_changed_and_no_more() -> None:
    """Told, voided and revived rows by their ids, so that the store can write them."""
    terms = {"response": "2h", "thresholds": [50]}
    log = ticket(**terms).log
    stored = tuple(type(record)(record.crossing, row="one") for record in settle(log, (), instant("Mon 10:00")).records)
    away = [retargeted("Mon 10:30", promise(response="8h"))]
    voided = settle_change(log, away, stored, instant("Mon 10:30"))
    assert ([], ["one"], []) == ([*voided.told], [record.row for record in voided.voided], [*voided.revived])
    back = [retargeted("Mon 10:40", promise(**terms))]
    revived = settle_change((*log, *away), back, voided.records, instant("Mon 10:40"))
    assert ([], [], ["one"]) == ([*revived.told], [*revived.voided], [record.row for record in revived.revived])
    assert "Mon 11:00" == name(revived.alarm)


def test_a_clock_that_runs_behind_revives_nothing_that_lies_ahead_of_it() -> None:
    """A voided row comes back once its instant is reached."""
    log = ticket(response="2h").log
    voided = tuple(
        type(record)(record.crossing, is_voided=True, row="one")
        for record in settle(log, (), instant("Mon 11:00")).records
    )
    behind, reached = settle(log, voided, instant("Mon 10:59")), settle(log, voided, instant("Mon 11:00"))
    assert ((), "Mon 11:00") == (behind.revived, name(behind.alarm))
    assert (1, (), None) == (len(reached.revived), reached.told, reached.alarm)


# ── samples of schedules ────────────────────────────────────────────────────────────────────────


def test_a_zero_target_is_due_at_the_start() -> None:
    """Even when closed, paused or answered later."""
    zero = ticket("Sat 12:00", response="0m")
    assert ("Sat 12:00", ["response breach Sat 12:00"]) == (zero.due(), zero.rows("Sat 12:00"))
    assert ["response breach Sat 12:00"] == zero.paused("Sat 12:00").rows("Mon+1 12:00")
    assert (100.0, State.BREACHED) == (zero.response("Sat 12:00").percent, zero.response("Sat 12:00").state)
    at_once = Ticket(()).learned("Sat 12:00", started("Sat 12:00", promise(response="0m")), answered("Sat 12:00"))
    assert ([], True) == (at_once.rows("Mon+1 12:00"), at_once.met("Sat 12:00"))


def test_a_night_shift_counts_across_midnight() -> None:
    """22:00 to 06:00 is one stretch; a pause by day moves nothing (F-40)."""
    night = week("22:00-06:00")
    base = ticket("Mon 23:00", night, response="8h", thresholds=[50])
    assert ("Tue 23:00", ["response 50% Tue 03:00"]) == (base.due(), base.told("Tue 22:00"))
    assert "Tue 23:00" == base.paused("Tue 06:00").resumed("Tue 22:00").due()
    assert "Wed 00:30" == base.paused("Tue 04:30").resumed("Tue 22:00").due()


def test_a_night_when_the_clocks_go_forward_is_an_hour_shorter() -> None:
    """00:00-24:00 in New York on 2024-03-10 is 23 hours (F-04)."""
    york = week("00:00-24:00", zone="America/New_York", days=range(7))
    spring = ticket("2024-03-10T00:00-05:00", york, response="3h", thresholds=[50])
    assert instant("2024-03-10T08:00Z") == spring.clocks().response.due_at
    assert instant("2024-03-10T06:30Z") == spring.clocks().crossings[0].crossed_at
    fall = ticket("2024-11-03T00:00-04:00", york, response="3h")
    assert instant("2024-11-03T07:00Z") == fall.clocks().response.due_at
    held = spring.learned("2024-03-10T07:30Z", paused("2024-03-10T06:30Z"), resumed("2024-03-10T07:30Z"))
    assert instant("2024-03-10T09:00Z") == held.clocks().response.due_at


def test_a_split_day_stands_still_over_lunch() -> None:
    """09-12 and 13-17; a pause over lunch costs nothing (F-40)."""
    split = week("09:00-12:00", "13:00-17:00")
    assert "Mon 13:30" == ticket("Mon 11:30", split, response="1h").due()
    assert "Mon 13:30" == ticket("Mon 11:30", split, response="1h").paused("Mon 12:00").resumed("Mon 13:00").due()


def test_a_desk_that_never_opens_raises() -> None:
    """There is no instant to wait for (F-39)."""
    closed = week("09:00-17:00", days=())
    with pytest.raises(NeverOpens):
        settle(ticket(schedule=closed, response="1h").log, (), instant("Mon 10:00"))


def test_a_week_on_the_round_clock() -> None:
    """24x7 counts every minute."""
    assert "Sun 09:00" == ticket("Sat 09:00", ALWAYS, response="24h").due()
    assert span("24h") == OFFICE.elapsed(instant("Mon 09:00"), instant("Wed 17:00"))
    assert FactKind.STARTED is ticket().log[0].kind
