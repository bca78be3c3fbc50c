"""Applying a document to a database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection, errors, sql

from slaq.configuration import Configuration
from slaq.errors import InvalidConfiguration, TransactionRequired
from slaq.services.apply import Difference, apply, apply_async

EXAMPLE = Path(__file__).parents[2] / "examples" / "servicedesk.toml"
TABLES = (
    "tenants", "sla_settings", "users", "priorities", "statuses", "status_sla_pause_config", "business_hours_schedules",
    "business_hours_entries", "holidays", "sla_policies", "sla_policy_targets", "sla_notification_thresholds",
    "clients", "boards", "escalation_managers",
)  # fmt: skip
OFFICE = {"timezone": "Europe/Berlin", "hours": {"mon-fri": ["09:00-12:00", "13:00-17:00"]}}


def base() -> dict[str, Any]:
    """A small tenant with a record of every kind."""
    return {
        "name": "Acme",
        "holidays": ["12-25 Christmas"],
        "settings": {"pause_on_awaiting_client": False},
        "users": {"ada": {"email": "ada@acme.example"}, "bob": {}},
        "priorities": {"high": {"itil_level": 2}, "low": {}},
        "statuses": {"waiting": {"pauses_sla": True}, "closed": {"is_closed": True}},
        "schedules": {"berlin": {**OFFICE, "is_default": True, "holidays": ["05-01", "2026-04-03 Good Friday"]}},
        "policies": {
            "gold": {
                "is_default": True,
                "schedule": "berlin",
                "targets": {"high": {"response": "30m"}, "low": {"resolution": "8h"}},
                "thresholds": {"50": {}, "75": {"channels": ["email"]}},
            }
        },
        "clients": {"globex": {"policy": "gold"}},
        "boards": {"desk": {"manager": "ada", "policy": "gold", "escalation_managers": {"1": {"manager": "bob"}}}},
    }


def put(
    conn: Connection, document: dict[str, Any], tenant: str = "acme", *, prune: bool = False, dry_run: bool = False
) -> Difference:
    return apply(conn, Configuration.of(document, tenant=tenant), prune=prune, dry_run=dry_run)


def lines(difference: Difference) -> list[str]:
    return [str(change) for change in difference]


def problems(conn: Connection, document: dict[str, Any], *, prune: bool = False) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        put(conn, document, prune=prune)
    return caught.value.problems


def rows(conn: Connection, table: str, tenant: str = "acme") -> list[tuple[Any, ...]]:
    """All columns of a table, the version of each row included."""
    conn.execute("SELECT set_config('slaq.tenant', %s, true)", [tenant])
    statement = sql.SQL("SELECT xmin::text, ctid::text, t.* FROM slaq.{} t ORDER BY 1, 2").format(sql.Identifier(table))
    return conn.execute(statement).fetchall()


def everything(conn: Connection, tenant: str = "acme") -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(conn, table, tenant) for table in TABLES}


def resyncs(conn: Connection) -> list[str]:
    found = conn.execute(
        "SELECT args -> 'data' ->> 'tenant' FROM slaq.procrastinate_jobs WHERE queue_name = 'sla-resync' ORDER BY 1"
    )
    return [tenant for (tenant,) in found]


def sql_as(conn: Connection, statement: Any, tenant: str = "acme") -> None:
    conn.execute("SELECT set_config('slaq.tenant', %s, true)", [tenant])
    conn.execute(statement)


def together(conn: Connection, other: Callable[[], None]) -> None:
    """Run ``other`` until it waits for ``conn``, then commit."""
    thread = threading.Thread(target=other)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive(), "the other one waits"
    conn.commit()
    thread.join()


# ── idempotent, nothing but the difference ──


def test_applying_again_writes_nothing(app_conn: Connection) -> None:
    configuration = Configuration.load(EXAMPLE)
    assert apply(app_conn, configuration)
    app_conn.commit()
    assert resyncs(app_conn) == ["acme", "kiwi"]
    app_conn.execute("DELETE FROM slaq.procrastinate_jobs")
    before = everything(app_conn), everything(app_conn, "kiwi")
    assert not apply(app_conn, configuration)
    app_conn.commit()
    assert (everything(app_conn), everything(app_conn, "kiwi")) == before
    assert resyncs(app_conn) == []


def test_f54_a_change_asks_for_a_resync_in_the_same_transaction(app_conn: Connection) -> None:
    put(app_conn, base())
    app_conn.commit()
    app_conn.execute("DELETE FROM slaq.procrastinate_jobs")
    put(app_conn, {"statuses": {"waiting": {"pauses_sla": False}}})
    app_conn.commit()
    assert resyncs(app_conn) == ["acme"]


def test_a_dry_run_tells_the_same_and_changes_nothing(app_conn: Connection) -> None:
    app_conn.execute("SET TRANSACTION READ ONLY")
    told = put(app_conn, base(), dry_run=True)
    assert everything(app_conn) == {table: [] for table in TABLES}
    app_conn.rollback()
    assert put(app_conn, base()) == told
    assert not put(app_conn, base(), dry_run=True)


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set the value at a dotted path of the document; ``None`` removes it."""

    def edit(document: dict[str, Any]) -> None:
        *parents, key = path.split(".")
        for parent in parents:
            document = document[parent]
        if value is None:
            del document[key]
        else:
            document[key] = value

    return edit


