"""Reading tables and values: every mistake is noted with its place and its value, and reading goes on.

A reader of a value returns what it means or raises ``ValueError`` with the rest of a sentence that
begins with the value: ``is not a positive number of minutes``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, cast

import attrs

T = TypeVar("T")
Reader: TypeAlias = Callable[[Any], T]
Path: TypeAlias = tuple[str, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_DURATION = re.compile(r"(?:(\d{1,9})h)? ?(?:(\d{1,10})m)?")
_DAYS = re.compile(r"\d+ ?d\b.*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_LARGEST = 2**31 - 1
_LONGEST = 200


def dotted(path: Path) -> str:
    """A path as TOML writes it: parts that are not plain words are quoted."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in path)


def shown(value: object) -> str:
    """A value as the file has it, shortened when it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def near(word: str, known: Iterable[str]) -> str:
    """A hint at what may have been meant, or nothing."""
    matches = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {shown(matches[0])}?" if matches else ""


@attrs.define
class Table:
    """A table of the file, and what has been asked of it; what is left over when it is closed is a mistake."""

    path: Path
    values: Mapping[str, Any]
    problems: list[str]
    _known: set[str] = attrs.field(factory=set[str], init=False)

    def note(self, key: Path, value: object, problem: str) -> None:
        self.problems.append(f"{dotted(self.path + key)}: {shown(value)} {problem}")

    def has(self, key: str) -> bool:
        return key in self.values

    def take(self, key: str, read: Reader[T], default: T) -> T:
        """The value of ``key``; ``default`` when it is absent or wrong."""
        self._known.add(key)
        if key not in self.values:
            return default
        try:
            return read(self.values[key])
        except ValueError as error:
            self.note((key,), self.values[key], str(error))
            return default

    def need(self, key: str, read: Reader[T], default: T) -> T:
        """Like ``take``, of a key that must be there."""
        if key not in self.values:
            self.problems.append(f"{dotted((*self.path, key))}: is missing")
        return self.take(key, read, default)

    def table(self, key: str) -> Table:
        """The table under ``key``; an empty one when it is absent or wrong."""
        return Table((*self.path, key), self.take(key, _mapping, {}), self.problems)

    def tables(self) -> Iterator[tuple[str, Table]]:
        """The tables in this one, by their names, which are the file's own."""
        for name in self.names():
            yield name, self.table(name)

    def names(self, read: Reader[object] | None = None) -> Iterator[str]:
        """The keys of a table whose keys are names; those that ``read`` refuses are noted and left out."""
        for name in self.values:
            self._known.add(name)
            try:
                (read or label)(name)
            except ValueError as error:
                self.note((), name, str(error))
            else:
                yield name

    def close(self) -> None:
        """Note the keys that nobody asked for."""
        for key in self.values:
            if key not in self._known:
                self.note((key,), self.values[key], f"stands under an unknown key{near(key, self._known)}")


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("is not a table")
    return {str(key): member for key, member in cast("Mapping[object, Any]", value).items()}


def text(value: object) -> str:
    """Some text that Postgres can keep."""
    if not isinstance(value, str):
        raise ValueError("is not text")
    if not value.strip():
        raise ValueError("is empty")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("has characters that cannot be stored")
    return value


def label(value: object) -> str:
    """A name or an id: text that is short enough for an index."""
    if len(text(value)) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    return cast("str", value)


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def minutes(value: object) -> int:
    """A number of minutes, or text such as ``30m``, ``4h``, ``1h 30m``."""
    number: object = value
    if isinstance(value, str) and value:
        if _DAYS.fullmatch(value):
            raise ValueError('is ambiguous, for a day may be 24 hours or a working day; write hours, such as "8h"')
        if match := _DURATION.fullmatch(value):
            number = int(match[1] or 0) * 60 + int(match[2] or 0)
    if type(number) is not int or not 0 < number <= _LARGEST:
        raise ValueError('is not a positive number of minutes (30) or of hours and minutes ("30m", "4h", "1h 30m")')
    return number


def percent(value: object) -> int:
    if type(value) is not int or not 0 < value <= _LARGEST:
        raise ValueError("is not a positive whole percentage")
    return value


def number_of(lowest: int, highest: int) -> Reader[int]:
    def read(value: object) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError(f"is not one of the numbers {lowest} to {highest}")
        return value

    return read


def as_key(read: Reader[int]) -> Reader[int]:
    """A reader of numbers that are keys, spelled in the one plain way, so that no two keys are the same number."""
    return lambda value: read(int(value) if re.fullmatch(r"[1-9][0-9]{0,9}", value) else value)


def choice(*choices: str) -> Reader[str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"is not one of {', '.join(map(shown, choices))}{near(str(value), choices)}")
        return cast("str", value)

    return read


def some_of(*choices: str) -> Reader[tuple[str, ...]]:
    """A reader of lists without duplicates."""

    def read(value: object) -> tuple[str, ...]:
        given = items(value)
        if unknown := [one for one in given if one not in choices]:
            names = ", ".join(map(shown, choices))
            raise ValueError(f"names {shown(unknown[0])}, which is not one of {names}{near(str(unknown[0]), choices)}")
        if len(set(given)) < len(given):
            raise ValueError("names something twice")
        return tuple(given)

    return read


def items(value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError("is not a list")
    return list(cast("Iterable[Any]", value))


def email(value: object) -> str:
    if not _EMAIL.fullmatch(text(value)):
        raise ValueError("is not an e-mail address")
    return cast("str", value)
