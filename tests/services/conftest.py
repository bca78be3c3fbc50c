"""The desks of these tests."""

from __future__ import annotations

from services.fixtures import desk, lone_desk, other_desk, shared_dsn

__all__ = ["desk", "lone_desk", "other_desk", "shared_dsn"]
