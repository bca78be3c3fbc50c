"""Laws of the clock: what holds for every schedule, promise and history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from slaq.facts import Fact, FactKind, PauseSource
from slaq.phase import PhaseClock, State, is_reached
from slaq.promise import Kind, Promise
from slaq.timeline import Clocks, Headline, Record, Settlement, expected, fold, settle, settle_change

from .draw import END, START, changes, gaps, logs, offsets
from .draw import promises as draw_promises

INSTANT = timedelta(microseconds=1)
PERCENTS = (1, 33, 50, 75, 90, 100, 101, 120, 200, 300)

law = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def clocks_of(log: Sequence[Fact]) -> Clocks:
    clocks = fold(log)
    assert clocks is not None
    return clocks


def stored(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records with the row ids that a store would give them."""
    return tuple(attrs.evolve(record, row=str(position)) for position, record in enumerate(records))


def rows(records: Sequence[Record]) -> Counter[Record]:
    """What is compared: crossings and whether they are voided."""
    return Counter(attrs.evolve(record, row=None) for record in records)


class Desk:
    """A ticket as it is lived through: changes as they arrive, timers whenever they come."""

    def __init__(self) -> None:
        self.facts: tuple[Fact, ...] = ()
        self.records: tuple[Record, ...] = ()
        self.settlements: list[Settlement] = []

    def timer(self, now: datetime) -> Settlement:
        return self._keep(settle(self.facts, self.records, now))

    def change(self, new: Sequence[Fact]) -> Settlement:
        settlement = settle_change(self.facts, new, self.records, new[0].known_at)
        self.facts += tuple(new)
        return self._keep(settlement)

    def _keep(self, settlement: Settlement) -> Settlement:
        self.records = stored(settlement.records)
        self.settlements.append(settlement)
        return settlement

    def live(self, log: Sequence[Fact], timers: Sequence[datetime], until: datetime) -> Desk:
        """The whole log, with ``timers`` between the changes; a timer at the instant of a change comes after it."""
        waiting = sorted(timers)
        for new in changes(log):
            while waiting and waiting[0] < new[0].known_at:
                self.timer(waiting.pop(0))
            self.change(new)
        for now in waiting:
            self.timer(max(now, log[-1].known_at))
        self.timer(until)
        return self


instants = st.lists(
    st.tuples(st.integers(0, 9), gaps).map(lambda each: START + each[0] * timedelta(days=1) + each[1]), max_size=8
)


# ── folding ─────────────────────────────────────────────────────────────────────────────────────


@law
@given(logs(late=True), st.randoms(use_true_random=False))
def test_facts_of_different_instants_may_arrive_in_any_order(log: list[Fact], chance: object) -> None:
    """The fold is the same for every order of arrival."""
    distinct = list({each.at: each for each in reversed(log) if each.kind is not FactKind.STARTED}.values())
    ordered = [log[0], *(each for each in distinct if each.at != log[0].at)]
    shuffled = ordered[:]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(ordered) == fold(shuffled)


@law
@given(logs(late=True), st.data())
def test_a_fact_that_arrives_again_changes_nothing(log: list[Fact], data: st.DataObject) -> None:
    """However late, and whatever has happened since."""
    plain = [each for each in log if each.kind is not FactKind.RETARGETED]
    assert fold(log) == fold([*log, data.draw(st.sampled_from(plain))])


@law
@given(logs(late=True), st.integers(0, 14 * 24), st.data())
def test_a_pause_that_costs_no_open_time_moves_nothing(log: list[Fact], hours: int, data: st.DataObject) -> None:
    """A pause in closed hours leaves every crossing, due and reading as it is."""
    log = [each for each in log if each.source is not PauseSource.MANUAL]
    schedules = [each.promise.schedule for each in log if each.promise is not None]
    at = START + timedelta(hours=hours)
    closed = [each for each in schedules[0].segments(at, at + timedelta(days=4)) if not each.is_open]
    assume(closed)
    first = closed[0]
    assume(not any(each.elapsed(first.start, first.end) for each in schedules))
    share = st.integers(0, 4)
    edges = sorted(first.start + (first.end - first.start) * data.draw(share) / 4 for _ in range(2))
    kinds = zip((FactKind.PAUSED, FactKind.RESUMED), edges, strict=True)
    pause = [Fact(kind, edge, edge, PauseSource.MANUAL) for kind, edge in kinds]
    before, after = clocks_of(log), clocks_of([*log, *pause])
    assert before.crossings == after.crossings
    for old, new in zip(before.phases, after.phases, strict=True):
        assert (old.due_at, old.finished_at) == (new.due_at, new.finished_at)
        assert [old.used(START + step * timedelta(hours=7)) for step in range(60)] == [
            new.used(START + step * timedelta(hours=7)) for step in range(60)
        ]


