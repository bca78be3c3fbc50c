"""Applying a configuration: in the caller's transaction, all or nothing, writing only what differs."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import psycopg
from psycopg import AsyncConnection, Connection

from slaq.configuration import Configuration, TenantConfiguration
from slaq.configuration.difference import Change, Difference, State, compare, plan
from slaq.configuration.records import KINDS, Policy, Record, Schedule, Tenant
from slaq.errors import InvalidConfiguration, InvalidTicket, UnknownReference
from slaq.store.database import Row, Statement, Steps, run, run_async
from slaq.store.queries import DEFAULT_SCHEMA, query

__all__ = ["Change", "Difference", "apply", "apply_async"]


def apply(
    conn: Connection[Any],
    configuration: Configuration,
    *,
    prune: bool = False,
    dry_run: bool = False,
    schema: str = DEFAULT_SCHEMA,
) -> Difference:
    """Bring the tenants of ``configuration`` to what it says, and return what that changed.

    ``prune`` removes what a table of the document does not have, for all tenants; ``dry_run`` writes
    nothing. Nothing is committed. Raises ``InvalidConfiguration`` with every mistake, and then
    nothing is changed; ``TransactionRequired``, ``ConcurrentChange``.
    """
    with _explained():
        return run(conn, _steps(configuration, schema, prune=prune, dry_run=dry_run))


async def apply_async(
    conn: AsyncConnection[Any],
    configuration: Configuration,
    *,
    prune: bool = False,
    dry_run: bool = False,
    schema: str = DEFAULT_SCHEMA,
) -> Difference:
    """See ``apply``."""
    with _explained():
        return await run_async(conn, _steps(configuration, schema, prune=prune, dry_run=dry_run))


@contextmanager
def _explained() -> Generator[None, None, None]:
    """What the database refused after all, as a mistake of the configuration."""
    try:
        yield
    except (UnknownReference, InvalidTicket, psycopg.IntegrityError, psycopg.DataError) as error:
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        diag = cause.diag if isinstance(cause, psycopg.Error) else None
        parts = (diag.table_name, diag.message_primary, diag.message_detail) if diag else (str(error),)
        raise InvalidConfiguration([": ".join(part for part in parts if part)]) from error


def _steps(configuration: Configuration, schema: str, *, prune: bool, dry_run: bool) -> Steps[Difference]:
    changes: list[Change] = []
    problems: list[str] = []
    rows = yield _statement("read_setting", schema)
    for document in configuration.tenants:
        current = yield from _read(document.tenant, schema, lock=not dry_run)
        wanted, found = plan(document, current, prune=prune)
        problems += found
        changes += compare(document.tenant, current, wanted)
    if problems:
        raise InvalidConfiguration(problems)
    if changes and not dry_run:
        yield from _write(configuration.tenants, changes, schema)
    yield _statement("set_tenant", schema, tenant=rows[0][0] or "")
    return Difference(tuple(changes))


def _read(tenant: str, schema: str, *, lock: bool) -> Steps[State]:
    """What the tenant has. Its row is locked, so that two documents are applied one after the other."""
    yield _statement("set_tenant", schema, tenant=tenant)
    created: list[Row] = []
    if lock:
        created = yield _statement("create_tenant", schema, tenant=tenant)
        yield _statement("lock_tenant", schema, tenant=tenant)
    rows = yield _statement("read_tenant", schema, tenant=tenant)
    tables: dict[str, list[dict[str, Any]]] = json.loads(rows[0][0])
    state = {kind: {record.key: record for record in (kind(**row) for row in tables[kind.table])} for kind in KINDS}
    return {**state, Tenant: {}} if created else state


def _write(documents: Iterable[TenantConfiguration], changes: list[Change], schema: str) -> Steps[None]:
    """Write each tenant's changes, then have the schedules checked now and not at the caller's commit."""
    yield _statement("defer_checks", schema)
    for document in documents:
        own = [change for change in changes if change.tenant == document.tenant]
        yield _statement("set_tenant", schema, tenant=document.tenant)
        yield from _statements(document.tenant, own, schema)
    yield _statement("check_now", schema)
    yield _statement("defer_checks", schema)


def _statements(tenant: str, changes: list[Change], schema: str) -> Steps[None]:
    """Free what must be unique, write what others refer to first, remove it last."""

    def statement(verb: str, kind: type[Record], records: list[Record]) -> Steps[None]:
        if records:
            rows = json.dumps([attrs.asdict(record) for record in records])
            yield _statement(f"{verb}_{kind.table}", schema, tenant=tenant, rows=rows)

    for kind in (Schedule, Policy):
        yield from statement("release", kind, [change.record for change in _of(kind, changes) if _releases(change)])
    for kind in KINDS:
        yield from statement("write", kind, [change.record for change in _of(kind, changes) if change.after])
    for kind in reversed(KINDS):
        yield from statement("delete", kind, [change.record for change in _of(kind, changes) if not change.after])


def _of(kind: type[Record], changes: list[Change]) -> Iterator[Change]:
    return (change for change in changes if type(change.record) is kind)


def _releases(change: Change) -> bool:
    """Whether a name or the place of the default becomes free, which another record may take."""
    before, after = change.before, change.after
    if not isinstance(before, Schedule | Policy):
        return False
    return not isinstance(after, Schedule | Policy) or before.name != after.name or before.is_default > after.is_default


def _statement(name: str, schema: str, **parameters: object) -> Statement:
    return Statement(query("configuration", name, schema), parameters)