CHANGES: list[tuple[str, Any, list[str]]] = [
    ("name", "Acme Ltd", ["~ tenant acme: name Acme -> Acme Ltd"]),
    ("settings", {}, ["~ settings: pause_on_awaiting_client false -> true"]),
    ("users.carl", {"email": "c@x.y"}, ["+ user carl: name carl, email c@x.y"]),
    ("users.ada", {}, ["~ user ada: email ada@acme.example -> none"]),
    ("priorities.low.itil_level", 4, ["~ priority low: itil_level none -> 4"]),
    ("statuses.waiting", {"name": "Waiting"}, ["~ status waiting: name waiting -> Waiting, pauses_sla true -> false"]),
    ("statuses.closed.pauses_sla", True, ["~ status closed: pauses_sla false -> true"]),
    ("schedules.berlin.timezone", "Europe/Paris", ["~ schedule berlin: timezone Europe/Berlin -> Europe/Paris"]),
    ("schedules.berlin.hours.mon-fri", ["09:00-12:30"], [
        *(f"~ hours berlin {day} 09:00: end 12:00 -> 12:30" for day in ("mon", "tue", "wed", "thu", "fri")),
        *(f"- hours berlin {day} 13:00" for day in ("mon", "tue", "wed", "thu", "fri")),
    ]),
    ("schedules.berlin.hours.sat", ["10:00-14:00"], ["+ hours berlin sat 10:00: end 14:00"]),
    ("schedules.berlin.holidays", ["05-01 Labour Day", "12-31"], [
        "~ holiday berlin 05-01: name  -> Labour Day", "+ holiday berlin 12-31", "- holiday berlin 2026-04-03"]),
    ("holidays", ["12-26"], ["+ holiday 12-26", "- holiday 12-25"]),
    ("holidays", ["12-25 Xmas"], ["~ holiday 12-25: name Christmas -> Xmas"]),
    ("policies.gold.name", "Gold", ["~ policy gold: name gold -> Gold"]),
    ("policies.gold.schedule", None, ["~ policy gold: schedule berlin -> none"]),
    ("policies.gold.targets.high", {"response": 45, "escalation": {1: 50}, "is_24x7": True}, [
        "~ target gold high: response 30m -> 45m, escalation [70, 90, 110] -> [50, none, none], is_24x7 false -> true"]),
    ("policies.gold.targets.low", None, ["- target gold low"]),
    ("policies.gold.thresholds.75", None, ["- threshold gold 75"]),
    ("policies.gold.thresholds.75.channels", ["email", "in_app"], [
        "~ threshold gold 75: channels [email] -> [in_app, email]"]),
    ("policies.gold.thresholds.100", {"notify": ["board_manager"]}, [
        "+ threshold gold 100: type breach, notify [board_manager]"]),
    ("clients.globex", {}, ["~ client globex: policy gold -> none"]),
    ("boards.desk.manager", "bob", ["~ board desk: manager ada -> bob"]),
    ("boards.desk.escalation_managers.1.channels", ["email"], [
        "~ escalation manager desk 1: channels [in_app, email] -> [email]"]),
    ("boards.desk.escalation_managers", {2: {"manager": "ada"}}, [
        "+ escalation manager desk 2: manager ada", "- escalation manager desk 1"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "expected"), CHANGES)
def test_only_what_differs_is_told_and_written(
    app_conn: Connection, path: str, value: Any, expected: list[str]
) -> None:
    document = base()
    put(app_conn, document)
    change(path, value)(document)
    assert lines(put(app_conn, document, dry_run=True)) == expected
    assert lines(put(app_conn, document)) == expected
    assert not put(app_conn, document)
    app_conn.commit()


def test_the_difference_is_printed_under_its_tenants(app_conn: Connection) -> None:
    document = {"tenants": {"b": {"users": {"u": {}}}, "a": {}}}
    told = apply(app_conn, Configuration.of(document))
    assert str(told) == "a:\n  + tenant a\nb:\n  + tenant b\n  + user u: name u"
    assert str(apply(app_conn, Configuration.of(document))) == ""


# ── what the document does not have ──


def test_records_and_tables_that_the_document_does_not_have_stay(app_conn: Connection) -> None:
    put(app_conn, base())
    assert lines(put(app_conn, {"users": {"carl": {}}, "policies": {}})) == ["+ user carl: name carl"]


def test_prune_removes_what_a_table_of_the_document_does_not_have(app_conn: Connection) -> None:
    put(app_conn, base())
    document = {"users": {"ada": {"email": "ada@acme.example"}}, "statuses": {}, "boards": {}, "clients": {}}
    expected = [
        "- user bob",
        "- status waiting",
        "- status closed",
        "- client globex",
        "- board desk",
    ]
    assert sorted(lines(put(app_conn, document, dry_run=True, prune=True))) == sorted(expected)
    assert sorted(lines(put(app_conn, {**document, "prune": True}))) == sorted(expected)
    assert (
        rows(app_conn, "boards")
        == rows(app_conn, "escalation_managers")
        == rows(app_conn, "status_sla_pause_config")
        == []
    )
    assert len(rows(app_conn, "sla_policy_targets")) == 2
    assert not put(app_conn, document, prune=True)
    app_conn.commit()


def test_removing_a_policy_takes_it_from_the_clients_and_boards_that_stay(app_conn: Connection) -> None:
    put(app_conn, base())
    expected = ["- policy gold", "~ client globex: policy gold -> none", "~ board desk: policy gold -> none"]
    assert lines(put(app_conn, {"policies": {}}, prune=True)) == expected
    assert rows(app_conn, "sla_policy_targets") == rows(app_conn, "sla_notification_thresholds") == []
    assert not put(app_conn, {"policies": {}}, prune=True)


def test_removing_a_priority_takes_its_targets_along(app_conn: Connection) -> None:
    put(app_conn, base())
    told = lines(put(app_conn, {"priorities": {"high": {"itil_level": 2}}}, prune=True))
    assert told == ["- priority low", "- target gold low"]


def test_a_schedule_in_use_cannot_be_removed(app_conn: Connection) -> None:
    put(app_conn, base())
    told = problems(app_conn, {"schedules": {"paris": {**OFFICE, "timezone": "Europe/Paris"}}}, prune=True)
    assert told == ['tenants.acme.schedules: "berlin" cannot be removed: policy "gold", which stays, uses it']


def test_everything_can_be_replaced_at_once(app_conn: Connection) -> None:
    put(app_conn, base())
    other: dict[str, Any] = {
        "prune": True,
        "holidays": [],
        "users": {"eve": {}},
        "priorities": {"p": {}},
        "statuses": {},
        "schedules": {"paris": {**OFFICE, "timezone": "Europe/Paris", "is_default": True}},
        "policies": {
            "new": {"name": "gold", "is_default": True, "schedule": "paris", "targets": {"p": {"response": 5}}}
        },
        "clients": {"c": {"policy": "new"}},
        "boards": {"b": {"manager": "eve", "policy": "new"}},
    }
    put(app_conn, other)
    assert not put(app_conn, other)
    assert [row[3] for row in rows(app_conn, "sla_policies")] == ["new"]
    app_conn.commit()


# ── mistakes change nothing ──


def test_references_to_what_does_not_exist_are_told_at_once_and_change_nothing(app_conn: Connection) -> None:
    put(app_conn, base())
    app_conn.execute("SELECT set_config('slaq.tenant', 'mine', true)")
    before = everything(app_conn)
    app_conn.execute("SELECT set_config('slaq.tenant', 'mine', true)")
    document = {
        "users": {"zoe": {}},
        "policies": {"silver": {"schedule": "berlim", "targets": {"hihg": {"response": 5}}}},
        "clients": {"c": {"policy": "platinum"}},
        "boards": {"b": {"manager": "adda", "escalation_managers": {1: {"manager": "nobody"}}}},
    }
    assert problems(app_conn, document) == [
        'tenants.acme.policies.silver.schedule: "berlim" is no schedule of this file or of the tenant; did you mean "berlin"?',
        'tenants.acme.policies.silver.targets.hihg: "hihg" is no priority of this file or of the tenant; did you mean "high"?',
        'tenants.acme.clients.c.policy: "platinum" is no policy of this file or of the tenant',
        'tenants.acme.boards.b.manager: "adda" is no user of this file or of the tenant; did you mean "ada"?',
        'tenants.acme.boards.b.escalation_managers.1.manager: "nobody" is no user of this file or of the tenant',
    ]
    assert app_conn.execute("SELECT current_setting('slaq.tenant')").fetchone() == ("mine",)
    assert everything(app_conn) == before


def test_mistakes_of_one_tenant_keep_the_others_from_being_written(app_conn: Connection) -> None:
    document = {"tenants": {"a": {"users": {"u": {}}}, "b": {"clients": {"c": {"policy": "p"}}}}}
    with pytest.raises(InvalidConfiguration, match=r"tenants\.b\.clients\.c\.policy"):
        apply(app_conn, Configuration.of(document))
    assert rows(app_conn, "tenants", "a") == rows(app_conn, "users", "a") == []


def test_what_only_the_database_notices_is_told_and_leaves_the_transaction_usable(app_conn: Connection) -> None:
    put(app_conn, base())
    app_conn.commit()
    app_conn.execute("CREATE TEMP TABLE mine (id integer)")
    every_day = [(date(2000, 1, 1) + timedelta(day)).strftime("%m-%d") for day in range(366)]
    [told] = problems(app_conn, {"holidays": every_day})
    assert told.startswith('schedule "berlin" never opens')
    assert app_conn.execute("SELECT count(*) FROM mine").fetchone() == (0,)
    app_conn.commit()
    assert not put(app_conn, base())


def test_what_plain_sql_wrote_in_the_meantime_is_told(app_conn: Connection, dsn: str) -> None:
    put(app_conn, base())
    app_conn.commit()
    sql_as(app_conn, "INSERT INTO slaq.sla_policies (tenant, policy_name) VALUES ('acme', 'Silver')")
    told: list[str] = []

    def apply_other() -> None:
        with closing(psycopg.connect(dsn)) as other:
            told.extend(problems(other, {"policies": {"silver": {"name": "Silver"}}}))

    together(app_conn, apply_other)
    assert told == [
        'sla_policies: duplicate key value violates unique constraint "sla_policies_tenant_policy_name_key"'
    ]


def test_a_name_that_another_policy_has_is_refused(app_conn: Connection) -> None:
    put(app_conn, base())
    [told] = problems(app_conn, {"policies": {"other": {"name": "gold"}}})
    assert told.startswith(
        'tenants.acme.policies.other.name: "gold" is already the name of policy "gold" of the tenant'
    )


def test_a_schedule_that_never_opens_is_refused_to_plain_sql_at_commit(app_conn: Connection) -> None:
    put(app_conn, base())
    app_conn.commit()
    sql_as(app_conn, "DELETE FROM slaq.business_hours_entries")
    with pytest.raises(errors.CheckViolation, match='"berlin" never opens'):
        app_conn.commit()
    assert not put(app_conn, base())


def test_checks_of_the_caller_may_be_immediate(app_conn: Connection) -> None:
    app_conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert put(app_conn, base())
    app_conn.commit()


# ── defaults and names move ──


def test_the_default_moves_between_records_of_the_document(app_conn: Connection) -> None:
    document = base()
    document["schedules"]["paris"] = {**OFFICE, "timezone": "Europe/Paris"}
    document["policies"]["silver"] = {}
    put(app_conn, document)
    for kind, old, new in (("schedules", "berlin", "paris"), ("policies", "gold", "silver")):
        document[kind][old]["is_default"] = False
        document[kind][new]["is_default"] = True
    assert sorted(lines(put(app_conn, document))) == [
        "~ policy gold: is_default true -> false",
        "~ policy silver: is_default false -> true",
        "~ schedule berlin: is_default true -> false",
        "~ schedule paris: is_default false -> true",
    ]
    assert not put(app_conn, document)
    app_conn.commit()


def test_the_default_moves_away_from_a_record_that_the_document_does_not_have(app_conn: Connection) -> None:
    put(app_conn, base())
    told = lines(put(app_conn, {"policies": {"silver": {"is_default": True, "thresholds": {}}}}))
    assert told == ["~ policy gold: is_default true -> false", "+ policy silver: name silver, is_default true"]


def test_policies_swap_their_names(app_conn: Connection) -> None:
    put(app_conn, {"policies": {"a": {"name": "One"}, "b": {"name": "Two"}}})
    swapped = {"policies": {"a": {"name": "Two"}, "b": {"name": "One"}}}
    assert lines(put(app_conn, swapped)) == ["~ policy a: name One -> Two", "~ policy b: name Two -> One"]
    assert not put(app_conn, swapped)


# ── tenants, callers ──


def test_tenants_are_isolated(app_conn: Connection) -> None:
    put(app_conn, base(), "a")
    before = everything(app_conn, "a")
    put(app_conn, base(), "b")
    assert lines(put(app_conn, {"users": {"ada": {}}, "policies": {}}, "b", prune=True)) != []
    assert everything(app_conn, "a") == before
    assert not put(app_conn, base(), "a")
    with pytest.raises(InvalidConfiguration, match='"gold" is no policy'):
        put(app_conn, {"clients": {"c": {"policy": "gold"}}}, "c")


def test_the_tenant_of_the_callers_transaction_is_restored(app_conn: Connection) -> None:
    app_conn.execute("SELECT set_config('slaq.tenant', 'mine', true)")
    put(app_conn, base())
    assert app_conn.execute("SELECT current_setting('slaq.tenant')").fetchone() == ("mine",)


def test_nothing_is_committed_and_autocommit_is_refused(app_conn: Connection) -> None:
    put(app_conn, base())
    app_conn.rollback()
    assert everything(app_conn) == {table: [] for table in TABLES}
    app_conn.rollback()
    app_conn.autocommit = True
    with pytest.raises(TransactionRequired):
        put(app_conn, base())
    with app_conn.transaction():
        assert put(app_conn, base())


def test_the_callers_settings_do_not_matter(app_conn: Connection) -> None:
    app_conn.execute("SET search_path = pg_temp; SET datestyle = 'German, DMY'; SET timezone = 'Asia/Tokyo'")
    app_conn.execute("SET intervalstyle = 'sql_standard'; SET default_transaction_isolation = 'serializable'")
    app_conn.commit()
    put(app_conn, base())
    app_conn.commit()
    assert not put(app_conn, base())


async def test_async_code_applies_as_well(async_conn: AsyncConnection) -> None:
    configuration = Configuration.of(base(), tenant="acme")
    told = await apply_async(async_conn, configuration, dry_run=True)
    assert await apply_async(async_conn, configuration) == told
    assert not await apply_async(async_conn, configuration, prune=True)
    missing = Configuration.of({"clients": {"c": {"policy": "p"}}}, tenant="acme")
    with pytest.raises(InvalidConfiguration, match='"p" is no policy'):
        await apply_async(async_conn, missing)
    await async_conn.commit()


def test_rows_that_others_wrote_are_taken_as_they_are(app_conn: Connection) -> None:
    """A recurring holiday of any year, a disabled entry, times with seconds, a pause row that says no."""
    put(app_conn, base())
    sql_as(app_conn, "UPDATE slaq.holidays SET holiday_date = '2019-12-25' WHERE schedule_id IS NULL")
    sql_as(
        app_conn,
        """
        INSERT INTO slaq.status_sla_pause_config (tenant, status_id) VALUES ('acme', 'closed')
    """,
    )
    assert not put(app_conn, base())
    sql_as(
        app_conn,
        """
        INSERT INTO slaq.business_hours_entries (tenant, schedule_id, day_of_week, start_time, end_time, is_enabled)
        VALUES ('acme', 'berlin', 6, '10:00:30', '24:00', false), ('acme', 'berlin', 0, '10:00', '24:00', false)
    """,
    )
    document = base()
    document["holidays"] = ["12-25 Xmas"]
    document["statuses"]["closed"]["pauses_sla"] = True
    document["schedules"]["berlin"]["hours"]["sun"] = ["10:00-24:00"]
    assert lines(put(app_conn, document)) == [
        "~ status closed: pauses_sla false -> true",
        "~ hours berlin sun 10:00: is_enabled false -> true",
        "- hours berlin sat 10:00:30",
        "~ holiday 12-25: name Christmas -> Xmas",
    ]
    assert not put(app_conn, document)
    assert len(rows(app_conn, "holidays")) == 3


# ── flaws of the system this comes from ──


def test_f49_one_default_even_when_two_set_it_at_once(app_conn: Connection, dsn: str) -> None:
    put(app_conn, {"policies": {"a": {}, "b": {}}})
    app_conn.commit()
    put(app_conn, {"policies": {"a": {"is_default": True}}})
    told: list[str] = []

    def apply_other() -> None:
        with closing(psycopg.connect(dsn)) as other:
            told.extend(lines(put(other, {"policies": {"b": {"is_default": True}}})))
            other.commit()

    together(app_conn, apply_other)
    assert told == ["~ policy a: is_default true -> false", "~ policy b: is_default false -> true"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE slaq.sla_policies SET is_default = true",
        "UPDATE slaq.business_hours_schedules SET is_default = true",
        "UPDATE slaq.sla_policy_targets SET response_time_minutes = 0",
        "UPDATE slaq.sla_policy_targets SET escalation_1_percent = 95",
        "UPDATE slaq.sla_notification_thresholds SET threshold_percent = 0",
        "UPDATE slaq.sla_notification_thresholds SET notification_type = 'other'",
        "UPDATE slaq.sla_notification_thresholds SET channels = '{sms}'",
        "UPDATE slaq.business_hours_entries SET end_time = start_time",
        "UPDATE slaq.holidays SET holiday_date = '2000-12-25', is_recurring = true WHERE schedule_id IS NOT NULL",
    ],
)
def test_f49_the_database_refuses_what_a_document_may_not_say(app_conn: Connection, statement: str) -> None:
    document = base()
    document["policies"]["silver"] = {}
    document["schedules"]["paris"] = OFFICE
    put(app_conn, document)
    app_conn.commit()
    with pytest.raises(psycopg.IntegrityError):
        sql_as(app_conn, statement)


