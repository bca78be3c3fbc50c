"""Configuration files: what they say, and what is wrong with them. ``docs/configuration.md`` is the format."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from slaq.configuration.document import TenantConfiguration, read_tenant
from slaq.configuration.reader import Table, label, shown
from slaq.errors import InvalidConfiguration

__all__ = ["Configuration", "TenantConfiguration", "presets"]

_PRESETS = Path(__file__).parent.parent / "presets"


def presets() -> list[str]:
    """The names of the files that come with slaq."""
    return sorted(path.stem for path in _PRESETS.glob("*.toml"))


@attrs.frozen
class Configuration:
    """A document in which no mistake was found. Whether what it refers to exists, applying it will tell."""

    tenants: tuple[TenantConfiguration, ...]

    @classmethod
    def load(cls, source: str | Path, *, tenant: str | None = None) -> Configuration:
        """Read a file, or a preset by its bare name; see ``of`` for ``tenant`` and the errors."""
        path = Path(source)
        if str(source) in presets() and not path.exists():
            path = _PRESETS / f"{source}.toml"
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            known = ", ".join(presets())
            raise InvalidConfiguration([f"{source}: cannot be read: {error} (presets: {known})"]) from error
        return cls.parse(content, tenant=tenant)

    @classmethod
    def parse(cls, content: str, *, tenant: str | None = None) -> Configuration:
        """Read TOML; see ``of`` for ``tenant`` and the errors."""
        try:
            document = tomllib.loads(content)
        except tomllib.TOMLDecodeError as error:
            raise InvalidConfiguration([f"the file is not TOML: {error}"]) from error
        return cls.of(document, tenant=tenant)

    @classmethod
    def of(cls, document: Mapping[str, Any], *, tenant: str | None = None) -> Configuration:
        """Read a document that is already a mapping.

        With ``tenant`` it is what a file has under ``[tenants.<tenant>]``, so that one file, such as a
        preset, serves any tenant. Raises ``InvalidConfiguration`` with every mistake found in it.
        """
        problems: list[str] = []
        if tenant is None:
            table = Table((), document, problems)
            tenants = [read_tenant(name, entry) for name, entry in table.table("tenants").tables()]
            if table.has("tenants"):
                table.close()
            else:
                problems.append(
                    f"tenants: is missing: the file has {shown(list(document))}; to apply it to one tenant, name that"
                )
        else:
            _refuse_tenants(document, tenant, problems)
            tenants = [read_tenant(tenant, Table(("tenants", tenant), document, problems))] if not problems else []
        if problems:
            raise InvalidConfiguration(problems)
        return cls(tuple(sorted(tenants, key=lambda each: each.tenant)))


def _refuse_tenants(document: Mapping[str, Any], tenant: str, problems: list[str]) -> None:
    try:
        label(tenant)
    except ValueError as error:
        problems.append(f"tenants: {shown(tenant)} {error}")
    if "tenants" in document:
        problems.append(f"tenants: the file names its tenants itself; apply it without the tenant {shown(tenant)}")
