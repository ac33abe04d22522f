"""Starts and stops the embedded AWS and the model stand-in behind it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).parents[3]
HOME = Path(__file__).parent
LOCK = HOME / "requirements.lock"
ENVIRONMENT = ROOT / ".venv-embedded"
REGION = "us-east-1"
ACCOUNT = "123456789012"
PATIENCE = 60.0


class NotStarted(RuntimeError):
    """A process did not start; carries the end of its log, which has the reason."""

    def __init__(self, what: str, log: str):
        super().__init__(f"{what} did not start:\n{log[-2000:]}")


@dataclass(frozen=True)
class Cloud:
    """A running embedded AWS: its address, and the environment for SDKs and the SAM CLI."""

    url: str
    models_url: str
    models_ledger: Path

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def client(self, service: str, credentials: Mapping[str, str] | None = None) -> Any:
        """A client with the deployer's credentials, or with the given ones (in STS's form)."""
        given = credentials or {"AccessKeyId": "test", "SecretAccessKey": "test"}
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given.get("SessionToken"),
        )


@contextmanager
def running(folder: Path) -> Iterator[Cloud]:
    """The embedded AWS and the models, started and empty; both end with this process, however it ends."""
    models_port, port = free_ports(2)
    cloud = Cloud(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{models_port}", folder / "models.jsonl")
    scratch = folder / "tmp"  # ministack leaves its unpacked functions behind
    scratch.mkdir()
    settings = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AUTH": "true",  # enforces roles and their policies
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(scratch),
        "PATH": os.pathsep.join([str(ENVIRONMENT / "bin"), os.environ.get("PATH", "")]),
    }
    # A function must not see more than in AWS: it gets only the variables that the machine needs.
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "TZ") if name in os.environ}
    stand_in = [sys.executable, "-m", "scripts.dev.fake_models", "--port", str(models_port)]
    stand_in += ["--ledger", str(cloud.models_ledger), "--exit-with-parent"]
    launch = [str(ENVIRONMENT / "bin/python"), "-m", "scripts.deploy.ministack.launch"]
    with (
        process(stand_in, dict(os.environ), folder / "models.log"),
        process(launch, kept | dict(cloud.environment) | settings, folder / "aws.log") as aws,
    ):
        wait_for_port(models_port, "the model stand-in", folder / "models.log")
        wait_until_up(cloud, aws, folder / "aws.log")
        yield cloud


@contextmanager
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def free_ports(count: int) -> list[int]:
    """Free ports; all are bound until the last is found, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def wait_for_port(port: int, what: str, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotStarted(what, log.read_text(errors="replace"))


def wait_until_up(cloud: Cloud, aws: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and aws.poll() is None:
        try:
            urllib.request.urlopen(f"{cloud.url}/_ministack/health", timeout=2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotStarted("the embedded AWS", log.read_text(errors="replace"))