def test_f49_removing_a_user_leaves_his_place_as_escalation_manager_empty(app_conn: Connection) -> None:
    put(app_conn, base())
    told = lines(put(app_conn, {"users": {}}, prune=True))
    assert told == [
        "- user ada", "- user bob", "~ board desk: manager ada -> none", "~ escalation manager desk 1: manager bob -> none"
    ]  # fmt: skip
    sql_as(app_conn, "INSERT INTO slaq.users (tenant, user_id) VALUES ('acme', 'eve')")
    sql_as(app_conn, "UPDATE slaq.escalation_managers SET manager_user_id = 'eve'")
    sql_as(app_conn, "DELETE FROM slaq.users")
    assert [row[6] for row in rows(app_conn, "escalation_managers")] == [None]
    app_conn.commit()


def itil(conn: Connection) -> list[str]:
    return lines(apply(conn, Configuration.load("itil", tenant="acme")))


def test_f50_the_itil_policy_promises_every_priority_by_its_level(app_conn: Connection) -> None:
    put(app_conn, {"priorities": {f"p{level}": {"itil_level": level} for level in range(1, 6)} | {"other": {}}})
    told = itil(app_conn)
    assert [line for line in told if "target" in line] == [
        "+ target itil-standard p1: response 15m, resolution 60m, is_24x7 true",
        "+ target itil-standard p2: response 30m, resolution 240m",
        "+ target itil-standard p3: response 60m, resolution 1440m",
        "+ target itil-standard p4: response 240m, resolution 4320m",
        "+ target itil-standard p5: response 480m, resolution 10080m",
    ]
    assert len([line for line in told if "threshold" in line]) == 4
    assert itil(app_conn) == []


