"""The deployed gateway under test: its stack, clients of its services, and callers with and without a key.

All temporary resources are deleted afterwards: each is registered on `undo` as soon as it exists.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from scripts.dev.rest_api.importing import Method, import_rest_api
from scripts.operate.admin_api import AdminApi, Refused, of
from scripts.project.template import load, project_template

ROOT = Path(__file__).parents[3]
SPEC = ROOT / "openapi.yaml"
# API Gateway allows few changes a second (one API deletion in thirty), so a refused one is retried for long.
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})
PREFIX = "verify-"  # prefix of all temporary resources

Json = Any
Made = TypeVar("Made")


@dataclass(frozen=True)
class Caller:
    """A caller of the gateway, with one key or none."""

    url: str
    key: str = ""

    def call(self, method: str, path: str, body: Json = None, *, stream: bool = False) -> requests.Response:
        with requests.Session() as session:
            return self.send(session, method, path, body, stream=stream)

    def send(
        self, session: requests.Session, method: str, path: str, body: Json = None, *, stream: bool = False
    ) -> requests.Response:
        session.trust_env = False  # a .netrc would add its own credentials
        headers = {"x-api-key": self.key} if self.key else {}
        if method == "POST":
            headers |= {"content-type": "application/json", "messages_api": "true"}
        content = None if body is None else json.dumps(body)
        return session.request(method, self.url + path, data=content, headers=headers, timeout=120, stream=stream)


def said(answer: requests.Response) -> Json:
    """The JSON of a response; empty if it is not JSON."""
    try:
        return answer.json()
    except ValueError:
        return {}


def shown(answer: requests.Response) -> str:
    """A short form of a response: status, problem code, message."""
    problem = said(answer)
    if not isinstance(problem, dict):
        return str(answer.status_code)
    words = (str(answer.status_code), problem.get("code"), problem.get("message"))
    return " ".join(str(word) for word in words if word)


@dataclass
class Deployment:
    """A deployed stack by its name. Raises boto3's errors."""

    stack: str
    undo: ExitStack
    given_url: str = ""
    given_key: str = ""
    given_model: str = ""
    with_import: bool = False
    alarm_wait: float = 180.0
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    strangers_at: float | None = None  # when wrong keys were sent, by time.monotonic
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    _clients: dict[str, Any] = field(default_factory=dict)

    # ---------------------------------------------------------------------------------------------------- what there is
    @cached_property
    def session(self) -> Any:
        return boto3.Session()

    def client(self, service: str) -> Any:
        if service not in self._clients:
            config = _PATIENT if service == "apigateway" else None
            self._clients[service] = self.session.client(service, config=config)
        return self._clients[service]

    @cached_property
    def document(self) -> dict[str, Any]:
        """openapi.yaml as CloudFormation passes it on, with the names of nonexistent functions."""
        template = project_template({"AWS_REGION": self.session.region_name or "us-east-1"})
        resolved: dict[str, Any] = template.resolve(load(SPEC))
        return resolved

    @cached_property
    def wanted(self) -> tuple[Method, ...]:
        """The methods that API Gateway's import makes of it."""
        return import_rest_api(self.document).methods

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        (found,) = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", ())}

    @cached_property
    def resources(self) -> Mapping[str, tuple[str, str]]:
        """Kind and physical id of each resource, by its logical id."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.stack)
        return {
            it["LogicalResourceId"]: (it["ResourceType"], it.get("PhysicalResourceId", ""))
            for page in pages
            for it in page["StackResourceSummaries"]
        }

    def of_kind(self, kind: str) -> list[str]:
        return [physical for found, physical in self.resources.values() if found == kind]

    @property
    def url(self) -> str:
        return (self.given_url or self.outputs["ApiUrl"]).rstrip("/")

    # ---------------------------------------------------------------------------------------------------------- callers
    @cached_property
    def admin(self) -> AdminApi:
        return AdminApi(self.url, self.session.region_name, self.session.get_credentials())

    @cached_property
    def caller(self) -> Caller:
        """The tenant that calls models: the given key's, or one created for this run."""
        return Caller(self.url, self.given_key) if self.given_key else self.new_tenant({})[1]

    def new_tenant(self, settings: Mapping[str, Any], suffix: str = "") -> tuple[str, Caller]:
        """Create a tenant with one key, for this run only. Raises Refused."""
        tenant_id = f"{PREFIX}{secrets.token_hex(6)}{suffix}"
        self.undo.callback(self._gone, f"tenant {tenant_id}", lambda: self._delete_tenant(tenant_id))
        self.put_tenant(tenant_id, settings)
        made = self.admin.call("POST", f"{of(tenant_id)}/keys", {"label": "verification"})
        return tenant_id, Caller(self.url, made["key"])

    def put_tenant(self, tenant_id: str, settings: Mapping[str, Any]) -> None:
        record = {"name": "verification", "cost_centres": ["verification"], "allowed_models": ["*"], **settings}
        self.admin.call("PUT", of(tenant_id), record)

    def _delete_tenant(self, tenant_id: str) -> None:
        try:
            self.admin.call("DELETE", of(tenant_id))
        except Refused as refused:
            if refused.status != 404:  # it was never created
                raise

    # --------------------------------------------------------------------------------------------------------- deletion
    def make(self, what: str, create: Callable[[], Made], remove: Callable[[Made], object]) -> Made:
        """The result of `create`, deleted at the end of the run. Ctrl-C waits until the deletion is registered."""
        with unbroken():
            made = create()
            self.undo.callback(self._gone, what, lambda: remove(made))
        return made

    def _gone(self, what: str, remove: Callable[[], object]) -> None:
        try:
            remove()
        except (ClientError, BotoCoreError, Refused, requests.RequestException) as error:
            self.tell(f"Delete by hand: {what} ({' '.join(str(error).split())[:300]})")


@contextmanager
def unbroken() -> Iterator[None]:
    """Within it, Ctrl-C and SIGTERM wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def patience(seconds: float) -> Iterator[Callable[[], bool]]:
    """Is time left? Call it between two polls."""
    end = time.monotonic() + seconds
    yield lambda: time.monotonic() < end
