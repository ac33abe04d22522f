"""One execution environment of Lambda: a process that loads one function and serves one event at a time.

Run it as a file, without this project on its path, so that a function can import the same as in Lambda: its own folder,
its layers, the dependencies. Events and results pass over a socket as length-prefixed JSON:

    supervisor -> worker    the function (once), then {"request_id", "deadline", "event"} repeatedly
    worker -> supervisor    `+` when ready (or `!` and the error); then `*` when an event begins, and `+` and the
                            result or `!` and the error when it ends. An event without `*` can go to another worker.

The end of the socket ends the worker. It first finishes a running event, as a function does on AWS after its caller has
gone.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct("!I")
LARGEST_RESULT = 6 * 1024 * 1024  # Lambda's limit
AFTERLIFE = 5  # seconds beyond its timeout for an event to end after its supervisor has died


class LambdaContext:
    """The context that Lambda's Python runtime passes to a handler."""

    def __init__(self, function: dict[str, Any], request_id: str, deadline: float, stream: str):
        self.aws_request_id = request_id
        self.function_name: str = function["name"]
        self.function_version = "$LATEST"
        self.invoked_function_arn: str = function["arn"]
        self.memory_limit_in_mb = str(function["memory"])
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self.log_stream_name = stream
        self.identity = None
        self.client_context = None
        self.tenant_id = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        return max(int((self._deadline - time.time()) * 1000), 0)

    def log(self, message: object) -> None:
        sys.stdout.write(str(message))


def read_frame(connection: socket.socket) -> bytes | None:
    head = _read(connection, LENGTH.size)
    if head is None:
        return None
    return _read(connection, LENGTH.unpack(head)[0])


def _read(connection: socket.socket, size: int) -> bytes | None:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_frame(connection: socket.socket, content: bytes) -> None:
    connection.sendall(LENGTH.pack(len(content)) + content)


def described(error: BaseException, request_id: str = "") -> bytes:
    """An error in Lambda's response format."""
    trace = traceback.extract_tb(error.__traceback__)[1:]
    return json.dumps(
        {
            "errorMessage": str(error),
            "errorType": type(error).__name__,
            "requestId": request_id,
            "stackTrace": traceback.format_list(trace),
        }
    ).encode()


def load(function: dict[str, Any]) -> Callable[[Any, Any], Any]:
    """Import the function's handler, with its folder and layers first on the path."""
    sys.path[:0] = [function["code"], *function["layers"]]
    os.chdir(function["code"])
    module, _, name = function["handler"].rpartition(".")
    try:
        handler: Callable[[Any, Any], Any] = getattr(importlib.import_module(module.replace("/", ".")), name)
    except ImportError as error:
        raise ImportModuleError(f"Unable to import module '{module}': {error}") from error
    return handler


class ImportModuleError(Exception):
    """Runtime.ImportModuleError"""


def serve(connection: socket.socket) -> None:
    """Run one execution environment until the connection ends."""
    first = read_frame(connection)
    if first is None:
        return
    function = json.loads(first)
    os.environ.clear()
    os.environ.update(function["environment"])
    log = os.open(function["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    stream = f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}"
    try:
        handler = load(function)
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            write_frame(connection, b"!" + described(error))
        return
    sys.stdout.flush()
    write_frame(connection, b"+")
    while (frame := read_frame(connection)) is not None:
        try:
            write_frame(connection, b"*")
        except OSError:
            return
        invocation = json.loads(frame)
        # The supervisor would kill an overdue event. If it has died, this timer does.
        signal.setitimer(signal.ITIMER_REAL, max(invocation["deadline"] - time.time(), 0) + AFTERLIFE)
        context = LambdaContext(function, invocation["request_id"], invocation["deadline"], stream)
        try:
            answer = b"+" + json.dumps(handler(invocation["event"], context), ensure_ascii=False).encode()
        except BaseException as error:
            if isinstance(error, SystemExit):
                raise
            traceback.print_exc()
            answer = b"!" + described(error, context.aws_request_id)
        if len(answer) > LARGEST_RESULT:
            size = len(answer) - 1
            message = f"Response payload size ({size} bytes) exceeded maximum allowed payload size (6291556 bytes)."
            answer = b"!" + json.dumps({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}).encode()
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            write_frame(connection, answer)
        except OSError:
            return


def fork_loop(commands: socket.socket) -> None:
    """Import the modules that every function imports, then fork a worker per received socket: a start costs a fork."""
    warm_up()
    # Forks share unchanged memory: a garbage collection would write into each object that it visits.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(commands, 1, 1)
        if not message:
            return
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            commands.close()
            try:
                serve(socket.socket(fileno=descriptors[0]))
                status = 0
            except SystemExit as leaving:
                status = leaving.code if isinstance(leaving.code, int) else 1
            except BaseException:
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        os.close(descriptors[0])
        commands.sendall(LENGTH.pack(child))


def warm_up() -> None:
    """Import the dependencies, and make botocore read its models, which the default session caches."""
    for name in ("aws_lambda_powertools.event_handler", "pydantic", "yaml"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        boto3 = importlib.import_module("boto3")
        for service in ("dynamodb", "s3", "sqs", "bedrock", "bedrock-runtime", "sagemaker-runtime"):
            boto3.client(service, region_name=os.environ.get("AWS_REGION", "us-east-1"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("--fd", type=int, required=True, help="the socket to the supervisor")
    parser.add_argument("--zygote", action="store_true", help="fork a worker for each socket sent over it")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=options.fd)
    with contextlib.suppress(ConnectionError):
        if options.zygote:
            fork_loop(connection)
        else:
            serve(connection)


if __name__ == "__main__":
    main()
