"""The documentation says what the code does: its lists are complete, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from slaq.cli import TABLE
from slaq.config import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TESTS = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
FLAWS = re.findall(r"^\| F-(\d\db?) \| (.*) \|$", (ROOT / "docs" / "flaws.md").read_text("utf-8"), re.MULTILINE)


def test_every_flaw_is_listed() -> None:
    assert [number for number, _ in FLAWS] == sorted([*(f"{n:02}" for n in range(1, 63)), "55b"])


@pytest.mark.parametrize(("number", "line"), FLAWS, ids=[number for number, _ in FLAWS])
def test_every_flaw_has_a_test_named_after_it(number: str, line: str) -> None:
    assert f"def test_f{number}_" in TESTS or "`tests/" in line


def test_every_setting_is_in_the_table() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for field in attrs.fields(Settings):
        assert f"| `SLAQ_{field.name.upper()}` | `{field.name}` |" in page


def test_every_command_is_documented() -> None:
    text = "\n".join(path.read_text("utf-8") for path in PAGES)
    for name in TABLE:
        assert f"slaq {name}" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
