"""Statements by name, from ``sql/queries``: plain SQL with named parameters, nothing put together at run time.

The files say ``slaq.`` for the schema; another schema is laid over them when they are loaded.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

from slaq.errors import ConfigurationError

DEFAULT_SCHEMA = "slaq"
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
# "slaq." as a qualifier and "'slaq'" as a name, but not the setting 'slaq.tenant'
_QUALIFIER = re.compile(
    r"(?<!['\w.])slaq\.(?=\w|%)|(?<=')slaq(?=')|(?<=SCHEMA )slaq\b|(?<=EXISTS )slaq\b|(?<== )slaq(?=,)"
)
_ROLE = re.compile(r"\bslaq_(?=(owner|timer|application|worker)\b)")


def sql_directory() -> Path:
    """Where the SQL files are: inside an installed package, or beside it in a checkout."""
    packaged = Path(__file__).parent.parent / "sql"
    return packaged if packaged.is_dir() else packaged.parent.parent / "sql"


def checked_schema(schema: str) -> str:
    """``schema`` if it is a plain lower-case identifier of up to 40 characters; raises ``ConfigurationError``."""
    if not _SCHEMA_NAME.fullmatch(schema):
        raise ConfigurationError(
            f"schema {schema!r} is not usable: take lower-case letters, digits and underscores, at most 40, not a digit first"
        )
    return schema


def in_schema(sql: str, schema: str) -> str:
    """``sql``, written for the schema ``slaq``, for another one; its roles are named after it."""
    if schema == DEFAULT_SCHEMA:
        return sql
    moved = _QUALIFIER.sub(lambda match: match.group().replace("slaq", checked_schema(schema)), sql)
    return _ROLE.sub(f"{schema}_", moved)


@cache
def _statements(file: str, schema: str) -> dict[str, str]:
    text = in_schema((sql_directory() / "queries" / f"{file}.sql").read_text(encoding="utf-8"), schema)
    blocks = re.split(r"^-- name: (\w+)\b.*\n", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(blocks[1::2], blocks[2::2], strict=True)}


def query(file: str, name: str, schema: str = DEFAULT_SCHEMA) -> LiteralString:
    """The statement ``name`` of ``sql/queries/<file>.sql``."""
    return cast("LiteralString", _statements(file, schema)[name])
