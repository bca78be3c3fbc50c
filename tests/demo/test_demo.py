"""The demo itself, short: everything that must be told is told, once, and nothing of it stays behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slaq.postgres import EmbeddedPostgres


@pytest.mark.timeout(180)
def test_demo_misses_nothing_and_tells_nothing_twice(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLAQ_", "PG"))}
    done = subprocess.run(
        [sys.executable, "-m", "slaq", "demo", "--seconds", "12", "--json"],
        check=False, capture_output=True, text=True, cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    try:
        summary = json.loads(done.stdout)
        assert done.returncode == 0, done.stderr
        assert (summary["missed"], summary["duplicates"]) == (0, 0)
        assert summary["tickets"] == 24
        assert summary["delivered"] == summary["expected"] >= 20
        assert set(summary["lateness_ms"]) == {"p50", "p99"}
        assert set(summary["backends"]) == {"polling", "temporal"}
        assert list((tmp_path / ".slaq" / "mail").glob("*.eml"))
        assert not EmbeddedPostgres(tmp_path / ".slaq").status().running, "it started the server, so it stops it"
    finally:
        EmbeddedPostgres(tmp_path / ".slaq").stop()
