"""A database for one demo on the embedded Postgres, of which nothing stays, however the demo ends.

Run as a program, this module is the undertaker: it waits until its standard input ends, which the demo's death ends
too, and clears away.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from slaq.errors import PostgresUnavailable
from slaq.postgres import EmbeddedPostgres

_LOOKS = 10


@contextmanager
def database_of_its_own(directory: Path) -> Generator[tuple[EmbeddedPostgres, str]]:
    """The embedded server, and the name of a new database on it.

    At the end the database is dropped, and the server stopped if it was not running before.
    """
    server, name = EmbeddedPostgres(directory), f"demo_{uuid.uuid4().hex[:12]}"
    arguments = [str(server.directory), name, *([] if server.status().running else ["stop"])]
    undertaker = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "slaq.demo.database", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        server.start()
        server.ensure_database(name)
        yield server, name
    finally:
        undertaker.communicate()


def clear_away(directory: str, name: str, *, stop: bool) -> None:
    """Drop the database, and stop the server if asked to."""
    server = EmbeddedPostgres(Path(directory))
    with suppress(PostgresUnavailable):
        server.drop_database(name)
    looks = _LOOKS if stop else 0
    while looks and not server.stop():  # one that was just being started shows itself in a moment
        looks -= 1
        sleep(0.1)


if __name__ == "__main__":
    sys.stdin.read()
    clear_away(sys.argv[1], sys.argv[2], stop="stop" in sys.argv[3:])
