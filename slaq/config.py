"""Settings: from the environment (``SLAQ_...``) over a TOML file (``slaq.toml``, section ``[slaq]``) over defaults."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import typed_settings

from slaq.errors import ConfigurationError

_LIBPQ = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set; ``docs/settings.md`` is the table of it."""

    database_url: str = ""
    """Where Postgres is, as a libpq URI or conninfo; empty: ``PG*`` if set, else the embedded server."""
    migrate_url: str = ""
    """The login that ``slaq migrate`` uses; empty: the same as ``database_url``."""
    schema: str = "slaq"
    edition: str = attrs.field(default="community", validator=attrs.validators.in_(("community", "enterprise")))
    directory: Path = Path(".slaq")
    """Where the embedded server and unsent mail live."""
    smtp_url: str = ""
    """``smtp://user:password@host:port`` (``smtps://`` for TLS from the start, ``?starttls=1``); empty: mail becomes files."""
    mail_from: str = "slaq <slaq@localhost>"
    mail_attempts: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    """How often an e-mail is tried before it is dead."""
    loop_interval: float = attrs.field(default=1.0, validator=attrs.validators.ge(0))
    """Longest sleep, in seconds, between two looks of the timer loop; 0 leaves only the five-minute ``sla-timer``."""
    grace: float = attrs.field(default=60.0, validator=attrs.validators.ge(0))
    """Seconds after which the poller takes an overdue alarm of a ticket that Temporal owns."""
    concurrency: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    """Jobs, and tickets, that one worker process works on at a time."""
    log_level: str = "INFO"

    @property
    def is_embedded(self) -> bool:
        """Whether no database is configured, so that slaq brings its own."""
        return not self.database_url and not any(os.environ.get(name) for name in _LIBPQ)


def load_settings(file: Path | None = None) -> Settings:
    """The settings of this process; raises ``ConfigurationError`` naming what is wrong."""
    chosen = file or Path(os.environ.get("SLAQ_CONFIG", "slaq.toml"))
    if file is not None and not file.is_file():
        raise ConfigurationError(f"settings file {file} does not exist")
    try:
        return typed_settings.load(
            Settings, appname="slaq", config_files=[chosen], config_files_var=None, env_prefix="SLAQ_"
        )
    except (typed_settings.exceptions.TsError, ValueError) as error:
        raise ConfigurationError(f"settings are wrong: {'; '.join(_reasons(error))}") from error


def _reasons(error: BaseException) -> list[str]:
    """The innermost messages of an error, each naming the setting it is about."""
    if isinstance(error, BaseExceptionGroup):
        return [reason for inner in error.exceptions for reason in _reasons(inner)]
    return [" ".join([str(error), *getattr(error, "__notes__", [])])]
