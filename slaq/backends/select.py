"""Which backend a process uses."""

from __future__ import annotations

import logging

from slaq.backends.base import SlaBackend
from slaq.backends.polling import PollingSlaBackend
from slaq.config import Settings

_log = logging.getLogger("slaq")


class SlaBackendFactory:
    """Chooses the backend by edition; falling back is warned of once for each change of state, never cached."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._has_fallen_back = False

    def get_backend(self) -> SlaBackend:
        """The backend for the next call."""
        if self._settings.edition == "enterprise" and not self._has_fallen_back:
            self._has_fallen_back = True
            _log.warning("edition is enterprise, but this release has no Temporal backend: tickets are polled")
        return PollingSlaBackend()
