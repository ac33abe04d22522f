"""Run the provider: `python -m scripts.dev.identity_provider --port 9200`."""

import argparse
import os
import signal
import threading
from pathlib import Path

from scripts.dev.bell import Bell
from scripts.dev.identity_provider.server import IdentityProvider


def main() -> None:
    """Serve until a signal, or until the parent's end of standard input closes."""
    parser = argparse.ArgumentParser(prog="identity_provider", description="An identity provider for a local stack.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--keys", type=Path, help="keep the signing keys in this file")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()

    stopped = Bell()
    stopped.ring_at(signal.SIGTERM, signal.SIGINT)
    with IdentityProvider(options.port, host=options.host, keys=options.keys) as provider:
        if options.exit_with_parent:
            threading.Thread(target=_ring_at_end_of_input, args=(stopped,), daemon=True).start()
        print(f"identity provider ready {provider.url}", flush=True)
        stopped.wait()


def _ring_at_end_of_input(stopped: Bell) -> None:
    # Not sys.stdin: if a thread holds its lock when the interpreter exits, Python aborts.
    while os.read(0, 4096):
        pass
    stopped.ring()


if __name__ == "__main__":
    main()
