"""Run the stand-in: `python -m scripts.dev.fake_models --port 9100 --ledger served.jsonl`."""

import argparse
import os
import signal
import threading

from scripts.dev.bell import Bell
from scripts.dev.fake_models.server import FakeModels


def main() -> None:
    """Serve until a signal, or until the parent's end of standard input closes."""
    parser = argparse.ArgumentParser(prog="model_stand_in", description="A stand-in for Bedrock and SageMaker models.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--ledger", help="append a line to this file for every model call")
    parser.add_argument("--upstream", default=os.environ.get("BEDROCK_UPSTREAM"), help="openai:http://host:port/v1")
    parser.add_argument("--upstream-model", default=os.environ.get("BEDROCK_UPSTREAM_MODEL"))
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()

    stopped = Bell()
    stopped.ring_at(signal.SIGTERM, signal.SIGINT)
    with FakeModels(
        options.port,
        options.ledger,
        host=options.host,
        upstream=options.upstream,
        upstream_model=options.upstream_model,
    ) as stand_in:
        if options.exit_with_parent:
            threading.Thread(target=_ring_at_end_of_input, args=(stopped,), daemon=True).start()
        print(f"model stand-in ready {stand_in.url}", flush=True)
        stopped.wait()


def _ring_at_end_of_input(stopped: Bell) -> None:
    # Not sys.stdin: if a thread holds its lock when the interpreter exits, Python aborts.
    while os.read(0, 4096):
        pass
    stopped.ring()


if __name__ == "__main__":
    main()
