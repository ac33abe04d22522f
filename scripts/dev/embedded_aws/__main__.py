"""Run the embedded AWS: `python -m scripts.dev.embedded_aws --port 9200 --data .dev`."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from scripts.dev.http_server import HttpServer, Request, Response

logger = logging.getLogger(__name__)


def take(data: Path) -> Any:
    """Become the only embedded AWS of a data folder. One that a dead supervisor left behind is asked to leave."""
    (data / "aws").mkdir(parents=True, exist_ok=True)
    file = (data / "aws" / "lock").open("a+")
    end = time.monotonic() + 5
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip()
            if owner.isdigit():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(owner), signal.SIGTERM if time.monotonic() < end else signal.SIGKILL)
            time.sleep(0.05)
        else:
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            return file


def main() -> int:
    parser = argparse.ArgumentParser(prog="embedded_aws", description="An AWS on this machine, that remembers.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data", type=Path, default=Path(".dev"), help="the folder of everything that is kept")
    parser.add_argument("--control", help="where functions are invoked")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN if options.exit_with_parent else signal.default_int_handler)

    lock = take(options.data)
    aws: Any = None
    loaded = threading.Event()

    def answer(request: Request) -> Response:
        loaded.wait(60)
        response: Response = aws.answer(request)
        return response

    try:
        server = HttpServer("127.0.0.1", options.port, answer)
    except OSError as error:
        print(f"port {options.port} of the embedded AWS is taken: {error.strerror}", file=sys.stderr)
        return 1
    # Step Functions finds the other services there; moto reads it when it is imported.
    os.environ["MOTO_PORT"] = str(server.port)

    from scripts.dev.embedded_aws.resources import load

    aws = load(options.data, os.environ, server.url, options.control)
    loaded.set()
    server.start()

    # The last write is in the journal before it is answered, so leaving needs no farewell.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(f"embedded AWS ready {server.url}", flush=True)
    if options.exit_with_parent:
        while os.read(0, 4096):
            pass
        os._exit(0)
    threading.Event().wait()
    del lock
    return 0


if __name__ == "__main__":
    sys.exit(main())
