"""Everything that can go wrong in slaq, as one tree.

    SlaqError
    ├── ConfigurationError          settings or a configuration file are wrong
    │   └── InvalidConfiguration    every mistake of one file, each with table, key and value
    ├── InputError                  a call was refused at the edge; nothing was changed
    │   ├── TenantRequired          no tenant is set for this code
    │   ├── TransactionRequired     the connection is not inside a transaction
    │   ├── UnknownTicket           no such ticket in this tenant
    │   ├── UnknownReference        a policy, board, user, status ... this tenant does not have
    │   ├── InvalidInstant          naive, in the future, or a resume before its pause
    │   └── InvalidTicket           a field of a Ticket has the wrong type or value
    ├── ConcurrentChange            the host's isolation level saw a concurrent write: retry the transaction
    ├── SchemaOutdated              the database lacks migrations: run ``slaq migrate``
    ├── MigrationError              a migration could not be applied, or an applied one was edited
    ├── PostgresUnavailable         no Postgres server could be reached or started
    └── DeliveryFailed              a channel refused a message for now; the delivery is retried
        └── DeliveryRefused         it was refused for good; the delivery is dead

``slaq.hours`` is pure and owns its errors (``HoursError`` and below); they are repeated here so
that one import names everything.
"""

from __future__ import annotations

from slaq.hours import HoursError, InvalidSchedule, NaiveDatetime, NeverOpens

__all__ = [
    "ConcurrentChange",
    "ConfigurationError",
    "DeliveryFailed",
    "DeliveryRefused",
    "HoursError",
    "InputError",
    "InvalidConfiguration",
    "InvalidInstant",
    "InvalidSchedule",
    "InvalidTicket",
    "MigrationError",
    "NaiveDatetime",
    "NeverOpens",
    "PostgresUnavailable",
    "SchemaOutdated",
    "SlaqError",
    "TenantRequired",
    "TransactionRequired",
    "UnknownReference",
    "UnknownTicket",
]


class SlaqError(Exception):
    """The root of slaq's own errors."""


class ConfigurationError(SlaqError):
    """A setting or a configuration file is wrong."""


class InvalidConfiguration(ConfigurationError):
    """A configuration file has mistakes; nothing of it was applied.

    ``problems`` holds one line for each, naming table, key and value.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class InputError(SlaqError):
    """A call was refused before it changed anything."""


class TenantRequired(InputError):
    """No tenant is set: run the call inside ``with run_with_tenant(tenant):``."""


class TransactionRequired(InputError):
    """The connection is not inside a transaction that slaq could join."""


class UnknownTicket(InputError):
    """The tenant has no such ticket."""


class UnknownReference(InputError):
    """The call names a record that the tenant does not have."""


class InvalidInstant(InputError):
    """The instant of a fact cannot be accepted."""


class InvalidTicket(InputError):
    """A field of a ticket has a type or value that cannot be stored."""


class ConcurrentChange(SlaqError):
    """Another transaction changed the ticket after this one's snapshot; run the transaction again."""


class SchemaOutdated(SlaqError):
    """The database lacks migrations of this release: run ``slaq migrate``."""


class MigrationError(SlaqError):
    """A migration could not be applied, or one that was applied has been edited since."""


class PostgresUnavailable(SlaqError):
    """No Postgres server could be reached or started."""


class DeliveryFailed(SlaqError):
    """A channel refused a message for now; the delivery is tried again."""


class DeliveryRefused(DeliveryFailed):
    """A channel refused a message for good; trying again cannot help."""
