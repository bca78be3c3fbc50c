"""``python -m slaq``."""

from slaq.cli import main

main()
