"""The wheel carries its SQL and works in an environment that has nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from slaq.postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", target, ROOT]
    subprocess.run(command, check=True)
    return next(target.glob("slaq-*.whl"))


def test_wheel_carries_sql_templates_presets_and_types(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    migrations = sorted(path.name for path in (ROOT / "sql" / "migrations").glob("*.sql"))
    assert sorted(n.rsplit("/", 1)[1] for n in names if n.startswith("slaq/sql/migrations/")) == migrations
    for wanted in (
        "slaq/sql/roles.sql",
        "slaq/sql/queries/tickets.sql",
        "slaq/py.typed",
        "slaq/demo/desk.toml",
        "slaq/presets/itil.toml",
    ):
        assert wanted in names
    assert any(name.startswith("slaq/delivery/templates/") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


@pytest.mark.timeout(300)
def test_wheel_migrates_a_database_from_an_empty_environment(
    wheel: Path, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    name = server.create_database(f"wheel_{os.getpid()}")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLAQ_", "PYTHON", "PG"))}
    environment["SLAQ_DATABASE_URL"] = server.admin_conninfo(name)
    try:
        for expected in ("migrations applied", "schema slaq is up to date"):
            done = subprocess.run(
                [tmp_path / "env" / "bin" / "slaq", "migrate"],
                check=True, capture_output=True, text=True, env=environment, cwd=tmp_path,
            )  # fmt: skip
            assert expected in done.stdout
        present = subprocess.run([python, "-c", "import temporalio"], check=False, capture_output=True, env=environment)
        assert present.returncode != 0, "temporalio is an extra"
    finally:
        server.drop_database(name)
