"""Serve the whole gateway on this machine: `python -m scripts.dev`, which is `make dev`.

Environment, with defaults:

    PORT                                    8080
    PORT_TLS                                8443, or a free one if that is taken
    AWS_REGION                              us-east-1
    GATEWAY_DEV_DIR                         .dev
    GATEWAY_DEV_HOST                        127.0.0.1, the address of the embedded AWS and the model stand-in
    GATEWAY_DEV_AWS_PORT                    a free port, of the embedded AWS
    GATEWAY_DEV_MODELS_PORT                 a free port, of the model stand-in
    GATEWAY_DEV_IDENTITY_PORT               a free port, of the identity provider
    GATEWAY_DEV_CONCURRENCY                 16 workers per function, fewer if the limit of open files is low
    GATEWAY_DEV_EVENTS                      on; off: no queue and no schedule starts a function
    GATEWAY_DEV_STREAM_IDLE                 300, API Gateway's idle timeout of a stream in seconds
    GATEWAY_DEV_VERDICTS                    none; a file, which gets the spec's verdict on every answer
    GATEWAY_DEV_TEMPLATE                    template.yaml
    GATEWAY_PARAM_<Name>                    the template's default for this parameter
    BEDROCK_UPSTREAM                        none; openai:http://host:port/v1: a model server behind the stand-in
    AWS_ENDPOINT_URL_BEDROCK_RUNTIME,
    AWS_ENDPOINT_URL_BEDROCK,
    AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME      the model stand-in
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
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
    parser.add_argument("--no-api", action="store_true", help="serve no API, for tools that need only the rest")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()
    for variable, port in (("PORT", options.port), ("PORT_TLS", options.tls_port or "0")):
        if not port.isdigit() or int(port) > 65535:
            print(f"{port} is not a port: set {variable} to a number up to 65535", file=sys.stderr)
            return 1
    sys.path.insert(0, str(ROOT / "layers" / "gateway"))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    over = Bell()
    signals = 0

    def counted() -> None:
        nonlocal signals
        signals += 1
        if signals > 2:  # a third Ctrl-C exits at once; the other processes notice
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
        print(*ready_lines(supervisor), sep="\n", flush=True)
        repeat_warnings(supervisor.data)
        if options.exit_with_parent:
            threading.Thread(target=_at_end_of_input, args=(over,), daemon=True).start()
        over.wait()
        return 1 if supervisor.broken else 0
    finally:
        supervisor.stop()


def ready_lines(supervisor: Supervisor) -> list[str]:
    """The lines at the end of a start. Programs wait for the first one, which begins with `ready`."""
    lines = [f"ready {supervisor.url or 'without an API'}"]
    if supervisor.url and supervisor.tenants:
        key, keys = supervisor.tenants[0]["key"], supervisor.data / "tenants.json"
        lines.append(
            f"  Call a model: curl -s -H 'x-api-key: {key}' -H 'content-type: application/json'"
            f" '{supervisor.url}/invoke_model?model_id={EXAMPLE}' -d '{{\"inputs\": \"What is a ledger?\"}}'"
        )
        if supervisor.tls_url:
            lines += [
                "  Or use boto3, over TLS:",
                f"    export AWS_DEFAULT_REGION={supervisor.region}",
                f"    export AWS_CA_BUNDLE={shlex.quote(str(supervisor.ca))}",
                f"    export AWS_ENDPOINT_URL_BEDROCK_RUNTIME={supervisor.tls_url}",
                f"    export AWS_BEARER_TOKEN_BEDROCK={key}",
            ]
        if supervisor.identity:
            lines.append(f"  Identity provider: {supervisor.identity.url}. Sign in: gateway connect openai --local")
        shown = keys.relative_to(Path.cwd()) if keys.is_relative_to(Path.cwd()) else keys
        lines.append(f"  Keys of the demo tenants: {shown}. Report of their costs: make costs")
    lines.append("  Docs: README.md, docs/ and openapi.yaml. Ctrl-C stops the stack; its data stays.")
    return lines


def _at_end_of_input(over: Bell) -> None:
    while os.read(0, 4096):
        pass
    over.ring()


if __name__ == "__main__":
    status = main()
    with contextlib.suppress(OSError):  # the reader has gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)  # do not wait for blocked threads