# ── crossings ───────────────────────────────────────────────────────────────────────────────────


def need(clock: PhaseClock, percent: int) -> timedelta:
    """The business time of a percentage, rounded up to the microsecond."""
    assert clock.target is not None
    return -(-(clock.target // INSTANT) * percent // 100) * INSTANT


@law
@given(logs(late=True))
def test_crossings_are_monotone(log: list[Fact]) -> None:
    """A higher percentage is never crossed earlier; once one is out of reach, so are the higher ones."""
    for clock in clocks_of(log).phases:
        reached = [clock.crossed_at(percent) for percent in PERCENTS]
        found = [instant for instant in reached if instant is not None]
        assert sorted(found) == found == reached[: len(found)]
        assert all(START <= instant for instant in found)


@law
@given(logs(late=True))
def test_used_time_and_crossings_agree(log: list[Fact]) -> None:
    """At a crossing exactly its share is used up, and a moment before it was not, unless it was a stop."""
    for clock in clocks_of(log).phases:
        if clock.target is None:
            continue
        for percent in PERCENTS:
            crossed_at = clock.crossed_at(percent)
            if crossed_at is None:
                assert clock.used(END) <= need(clock, percent)
                continue
            assert need(clock, percent) == clock.used(crossed_at)
            if not any(span.is_stopped and span.end is not None and span.end < crossed_at for span in clock.spans):
                assert clock.used(crossed_at - INSTANT) < need(clock, percent) or crossed_at == START


@law
@given(logs(late=True))
def test_used_time_grows_with_the_open_time_of_the_spans(log: list[Fact]) -> None:
    """It never falls, never exceeds the open time since the start, and stands still after a finish or in a pause."""
    for clock in clocks_of(log).phases:
        grid = [START + step * timedelta(hours=5) for step in range(80)]
        used = [clock.used(at) for at in grid]
        assert sorted(used) == used
        assert all(total <= clock.schedule.elapsed(START, at) for total, at in zip(used, grid, strict=True))
        stands = clock.finished_at or clock.paused_at
        assert stands is None or clock.used(stands) == clock.used(END)


@law
@given(logs(late=True))
def test_due_is_where_the_target_is_used_up(log: list[Fact]) -> None:
    """Also counted on from a finish or a running pause."""
    for clock in clocks_of(log).phases:
        due = clock.due_at
        assert (due is None) is (clock.target is None)
        if due is None or clock.target is None:
            continue
        stands = clock.finished_at or clock.paused_at
        if stands is None or due < stands:
            assert clock.target == clock.used(due) and due == clock.crossed_at(100)
        else:
            assert clock.target == clock.used(stands) + clock.schedule.elapsed(stands, due)


@law
@given(logs(late=True), instants)
def test_the_status_agrees_with_the_crossings(log: list[Fact], moments: list[datetime]) -> None:
    """Breached, at risk, met and missed say the same as the instants of the crossings."""
    clocks = clocks_of(log)
    newest = max(each.at for each in log)
    around = [each for clock in clocks.phases for each in (clock.due_at, clock.at_risk_at) if each is not None]
    for at in (newest, *moments, *around, *(each - INSTANT for each in around)):
        if at < newest:
            continue
        reading = clocks.read(at)
        for clock, phase in zip(clocks.phases, (reading.response, reading.resolution), strict=True):
            breach = any(
                c.phase is clock.phase and c.kind is Kind.BREACH and c.crossed_at <= at for c in clocks.crossings
            )
            assert breach is (phase.state in {State.BREACHED, State.MISSED}) is (clock.met(at) is False)
            assert (clock.target is None) is (phase.state is State.NONE)
            if clock.target is None:
                continue
            assert (clock.finished_at is not None) is (phase.state in {State.MET, State.MISSED})
            if phase.state in {State.RUNNING, State.AT_RISK}:
                assert clock.paused_at is None
                is_at_risk = need(clock, 75) <= phase.used < clock.target
                assert (
                    is_at_risk
                    is (phase.state is State.AT_RISK)
                    is (phase.at_risk_at is not None and phase.at_risk_at <= at)
                )
            assert (phase.state is State.MET) is (clock.met(at) is True)
        assert_headline(reading.headline, clocks, reading.response.state, reading.resolution.state)


@law
@given(logs(late=True), instants)
def test_a_paused_phase_is_due_as_if_it_resumed_at_the_instant_of_reading(
    log: list[Fact], moments: list[datetime]
) -> None:
    """The projection is the due of a ticket that is let go by every source then."""
    newest = max(each.at for each in log)
    for at in [max(each, newest) for each in moments]:
        clocks = clocks_of(log)
        resumed = clocks_of([*log, *(Fact(FactKind.RESUMED, at, at, source) for source in clocks.holds)])
        for reading, clock in zip((clocks.read(at).response, clocks.read(at).resolution), resumed.phases, strict=True):
            assert reading.due_at == clock.due_at
            if reading.remaining is not None and reading.due_at is not None and reading.state is State.PAUSED:
                assert reading.remaining == clock.schedule.elapsed(at, reading.due_at)


def assert_headline(headline: Headline, clocks: Clocks, response: State, resolution: State) -> None:
    """The order of the design, written as a table."""
    late = {State.BREACHED, State.MISSED}
    both = {response, resolution}
    table = [
        (both == {State.NONE}, Headline.NONE),
        (clocks.paused_at is not None and clocks.is_open, Headline.PAUSED),
        (response in late, Headline.RESPONSE_BREACHED),
        (resolution in late, Headline.RESOLUTION_BREACHED),
        (State.AT_RISK in both, Headline.AT_RISK),
        (State.RUNNING in both, Headline.ON_TRACK),
        (both <= {State.MET, State.NONE}, Headline.MET),
    ]
    assert next(word for applies, word in table if applies) is headline


# ── settling ────────────────────────────────────────────────────────────────────────────────────


@law
@given(logs(late=True), instants)
def test_settling_often_or_once_tells_the_same(log: list[Fact], moments: list[datetime]) -> None:
    """Between two changes it does not matter when the timers come."""
    moments = sorted(moments)
    often: tuple[Record, ...] = ()
    for now in moments:
        often = stored(settle(log, often, now).records)
    last = moments[-1] if moments else END
    once, again = settle(log, (), last), settle(log, often, last)
    assert rows(once.records) == rows(again.records)
    assert once.alarm == again.alarm


@law
@given(logs(), instants)
def test_whatever_the_timers_do_the_change_log_decides(log: list[Fact], timers: list[datetime]) -> None:
    """Timers that come late or never record what punctual ones would have, when facts are known as they happen."""
    assert rows(expected(log, END)) == rows(Desk().live(log, timers, END).records)


@law
@given(logs(), st.integers(0, 20 * 96))
def test_expected_at_an_earlier_instant_is_what_was_recorded_by_then(log: list[Fact], quarters: int) -> None:
    """Nobody knows the future."""
    until = START + quarters * timedelta(minutes=15)
    known = [each for each in log if each.known_at <= until]
    assert expected(log, until) == expected(known, until)


@law
@given(logs(late=True), instants)
def test_nothing_is_told_twice(log: list[Fact], timers: list[datetime]) -> None:
    """Whatever is voided and revived: one row per exact crossing, one live row per key, phase and level."""
    desk = Desk().live(log, timers, END)
    told = Counter(record.crossing for settlement in desk.settlements for record in settlement.told)
    assert not [crossing for crossing, times in told.items() if times > 1]
    for settlement in desk.settlements:
        every = [record.crossing for record in settlement.records]
        assert len(every) == len({(*each.key, each.crossed_at, each.level) for each in every})
        live = [record.crossing for record in settlement.records if not record.is_voided]
        assert len(live) == len({each.key for each in live})
        escalated = [(each.phase, each.level) for each in live if each.level is not None]
        assert len(escalated) == len(set(escalated))


@law
@given(logs(late=True), instants)
def test_a_settling_reports_exactly_what_it_changed(log: list[Fact], timers: list[datetime]) -> None:
    """Told, voided and revived rows are the difference between the records before and after."""
    desk = Desk().live(log, timers, END)
    before: tuple[Record, ...] = ()
    for settlement in desk.settlements:
        after = settlement.records
        assert [each.row for each in before] == [each.row for each in after[: len(before)]]
        assert Counter(after[len(before) :]) == Counter(settlement.told)
        assert [each.crossing.order for each in settlement.told] == sorted(
            each.crossing.order for each in settlement.told
        )
        pairs = list(zip(before, after, strict=False))
        assert [new for old, new in pairs if new.is_voided > old.is_voided] == list(settlement.voided)
        assert [new for old, new in pairs if new.is_voided < old.is_voided] == list(settlement.revived)
        before = stored(after)


@law
@given(logs(late=True), instants)
def test_live_breaches_are_those_of_the_fold(log: list[Fact], timers: list[datetime]) -> None:
    """After every settling, both ways, under any change."""
    desk = Desk()
    for settlement in desk.live(log, timers, END).settlements:
        live = {
            each.crossing for each in settlement.records if each.crossing.kind is Kind.BREACH and not each.is_voided
        }
        assert settlement.clocks is not None
        assert live == {
            each
            for each in settlement.clocks.crossings
            if each.kind is Kind.BREACH and (settlement.alarm is None or each.crossed_at < settlement.alarm)
        }


@law
@given(logs(late=True))
def test_the_alarm_is_the_instant_of_the_next_record(log: list[Fact]) -> None:
    """A moment before it nothing is told, at it something is; a clock driven by alarms alone tells all."""
    desk = Desk()
    for new, following in zip(changes(log), [*changes(log)[1:], None], strict=True):
        settlement = desk.change(new)
        limit = following[0].known_at if following else END
        while settlement.alarm is not None and settlement.alarm < limit:
            early = settle(desk.facts, desk.records, settlement.alarm - INSTANT)
            assert not early.told and not early.revived and not early.voided and early.alarm == settlement.alarm
            alarm, settlement = settlement.alarm, desk.timer(settlement.alarm)
            assert {alarm} == {record.crossing.crossed_at for record in settlement.told}
    assert rows(expected(log, END - INSTANT)) == rows(desk.records)


@law
@given(logs(late=True), offsets)
def test_only_a_retarget_voids_what_was_told(log: list[Fact], later: timedelta) -> None:
    """Late facts, reopening and timers void breaches alone."""
    desk = Desk()
    for new in changes(log):
        settlement = desk.change(new)
        if all(each.kind is not FactKind.RETARGETED for each in new):
            assert {Kind.BREACH} >= {record.crossing.kind for record in settlement.voided}
        assert not desk.timer(new[0].known_at).voided
    assert not desk.timer(log[-1].known_at + later).voided


@law
@given(logs(late=True), draw_promises())
def test_a_retarget_settles_all_rows_to_the_new_promise(log: list[Fact], promise: Promise) -> None:
    """No live row of an open phase lies ahead; a finished phase keeps its due, its verdict and its rows."""
    desk = Desk().live(log, [], log[-1].known_at)
    now = log[-1].known_at + timedelta(hours=1)
    before = desk.timer(now)
    after = desk.change([Fact(FactKind.RETARGETED, now, now, promise=promise, change=1000)])
    assert before.clocks is not None and after.clocks is not None
    for old, new in zip(before.clocks.phases, after.clocks.phases, strict=True):
        live = [each.crossing for each in after.records if not each.is_voided and each.crossing.phase is new.phase]
        if new.finished_at is not None:
            assert (old.target, old.due_at, old.met(now)) == (new.target, new.due_at, new.met(now))
            assert live == [
                each.crossing for each in before.records if not each.is_voided and each.crossing.phase is new.phase
            ]
        elif new.target is not None:
            assert all(is_reached(new.crossed_at(each.percent), now) for each in live)


@law
@given(logs(late=True), st.data())
def test_there_and_back_again_is_where_it_was(log: list[Fact], data: st.DataObject) -> None:
    """What stood at its exact instant before a retarget stands again, and untold, when it is taken back at once."""
    desk = Desk().live(log, [], log[-1].known_at)
    promises = [each.promise for each in log if each.promise is not None]
    now = log[-1].known_at + timedelta(hours=1)
    before = desk.timer(now)
    other = data.draw(st.sampled_from(promises) | draw_promises())
    for change, promise in ((1000, other), (1001, promises[-1])):
        desk.change([Fact(FactKind.RETARGETED, now, now, promise=promise, change=change)])
    assert before.clocks is not None and desk.settlements[-1].clocks is not None
    standing = {
        each.row
        for each in stored(before.records)
        if not each.is_voided
        and each.crossing.crossed_at == before.clocks.of(each.crossing.phase).crossed_at(each.crossing.percent)
    }
    taken = {slot for each in desk.records[len(before.records) :] if not each.is_voided for slot in each.crossing.slots}
    for each in desk.records:
        if each.row in standing and taken.isdisjoint(each.crossing.slots):
            assert not each.is_voided
