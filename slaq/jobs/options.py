"""Refusing bad input where it is given, and putting the rest into the JSON that the SQL functions take."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from slaq.jobs.model import Duration, InvalidJob, Policy

LARGEST_PAYLOAD = 1_000_000
"""Bytes of JSON; larger things belong in a table, and their id into the job."""
_NAME = re.compile(r"[A-Za-z0-9_./-]+")
_LONGEST_NAME = 40
_LONGEST_KEY = 500
_DAY = 86400.0
_YEARS = 100 * 366 * _DAY


def queue_name(name: Any, what: str = "queue") -> str:
    """``name`` if queues may be called so."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name.encode()) > _LONGEST_NAME:
        raise InvalidJob(f"{what} {name!r} is not usable: 1 to {_LONGEST_NAME} letters, digits, '_', '-', '.' or '/'")
    return name


def policy(value: Any) -> str:
    try:
        return Policy(value).value
    except ValueError:
        raise InvalidJob(f"policy {value!r} is none of {', '.join(Policy)}") from None


def duration(value: Any, what: str, *, least: float = 0.0, most: float = _YEARS) -> float:
    """Seconds of a timedelta or a number of seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise InvalidJob(f"{what} {value!r} is no duration: take a timedelta or seconds")
    if not least <= seconds <= most:
        raise InvalidJob(f"{what} {value!r} is out of range: {least:g} to {most:g} seconds")
    return seconds


def whole(value: Any, what: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidJob(f"{what} {value!r} is not a whole number from {least} to {most}")
    return value


def text(value: Any, what: str, longest: int = _LONGEST_KEY) -> str:
    if not isinstance(value, str) or not value or len(value) > longest or "\x00" in value:
        raise InvalidJob(f"{what} {value!r} is not usable: a string of 1 to {longest} characters")
    return value


def aware(value: Any, what: str) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidJob(f"{what} {value!r} is not an aware datetime")
    return value


def payload(data: Any, what: str = "data", most: int = LARGEST_PAYLOAD) -> str:
    """``data`` as JSON; dates, decimals and UUIDs become strings."""
    try:
        encoded = json.dumps(data, default=_plain, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidJob(f"{what} is not JSON: {error} in {_short(data)}") from None
    if len(encoded) > most:
        raise InvalidJob(f"{what} has {len(encoded)} bytes of JSON, more than {most}: {_short(data)}")
    if "\\u0000" in encoded:
        raise InvalidJob(f"{what} holds a NUL character, which Postgres cannot store: {_short(data)}")
    return encoded


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) or hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidJob(f"{what} {value!r} is neither True nor False")
    return value


def _start_after(value: Any, what: str) -> Any:
    if isinstance(value, datetime):
        return aware(value, what).isoformat()
    return duration(value, what)


def _group(value: Any, what: str) -> dict[str, str]:
    if isinstance(value, str):
        return {"id": text(value, what)}
    if not isinstance(value, Mapping) or "id" not in value or not set(value) <= {"id", "tier"}:
        raise InvalidJob(f"{what} {value!r} is no group: take a name, or a mapping with 'id' and perhaps 'tier'")
    return {name: text(part, f"{what} {name}") for name, part in value.items()}


def _trace(value: Any, what: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise InvalidJob(f"{what} {value!r} is not a mapping of strings")
    return dict(value)


_SETTINGS: dict[str, Callable[[Any, str], Any]] = {
    "retry_limit": lambda value, what: whole(value, what, 0, 100_000),
    "retry_delay": duration,
    "retry_backoff": _flag,
    "retry_delay_max": duration,
    "expire_in": lambda value, what: duration(value, what, least=1, most=_DAY),
    "heartbeat": lambda value, what: duration(value, what, least=1, most=_DAY),
    "retention": lambda value, what: duration(value, what, least=1),
    "delete_after": duration,
    "dead_letter": queue_name,
}
_SEND: dict[str, Callable[[Any, str], Any]] = {
    **_SETTINGS,
    "priority": lambda value, what: whole(value, what, -(2**31), 2**31 - 1),
    "start_after": _start_after,
    "key": text,
    "group": _group,
    "trace": _trace,
}
_QUEUE: dict[str, Callable[[Any, str], Any]] = {
    **_SETTINGS,
    "warning_size": lambda value, what: whole(value, what, 1, 2**31 - 1),
}


def send_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one job, checked; a ``start_after`` that is a duration stays one."""
    options = _checked(given, _SEND)
    _check_backoff(options)
    return options


def queue_options(given: Mapping[str, Any], *, nullable: bool = False) -> dict[str, Any]:
    """The settings of a queue, checked; with ``nullable`` None puts one back to the default."""
    set_ones = {name: value for name, value in given.items() if value is not None}
    options = _checked(set_ones, _QUEUE)
    unknown = set(given) - set(_QUEUE)
    if unknown:
        _checked(dict.fromkeys(unknown), _QUEUE)
    if not nullable:
        _check_backoff(options)
        return options
    return {**options, **{name: None for name, value in given.items() if value is None}}


def _checked(given: Mapping[str, Any], known: Mapping[str, Callable[[Any, str], Any]]) -> dict[str, Any]:
    for name in given:
        if name not in known:
            raise InvalidJob(f"option {name!r} is none of {', '.join(known)}")
    return {name: known[name](value, name) for name, value in given.items()}


def _check_backoff(options: Mapping[str, Any]) -> None:
    if "retry_delay_max" in options and not options.get("retry_backoff"):
        raise InvalidJob(f"retry_delay_max {options['retry_delay_max']!r} needs retry_backoff=True")


def seconds(value: Duration, what: str) -> int:
    """The length of a throttle slot: whole seconds, at least one."""
    return whole(int(duration(value, what, least=1, most=365 * _DAY)), what, 1, int(365 * _DAY))
