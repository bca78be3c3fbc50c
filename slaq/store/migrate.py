"""Bringing the database's schema to this release.

Plain, numbered, forward-only SQL files and Procrastinate's own, in one transaction under an advisory
lock: everything or nothing, in order, each with the checksum of what was applied. Running it twice,
or twice at once, changes nothing.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import re
from collections.abc import Iterator
from typing import Any, LiteralString, cast

import attrs
import psycopg
from psycopg import Connection, sql

from slaq.errors import MigrationError
from slaq.store.queries import checked_schema, in_schema, sql_directory

_BASELINE = "baseline"


@attrs.frozen
class Migration:
    """One file of one component, as it would be run in a given schema."""

    component: str
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


@attrs.frozen
class Step:
    """A migration and whether the database has it."""

    migration: Migration
    is_applied: bool


def migrations(schema: str) -> list[Migration]:
    """Everything this release needs, in order: Procrastinate's tables, then slaq's."""
    own = sorted((sql_directory() / "migrations").glob("*.sql"))
    return [
        *_engine_migrations(),
        *(Migration("slaq", path.stem, in_schema(path.read_text(encoding="utf-8"), schema)) for path in own),
    ]


def _engine_migrations() -> Iterator[Migration]:
    """Procrastinate's schema as a baseline; on an older baseline its later migration files follow one by one."""
    files = importlib.resources.files("procrastinate.sql")
    version = importlib.metadata.version("procrastinate")
    baseline = files.joinpath("schema.sql").read_text(encoding="utf-8")
    yield Migration("procrastinate", f"{_BASELINE}-{version}", baseline)
    later = sorted(f.name for f in files.joinpath("migrations").iterdir() if re.match(r"\d\d\.\d\d\.\d\d_", f.name))
    for name in later:
        yield Migration(
            "procrastinate", name.removesuffix(".sql"), files.joinpath("migrations", name).read_text("utf-8")
        )


def status(conn: Connection[Any], schema: str) -> list[Step]:
    """What is applied and what is not, without changing anything."""
    with conn.transaction():
        return list(_steps(_applied(conn, checked_schema(schema)), schema))


def migrate(conn: Connection[Any], schema: str) -> list[Migration]:
    """Apply what is missing and return it. ``conn`` needs a login that may create roles and schemas.

    Raises ``MigrationError`` when a file fails or one that was applied has been edited since; then
    nothing is changed.
    """
    checked_schema(schema)
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('slaq migrate ' || %s, 0))", [schema])
        conn.execute("SET LOCAL client_min_messages = warning")
        _run(conn, Migration("slaq", "roles", in_schema(_read("roles.sql"), schema)))
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(f"{schema}_owner")))
        conn.execute(sql.SQL("SET LOCAL search_path = {}, pg_temp").format(sql.Identifier(schema)))
        conn.execute(in_schema_literal(_LEDGER, schema))
        missing = [step.migration for step in _steps(_applied(conn, schema), schema) if not step.is_applied]
        for migration in missing:
            _run(conn, migration)
            conn.execute(in_schema_literal(_NOTE, schema), [migration.component, migration.name, migration.checksum])
        for migration in _baselined(missing):
            conn.execute(in_schema_literal(_NOTE, schema), [migration.component, migration.name, migration.checksum])
        _run(conn, Migration("slaq", "engine", in_schema(_read("engine.sql"), schema)))
    return missing


def grant(conn: Connection[Any], schema: str, role: str, *, to_worker: bool = False) -> None:
    """Give ``role`` the rights of an application, or with ``to_worker`` of a worker."""
    group = f"{checked_schema(schema)}_{'worker' if to_worker else 'application'}"
    statement = sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role))
    try:
        with conn.transaction():
            conn.execute(statement)
    except psycopg.Error as error:
        raise MigrationError(f"cannot grant {group} to {role!r}: {error}") from error


def in_schema_literal(statement: LiteralString, schema: str) -> LiteralString:
    return cast("LiteralString", in_schema(statement, schema))


_LEDGER: LiteralString = """
    CREATE TABLE IF NOT EXISTS slaq.schema_migrations (
        component text NOT NULL,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (component, name)
    )
"""
_NOTE: LiteralString = """
    INSERT INTO slaq.schema_migrations (component, name, checksum) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""
_APPLIED: LiteralString = "SELECT component, name, checksum FROM slaq.schema_migrations"


def _read(name: str) -> str:
    return (sql_directory() / name).read_text(encoding="utf-8")


def _applied(conn: Connection[Any], schema: str) -> dict[tuple[str, str], str]:
    row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.schema_migrations"]).fetchone()
    if row is None or not row[0]:
        return {}
    rows = conn.execute(in_schema_literal(_APPLIED, schema)).fetchall()
    return {(component, name): checksum for component, name, checksum in rows}


def _steps(applied: dict[tuple[str, str], str], schema: str) -> Iterator[Step]:
    """Every migration with whether it is applied; those that a baseline contains count as applied."""
    has_baseline = any(component == "procrastinate" and name.startswith(_BASELINE) for component, name in applied)
    for migration in migrations(schema):
        is_baseline = migration.name.startswith(_BASELINE)
        known = applied.get((migration.component, migration.name))
        if migration.component == "slaq" and known not in (None, migration.checksum):
            raise MigrationError(
                f"{migration.component} {migration.name} was edited after it was applied "
                f"(applied {known}, now {migration.checksum}): migrations only go forward, add a new one"
            )
        if migration.component == "procrastinate" and not is_baseline and not has_baseline:
            continue  # a new installation gets them with the baseline
        yield Step(migration, is_applied=known is not None or (is_baseline and has_baseline))


def _baselined(run: list[Migration]) -> Iterator[Migration]:
    """The files that a freshly applied baseline already contains."""
    if any(m.component == "procrastinate" and m.name.startswith(_BASELINE) for m in run):
        yield from (m for m in _engine_migrations() if not m.name.startswith(_BASELINE))


def _run(conn: Connection[Any], migration: Migration) -> None:
    try:
        # one unparametrised string may hold many statements; the text is a file of this package
        conn.execute(migration.text.encode())
    except psycopg.Error as error:
        hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
        raise MigrationError(
            f"{migration.component} {migration.name} failed, nothing was changed: {error}{hint}"
        ) from error
