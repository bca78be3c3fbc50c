"""The interface, the factory, and the edition."""

from __future__ import annotations

import inspect
import subprocess
import sys

import attrs
import psycopg
import pytest

from slaq.backends.base import SlaBackend
from slaq.backends.polling import PollingSlaBackend
from slaq.backends.select import SlaBackendFactory
from slaq.backends.temporal import TemporalSlaBackend
from slaq.config import Settings

from .scenarios import load
from .ways import past_the_poller

METHODS = ("start_sla_tracking", "pause_sla", "resume_sla", "complete_sla", "cancel_sla", "get_sla_status")


def test_the_factory_chooses_by_edition() -> None:
    community = Settings(database_url="x")
    assert isinstance(SlaBackendFactory(community).get_backend(), PollingSlaBackend)
    enterprise = SlaBackendFactory(attrs.evolve(community, edition="enterprise"))
    assert isinstance(enterprise.get_backend(), TemporalSlaBackend)
    assert enterprise.get_backend() is enterprise.get_backend(), "so that it warns once"


@pytest.mark.parametrize("method", METHODS)
def test_criterion_9_both_backends_have_the_same_six_methods_each_with_the_tenant(method: str) -> None:
    wanted = list(inspect.signature(getattr(SlaBackend, method)).parameters)
    assert wanted[1:3] == ["tenant", "ticket_id"]
    for backend in (PollingSlaBackend, TemporalSlaBackend):
        assert list(inspect.signature(getattr(backend, method)).parameters) == wanted


async def test_criterion_7_community_is_polled_as_ever(dsn: str, superuser_dsn: str) -> None:
    """The poller tells everything; nothing waits for a Temporal that there is not."""
    scenario = next(one for one in load() if one.name == "answered late, resolved in time")
    (lived,) = await past_the_poller(dsn, [scenario])
    assert lived.rows == sorted(scenario.crossings)
    assert set(lived.claimed.values()) == {"polling"}
    async with await psycopg.AsyncConnection.connect(superuser_dsn) as conn:
        for table, rows in (("sla_outbox", 0), ("sla_workflows", 0), ("sla_alarms WHERE backend = 'polling'", 1)):
            cursor = await conn.execute(f"SELECT count(*) FROM slaq.{table}".encode())
            assert await cursor.fetchone() == (rows,)


def test_neither_applications_nor_the_poller_import_temporalio() -> None:
    code = (
        "import sys, slaq, slaq.jobs.worker, slaq.backends.select, slaq.services.service, slaq.commands.worker, slaq.demo.run;"
        "sys.exit(any(name.split('.')[0] == 'temporalio' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
