"""``python -m benchmarks [name ...]``: everything, or the named parts, each as ratios in one run.

Options after the name of one part are for it: ``python -m benchmarks jobs --help``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from itertools import takewhile
from pathlib import Path

PARTS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main() -> None:
    named = list(takewhile(lambda argument: not argument.startswith("-"), sys.argv[1:]))
    options = sys.argv[1 + len(named) :]
    unknown = set(named) - set(PARTS)
    if unknown or (options and len(named) != 1):
        problem = f"no such part: {', '.join(sorted(unknown))}" if unknown else "options are for one part"
        sys.exit(f"{problem}; there are {', '.join(PARTS)}")
    for name in named or PARTS:
        print(f"\n## {name}\n", flush=True)
        import_module(f"benchmarks.{name}").main(*options)


main()
