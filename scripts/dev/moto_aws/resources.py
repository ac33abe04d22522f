"""What template.yaml declares, made in the embedded AWS each time it starts, with what was kept of it."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.dev.http_server import Request
from scripts.dev.moto_aws.files import Objects
from scripts.dev.moto_aws.nested import mend_nested_executions
from scripts.dev.moto_aws.queues import Queues
from scripts.dev.moto_aws.server import EmbeddedAws
from scripts.dev.moto_aws.tables import Tables
from scripts.project.template_values import ACCOUNT, STACK, Template, project_template

logger = logging.getLogger(__name__)


def load(data: Path, environment: Mapping[str, str], url: str, control: str | None) -> EmbeddedAws:
    template = project_template(environment, url)
    tables = Tables(data / "aws" / "dynamodb.jsonl", template.region)
    tables.load(template.tables())
    queues = Queues(data / "aws" / "sqs.jsonl", template.region)
    queues.load(template.queues())
    objects = Objects(data)
    objects.load(template.buckets(), template.region)
    aws = EmbeddedAws(tables, queues, objects, control)
    # moto's interpreter of state machines takes a second to import, and no request needs it.
    threading.Thread(target=_make_state_machines, args=(aws, template), daemon=True).start()
    return aws


def _make_state_machines(aws: EmbeddedAws, template: Template) -> None:
    try:
        _leave_out_ec2()
        _keep_clients()
        mend_nested_executions()
        for machine in template.state_machines().values():
            _call(
                aws,
                template.region,
                "CreateStateMachine",
                {
                    "name": machine.name,
                    "definition": machine.definition,
                    "roleArn": f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{machine.logical_id}",
                    "type": machine.kind,
                },
            )
    except Exception:
        logger.exception("a state machine cannot be made")
    finally:
        aws.workflows_ready.set()


def _leave_out_ec2() -> None:
    """moto's Step Functions import its EC2, which reads lists of all types of machines: 80 MB that nobody asks for."""
    utilities: Any = importlib.import_module("moto.utilities.utils")
    load, utilities.load_resource = utilities.load_resource, lambda _: {}
    try:
        importlib.import_module("moto.ec2.models")
    finally:
        utilities.load_resource = load


def _keep_clients() -> None:
    """moto's interpreter makes a new client for every task, which takes longer than the task."""
    name = "boto_client_for"
    make = importlib.import_module("moto.stepfunctions.parser.asl.utils.boto_client").boto_client_for
    importlib.import_module("moto.stepfunctions.models")
    made: dict[tuple[str, str], Any] = {}
    lock = threading.Lock()

    def kept(region: str, service: str, state_credentials: Any = None) -> Any:
        with lock:
            if (region, service) not in made:
                made[region, service] = make(region=region, service=service, state_credentials=state_credentials)
            return made[region, service]

    for module in list(sys.modules.values()):
        if module is not None and vars(module).get(name) is make:
            setattr(module, name, kept)


def _call(aws: EmbeddedAws, region: str, operation: str, body: dict[str, str]) -> None:
    headers = [
        ("Host", "127.0.0.1"),
        ("X-Amz-Target", f"AWSStepFunctions.{operation}"),
        ("Content-Type", "application/x-amz-json-1.0"),
        ("Authorization", f"AWS4-HMAC-SHA256 Credential=local/20000101/{region}/states/aws4_request"),
    ]
    response = aws.through_moto(Request("POST", "/", headers, json.dumps(body).encode()))
    if response.status != 200:
        raise RuntimeError(f"{operation} {body['name']}: {response.body.decode()}")
