"""Serve the whole gateway on this machine: `python -m scripts.dev`, which is `make dev`.

Environment: PORT (8080), PORT_TLS (8443, or any where that is taken), GATEWAY_DEV_DIR (.dev), GATEWAY_DEV_CONCURRENCY
(workers of one function, 16, or fewer where few files may be open), GATEWAY_DEV_TEMPLATE (template.yaml),
GATEWAY_PARAM_<Name> (a parameter of it), GATEWAY_DEV_HOST, GATEWAY_DEV_AWS_PORT and GATEWAY_DEV_MODELS_PORT (where the
embedded AWS and the model stand-in listen: 127.0.0.1, any, any), GATEWAY_DEV_EVENTS (off: no queue and no schedule
starts a function), GATEWAY_DEV_STREAM_IDLE (300, the seconds for which API Gateway lets a stream be silent),
GATEWAY_DEV_VERDICTS (a file: every answer is judged by the spec, and its verdict noted there),
AWS_REGION, BEDROCK_UPSTREAM (what the model stand-in asks), AWS_ENDPOINT_URL_BEDROCK_RUNTIME, AWS_ENDPOINT_URL_BEDROCK
and AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME (models elsewhere).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from scripts.dev.bell import Bell
from scripts.dev.listening import CannotStart
from scripts.dev.moto_aws.unread import repeat_warnings
from scripts.dev.supervisor import ROOT, Stopped, Supervisor
from scripts.project.template import TemplateError

EXAMPLE = "anthropic.claude-3-haiku-20240307-v1:0"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts.dev", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", default=os.environ.get("PORT") or "8080", help="0 takes a free one")
    parser.add_argument("--tls-port", default=os.environ.get("PORT_TLS"), help="0 takes a free one")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GATEWAY_DEV_DIR") or ".dev"))
    parser.add_argument("--no-api", action="store_true", help="serve no API: for tools that need the rest")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()
    for variable, port in (("PORT", options.port), ("PORT_TLS", options.tls_port or "0")):
        if not port.isdigit() or int(port) > 65535:
            print(f"{port} is no port: set {variable} to a number up to 65535", file=sys.stderr)
            return 1
    sys.path.insert(0, str(ROOT / "layers" / "gateway"))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    over = Bell()
    signals = 0

    def counted() -> None:
        nonlocal signals
        signals += 1
        if signals > 2:  # whoever presses Ctrl-C three times means it; the other processes notice
            os._exit(130)

    over.ring_at(signal.SIGINT, signal.SIGTERM, then=counted)
    port = None if options.no_api else int(options.port)
    tls_port = int(options.tls_port) if options.tls_port else None
    supervisor = Supervisor(options.data, port, dict(os.environ), over, tls_port)
    try:
        try:
            supervisor.start()
        except (CannotStart, TemplateError) as error:
            print(error, file=sys.stderr)
            return 1
        except Stopped:
            return 0
        _say_ready(supervisor)
        repeat_warnings(supervisor.data)
        if options.exit_with_parent:
            threading.Thread(target=_at_end_of_input, args=(over,), daemon=True).start()
        over.wait()
        return 1 if supervisor.broken else 0
    finally:
        supervisor.stop()


def _say_ready(supervisor: Supervisor) -> None:
    line = f"ready {supervisor.url or 'without an API'}"
    if supervisor.url and supervisor.tenants:
        key = supervisor.tenants[0]["key"]
        line += (
            f"  try: curl -s -H 'x-api-key: {key}' -H 'content-type: application/json'"
            f" '{supervisor.url}/invoke_model?model_id={EXAMPLE}' -d '{{\"inputs\": \"What is a ledger?\"}}'"
        )
    print(line, flush=True)
    if supervisor.tls_url and supervisor.tenants:
        print("  boto3, over TLS:")
        print(f"    export AWS_DEFAULT_REGION={supervisor.region}")
        print(f"    export AWS_CA_BUNDLE={supervisor.ca}")
        print(f"    export AWS_ENDPOINT_URL_BEDROCK_RUNTIME={supervisor.tls_url}")
        print(f"    export AWS_BEARER_TOKEN_BEDROCK={supervisor.tenants[0]['key']}", flush=True)


def _at_end_of_input(over: Bell) -> None:
    while os.read(0, 4096):
        pass
    over.ring()


if __name__ == "__main__":
    status = main()
    with contextlib.suppress(OSError):  # nobody reads any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)  # no thread that still waits for anything holds up the end
