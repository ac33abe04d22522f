"""Controls a local stack from a program: tests, tools, `make costs`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from scripts.dev.supervisor import ROOT

_START = 60.0


class StackError(Exception):
    """The stack did not start, or a run in it failed."""


class WorkflowFailed(StackError):
    """An execution of a state machine did not succeed."""

    def __init__(self, status: str, error: str, cause: str):
        super().__init__(f"{status}: {error}: {cause}")
        self.status, self.error, self.cause = status, error, cause


class LocalStack:
    """A stack in a data folder, started here or already running. As a context manager it starts and stops.

    `port`: 0 takes a free one, None serves no API. `environment` is added to this process's environment.
    """

    def __init__(
        self,
        data: Path | str = ".dev",
        *,
        port: int | None = 0,
        template: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        self.data = Path(data).resolve()
        self._port, self._tls_port = port, 0
        self._environment = dict(environment or {})
        if template is not None:
            self._environment["GATEWAY_DEV_TEMPLATE"] = str(template)
        self._process: subprocess.Popen[str] | None = None
        self.info: dict[str, Any] = {}

    # ----------------------------------------------------------------------------------------------------- life
    def start(self) -> LocalStack:
        """Start the processes, and wait until they accept calls."""
        paths = [str(ROOT), str(ROOT / "layers" / "gateway"), os.environ.get("PYTHONPATH", "")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= self._environment
        environment |= {"GATEWAY_DEV_DIR": str(self.data), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        options = ["--no-api"] if self._port is None else ["--port", str(self._port), "--tls-port", str(self._tls_port)]
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / "stack.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scripts.dev", "--exit-with-parent", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                cwd=ROOT,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("ready"):
            self._process.wait()
            said = (self.data / "stack.log").read_text().strip().splitlines()
            raise StackError(said[-1] if said else f"the stack ended with status {self._process.returncode}")
        self.info = json.loads((self.data / "stack.json").read_text())
        # The same ports after a restart.
        self._port, self._tls_port = self.info["api_port"], self.info["tls_port"] or 0
        return self

    def stop(self) -> int:
        """Stop it in order; returns its exit status."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._close_pipes()
        return status

    def kill_gateway(self) -> None:
        """SIGKILL the process that serves the API. Its child processes notice."""
        os.kill(self.info["pid"], signal.SIGKILL)
        self._reap()

    def kill_everything(self) -> None:
        """SIGKILL every process of the stack at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.info["pid"], signal.SIGKILL)
        for pid in self.info["processes"].values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # each leads its own process group, with its forks
        self._reap()

    def restart(self) -> LocalStack:
        """Start again after a kill or a stop, with the same data and ports."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        return self.start()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._close_pipes()

    def _close_pipes(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> LocalStack:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------------------------------------------ properties
    @property
    def url(self) -> str:
        """The URL for tenants."""
        return str(self.info["url"])

    @property
    def tls_url(self) -> str:
        """The same over TLS, for clients that trust `ca`."""
        return str(self.info["tls_url"])

    @property
    def ca(self) -> Path:
        return Path(self.info["ca"])

    @property
    def aws_endpoint(self) -> str:
        return str(self.info["aws_endpoint"])

    @property
    def model_stand_in_url(self) -> str:
        return str(self.info["model_stand_in"]["url"])

    @property
    def identity_url(self) -> str:
        """The stack's identity provider, the issuer `local`."""
        return str(self.info["identity_provider"])

    @property
    def tenants(self) -> list[dict[str, Any]]:
        """The demo tenants: `tenant_id`, `key`, `cost_centres`."""
        tenants: list[dict[str, Any]] = json.loads((self.data / "tenants.json").read_text())["tenants"]
        return tenants

    @property
    def lake(self) -> Path:
        """The folder of the lake's Parquet files."""
        return self.data / "lake"

    def client(self, service: str) -> Any:
        """A boto3 client of the embedded AWS, or of the model stand-in."""
        import boto3

        models = {"bedrock", "bedrock-runtime", "sagemaker-runtime"}
        return boto3.client(
            service,
            endpoint_url=self.model_stand_in_url if service in models else self.aws_endpoint,
            region_name=self.info["region"],
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def run_state_machine(self, name: str, payload: Any, timeout: float = 900) -> Any:
        """Run an execution to its end; returns its output. `name` is the logical id. Raises WorkflowFailed."""
        states = self.client("stepfunctions")
        arn = states.start_execution(stateMachineArn=self.info["state_machines"][name], input=json.dumps(payload))[
            "executionArn"
        ]
        end = time.monotonic() + timeout
        pause = 0.02
        while True:
            execution = states.describe_execution(executionArn=arn)
            if execution["status"] == "SUCCEEDED":
                return json.loads(execution["output"])
            if execution["status"] != "RUNNING":
                raise WorkflowFailed(execution["status"], execution.get("error", ""), execution.get("cause", ""))
            if time.monotonic() > end:
                raise WorkflowFailed("RUNNING", "States.Timeout", f"not done after {timeout} seconds")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def invoke(self, function: str, event: Any) -> Any:
        """Run a function by its logical id; returns its result. Raises StackError."""
        answer = self.client("lambda").invoke(
            FunctionName=self.info["functions"][function], Payload=json.dumps(event).encode()
        )
        result = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise StackError(f"{result.get('errorType')}: {result.get('errorMessage')}")
        return result


def is_running(data: Path) -> bool:
    """Does a stack run in this data folder?"""
    try:
        file: IO[str] = (data / "lock").open("a+")
    except OSError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@contextlib.contextmanager
def attach_or_start(data: Path | str = ".dev") -> Iterator[LocalStack]:
    """The running stack of a data folder; if none runs, one without an API until the end of the `with`."""
    stack = LocalStack(data, port=None)
    if is_running(stack.data):
        stack.info = json.loads((stack.data / "stack.json").read_text())
        yield stack
        return
    with stack:
        yield stack
