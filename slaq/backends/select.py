"""Which backend a process uses."""

from __future__ import annotations

from slaq.backends.base import SlaBackend
from slaq.backends.polling import PollingSlaBackend
from slaq.backends.temporal import TemporalSlaBackend
from slaq.config import Settings


class SlaBackendFactory:
    """Chooses the backend by edition.

    Whether Temporal is there is asked anew for each ticket that starts, by the Enterprise backend in the
    caller's own transaction, so nothing about it is cached and nobody waits for a dead server.
    """

    def __init__(self, settings: Settings) -> None:
        self._backend: SlaBackend = (
            TemporalSlaBackend(settings.schema) if settings.edition == "enterprise" else PollingSlaBackend()
        )

    def get_backend(self) -> SlaBackend:
        """The backend of this process; one object, so that a change of state is warned of once."""
        return self._backend
