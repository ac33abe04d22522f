"""Runs `gateway`: .venv/bin/gateway starts this."""

from __future__ import annotations

import sys

from scripts.operate.cli.gateway import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