def test_f50_an_existing_policy_is_completed_and_later_priorities_are_added(app_conn: Connection) -> None:
    put(app_conn, {"priorities": {"p1": {"itil_level": 1}}, "policies": {"itil-standard": {"thresholds": {}}}})
    assert [line[0] for line in itil(app_conn)] == ["~", "+", "+", "+", "+", "+"]
    put(app_conn, {"priorities": {"p2": {"itil_level": 2}}})
    assert itil(app_conn) == ["+ target itil-standard p2: response 30m, resolution 240m"]
    put(app_conn, {"priorities": {"p2": {}}})
    assert itil(app_conn) == ["- target itil-standard p2"]


def test_f50_a_policy_of_the_same_name_is_neither_taken_over_nor_doubled(app_conn: Connection) -> None:
    put(app_conn, {"priorities": {"p1": {"itil_level": 1}}, "policies": {"mine": {"name": "ITIL Standard"}}})
    with pytest.raises(
        InvalidConfiguration, match='"ITIL Standard" is already the name of policy "mine" of the tenant'
    ):
        itil(app_conn)


def test_f50_a_policy_that_would_promise_nothing_is_refused(app_conn: Connection) -> None:
    put(app_conn, {"priorities": {"high": {}}})
    with pytest.raises(InvalidConfiguration, match="no priority of this tenant has an itil_level"):
        itil(app_conn)


def test_f50_two_at_once_make_one_policy(app_conn: Connection, dsn: str) -> None:
    put(app_conn, {"priorities": {"p1": {"itil_level": 1}}})
    app_conn.commit()
    itil(app_conn)
    told: list[list[str]] = []

    def apply_other() -> None:
        with closing(psycopg.connect(dsn)) as other:
            told.append(itil(other))

    together(app_conn, apply_other)
    assert told == [[]]


def test_an_explicit_target_wins_over_that_of_the_level(app_conn: Connection) -> None:
    document = {
        "priorities": {"a": {"itil_level": 1}, "b": {"itil_level": 1}},
        "policies": {"p": {"itil_targets": {1: {"response": 10}}, "targets": {"a": {"response": 5}}, "thresholds": {}}},
    }
    assert [line for line in lines(put(app_conn, document)) if "target" in line] == [
        "+ target p a: response 5m",
        "+ target p b: response 10m",
    ]
