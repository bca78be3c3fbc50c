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

    Raises ``TenantRequired`` when ``tenant`` is empty.
    """
    if not isinstance(tenant, str) or not tenant:  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped too
        raise TenantRequired(f"a tenant is a non-empty string, not {tenant!r}")
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)


def current_tenant() -> str:
    """The tenant of the surrounding ``run_with_tenant``; raises ``TenantRequired`` outside of one."""
    tenant = _tenant.get()
    if tenant is None:
        raise TenantRequired("no tenant is set: call this inside `with run_with_tenant(tenant):`")
    return tenant
