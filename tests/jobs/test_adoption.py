"""A database that ran Procrastinate before is taken over as it is."""

from __future__ import annotations

import psycopg
from procrastinate import App, PsycopgConnector

from slaq.jobs import SyncJobQueue
from slaq.postgres import APP, EmbeddedPostgres
from slaq.store import migrate as migrations


async def test_jobs_of_an_older_schema_survive(server: EmbeddedPostgres, monkeypatch) -> None:
    """Migrate as far as the queues, let Procrastinate queue jobs, then migrate the rest: nothing is lost or run twice."""
    name = server.create_database("adopted")
    every = migrations.migrations
    try:
        monkeypatch.setattr(
            migrations,
            "migrations",
            lambda schema: [m for m in every(schema) if m.component != "slaq" or m.name < "0020"],
        )
        with psycopg.connect(server.admin_conninfo(name), autocommit=True) as admin:
            migrations.migrate(admin, "slaq")
            migrations.grant(admin, "slaq", APP, to_worker=True)
        app = App(connector=PsycopgConnector(conninfo=server.conninfo(name), kwargs={"options": "-c search_path=slaq"}))
        seen = []

        @app.task(name="old", queue="old")
        async def old(n):
            seen.append(n)
            if n == 3:
                raise ValueError("as before")

        async with app.open_async():
            for n in range(5):
                await old.defer_async(n=n)
            monkeypatch.setattr(migrations, "migrations", every)
            with psycopg.connect(server.admin_conninfo(name), autocommit=True) as admin:
                assert migrations.migrate(admin, "slaq")
                assert migrations.migrate(admin, "slaq") == []
            await old.defer_async(n=5)
            await app.run_worker_async(queues=["old"], wait=False)
        assert sorted(seen) == [0, 1, 2, 3, 4, 5]
        queue = SyncJobQueue()
        with psycopg.connect(server.conninfo(name), autocommit=True) as conn:
            queue.create_queue(conn, "new")
            assert queue.send(conn, "new")
            states = conn.execute(
                "SELECT status::text, count(*) FROM slaq.procrastinate_jobs WHERE queue_name = 'old' GROUP BY 1"
            ).fetchall()
            assert dict(states) == {"succeeded": 5, "failed": 1}
            assert [job.queue for job in queue.find_jobs(conn)] == ["new"]
    finally:
        server.drop_database(name)
