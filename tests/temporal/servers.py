"""The full server, as the demo starts it."""

from slaq.demo.temporal import TemporalServer

__all__ = ["TemporalServer"]
