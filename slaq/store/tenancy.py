"""Whose rows the code inside works on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from slaq.errors import TenantRequired

_tenant: ContextVar[str | None] = ContextVar("slaq_tenant", default=None)


@contextmanager
def run_with_tenant(tenant: str) -> Generator[None, None, None]:
    """Run the code inside for ``tenant``; it may be nested, and holds for tasks started inside.

    Raises ``TenantRequired`` when ``tenant`` is empty or no text that Postgres can hold.
    """
    if not _is_text(tenant):
        raise TenantRequired(f"a tenant is a non-empty string without NUL characters, not {tenant!r}")
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value and value == value.encode(errors="ignore").decode()


def current_tenant() -> str:
    """The tenant of the surrounding ``run_with_tenant``; raises ``TenantRequired`` outside of one."""
    tenant = _tenant.get()
    if tenant is None:
        raise TenantRequired("no tenant is set: call this inside `with run_with_tenant(tenant):`")
    return tenant
