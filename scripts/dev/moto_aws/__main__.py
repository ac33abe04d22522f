"""Run the embedded AWS: `python -m scripts.dev.moto_aws --port 9200 --data .dev`."""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from scripts.dev.http_server import HttpServer
from scripts.dev.moto_aws.ownership import take

logger = logging.getLogger(__name__)
START = 8.0  # seconds until the stack is created; parsing its state machines needs memory temporarily


def give_back() -> None:
    """Return free memory to the system: some 25 MB after the start, if the C library can (glibc can)."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="embedded_aws", description="An AWS on this machine with durable data.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--data", type=Path, default=Path(".dev"), help="the folder of all stored data")
    parser.add_argument("--control", help="the URL that invokes functions")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    signal.signal(signal.SIGINT, signal.SIG_IGN if options.exit_with_parent else signal.default_int_handler)

    lock = take(options.data)
    try:
        server = HttpServer(options.host, options.port)
    except OSError as error:
        print(f"port {options.port} of the embedded AWS is taken: {error.strerror}", file=sys.stderr)
        return 1
    # Step Functions reaches the other services there; moto reads it at import.
    os.environ["MOTO_PORT"] = str(server.port)

    from scripts.dev.moto_aws.resources import load

    server.start(load(options.data, os.environ, server.url, options.control).answer)

    # Every answered write is in the journal, so the process can exit at once.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(f"embedded AWS ready {server.url}", flush=True)
    later = threading.Timer(START, give_back)
    later.daemon = True
    later.start()
    if options.exit_with_parent:
        while os.read(0, 4096):
            pass
        os._exit(0)
    threading.Event().wait()
    del lock
    return 0


if __name__ == "__main__":
    sys.exit(main())
