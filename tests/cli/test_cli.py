"""The command line: cheap to start, plain to read, exit codes that scripts can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from slaq import SyncSlaService, Ticket, run_with_tenant
from slaq.clock import utc_now

DESK = """
[tenants.acme]
name = "Acme"
[tenants.acme.users]
ada = { name = "Ada", email = "ada@acme.example" }
[tenants.acme.priorities]
high = { name = "High" }
[tenants.acme.statuses]
new = { name = "New" }
hold = { name = "Hold", pauses_sla = true }
[tenants.acme.policies.gold]
name = "Gold"
is_default = true
targets = { high = { response = "1h", resolution = "8h", is_24x7 = true } }
[tenants.acme.boards.desk]
name = "Desk"
manager = "ada"
"""

Slaq = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def slaq(dsn: str, tmp_path: Path) -> Slaq:
    """Run ``slaq`` against this test's database."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLAQ_", "PG"))}
        return subprocess.run(
            [sys.executable, "-m", "slaq", *arguments],
            check=False, capture_output=True, text=True, cwd=tmp_path,
            env={**clean, "SLAQ_DATABASE_URL": dsn, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        )  # fmt: skip

    return call


@pytest.fixture
def desk(slaq: Slaq, tmp_path: Path, app_conn: Connection[Any]) -> Slaq:
    (tmp_path / "desk.toml").write_text(DESK)
    assert slaq("apply", "desk.toml").returncode == 0
    ticket = Ticket(ticket_id="T-1", title="Printer [on] fire", entered_at=utc_now(), board_id="desk", priority_id="high",
                    status_id="new", assigned_to="ada")  # fmt: skip
    with run_with_tenant("acme"):
        SyncSlaService().sync_ticket(app_conn, ticket)
        SyncSlaService().sync_ticket(
            app_conn, Ticket(ticket_id="T-2", entered_at=utc_now(), priority_id="high", status_id="hold")
        )
        app_conn.commit()
    return slaq


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    program = (
        "import sys; sys.argv = ['slaq', '--help']\n"
        "from slaq.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'psycopg', 'procrastinate', 'temporalio', 'rich', 'pendulum'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    for command in ("worker", "migrate", "apply", "ticket", "explain", "delivery", "postgres", "demo", "completion"):
        assert f"\n  {command} " in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_every_command_has_help(slaq: Slaq) -> None:
    for command in (["worker"], ["migrate"], ["apply"], ["ticket", "show"], ["ticket", "list"], ["explain"], ["delivery", "list"],
                    ["delivery", "resend"], ["postgres", "status"], ["demo"], ["completion"]):  # fmt: skip
        done = slaq(*command, "--help")
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout.startswith("Usage:")


def test_unknown_command_exits_2_and_names_a_near_one(slaq: Slaq) -> None:
    done = slaq("tickets")
    assert done.returncode == 2
    assert "Did you mean ticket?" in done.stderr


def test_completion_script_is_printed(slaq: Slaq) -> None:
    assert "_SLAQ_COMPLETE" in slaq("completion", "bash").stdout


def test_apply_prints_the_difference_and_then_nothing(slaq: Slaq, tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text(DESK)
    dry = slaq("apply", "desk.toml", "--dry-run")
    assert dry.returncode == 0
    assert "+ policy gold" in dry.stdout
    assert slaq("apply", "desk.toml").stdout == dry.stdout
    assert slaq("apply", "desk.toml").stdout == "nothing to change\n"


def test_apply_reports_all_mistakes_and_exits_1(slaq: Slaq, tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text(
        DESK.replace('response = "1h"', 'response = "-1h"').replace("ada@acme.example", "ada")
    )
    done = slaq("apply", "desk.toml")
    assert done.returncode == 1
    assert "tenants.acme.users.ada.email" in done.stderr
    assert "tenants.acme.policies.gold.targets.high.response" in done.stderr
    assert "Traceback" not in done.stderr


def test_ticket_show_is_readable_and_has_json(desk: Slaq) -> None:
    page = desk("ticket", "show", "T-1", SLAQ_TENANT="acme").stdout
    for wanted in ("T-1", "Printer [on] fire", "on_track", "Gold", "response", "resolution", "sla_started"):
        assert wanted in page
    document = json.loads(desk("ticket", "show", "T-1", "--tenant", "acme", "--json").stdout)
    assert document["status"]["status"] == "on_track"
    assert document["status"]["response"]["target_minutes"] == 60
    assert [fact["kind"] for fact in document["facts"]] == ["started"]


def test_ticket_show_of_an_unknown_ticket_or_tenant_exits_1(desk: Slaq) -> None:
    for arguments in (("T-9", "acme"), ("T-1", "other")):
        done = desk("ticket", "show", arguments[0], "--tenant", arguments[1])
        assert done.returncode == 1
        assert "has no ticket" in done.stderr


def test_ticket_lists(desk: Slaq) -> None:
    assert [t["ticket_number"] for t in json.loads(desk("ticket", "list", "--tenant", "acme", "--json").stdout)] == [
        "T-1",
        "T-2",
    ]
    assert [
        t["ticket_number"] for t in json.loads(desk("ticket", "list", "--paused", "--tenant", "acme", "--json").stdout)
    ] == ["T-2"]
    assert desk("ticket", "list", "--breached", "--tenant", "acme").stdout == "no tickets\n"


def test_wrong_settings_are_named(slaq: Slaq) -> None:
    done = slaq("ticket", "list", "--tenant", "acme", SLAQ_LOOP_INTERVAL="soon")
    assert done.returncode == 1
    assert "loop_interval" in done.stderr
    assert "soon" in done.stderr


def test_a_database_that_is_not_there_is_one_line(slaq: Slaq, tmp_path: Path) -> None:
    done = slaq("ticket", "list", "--tenant", "acme", SLAQ_DATABASE_URL=f"host={tmp_path} dbname=x")
    assert done.returncode == 1
    assert done.stderr.startswith("slaq: cannot reach Postgres")
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_migrated_says_what_to_do(slaq: Slaq, server: Any) -> None:
    name = server.create_database(f"bare_{os.getpid()}")
    try:
        done = slaq("ticket", "list", "--tenant", "acme", SLAQ_DATABASE_URL=server.conninfo(name))
        assert done.returncode == 1
        assert "run `slaq migrate`" in done.stderr
    finally:
        server.drop_database(name)


def test_ticket_show_at_another_instant(desk: Slaq) -> None:
    later = desk("ticket", "show", "T-1", "--tenant", "acme", "--at", "2126-01-01 10:00+01:00", "--json")
    status = json.loads(later.stdout)["status"]
    assert (status["at"], status["status"]) == ("2126-01-01T09:00:00+00:00", "response_breached")
    refused = desk("ticket", "show", "T-1", "--tenant", "acme", "--at", "soon")
    assert refused.returncode == 2
    assert "soon" in refused.stderr


def test_explain_adds_up_to_the_target(desk: Slaq) -> None:
    lines = json.loads(desk("explain", "T-1", "--tenant", "acme", "--json").stdout)["response"]
    assert lines[-1]["total_seconds"] == 3600
    assert "due " in desk("explain", "T-1", "--tenant", "acme").stdout
    assert "standing still" in desk("explain", "T-2", "--tenant", "acme").stdout


def test_without_a_database_the_embedded_one_is_used_and_named(slaq: Slaq, tmp_path: Path) -> None:
    try:
        assert slaq("postgres", "status", SLAQ_DATABASE_URL="").returncode == 1
        assert "migrations applied" in slaq("migrate", SLAQ_DATABASE_URL="").stdout
        listed = slaq("ticket", "list", "--tenant", "acme", SLAQ_DATABASE_URL="")
        assert (listed.returncode, listed.stdout) == (0, "no tickets\n")
        assert listed.stderr.count("\n") == 1
        assert "embedded Postgres in" in listed.stderr
        assert slaq("postgres", "status", SLAQ_DATABASE_URL="").stdout.startswith("running")
    finally:
        assert slaq("postgres", "stop", SLAQ_DATABASE_URL="").stdout == "stopped\n"
