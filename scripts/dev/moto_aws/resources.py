"""Creates the resources of template.yaml at each start of the embedded AWS, and loads their stored data."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from scripts.dev.http_server import Request
from scripts.dev.moto_aws.files import Objects
from scripts.dev.moto_aws.moto_patches import patch_state_machines, patch_tables
from scripts.dev.moto_aws.queues import Queues
from scripts.dev.moto_aws.server import EmbeddedAws
from scripts.dev.moto_aws.tables import PackedTable, Tables
from scripts.project.template import ACCOUNT, STACK, Template, project_template

logger = logging.getLogger(__name__)


def load(data: Path, environment: Mapping[str, str], url: str, control: str | None) -> EmbeddedAws:
    template = project_template(environment, url)
    patch_tables(PackedTable)
    tables = Tables(data / "aws" / "dynamodb.jsonl", template.region)
    tables.load(template.tables())
    queues = Queues(data / "aws" / "sqs.jsonl", template.region)
    queues.load(template.queues())
    objects = Objects(data)
    objects.load(template.buckets(), template.region)
    aws = EmbeddedAws(tables, queues, objects, control)
    # The import of moto's state machine interpreter takes a second, and no early request needs it.
    threading.Thread(target=_make_state_machines, args=(aws, template), daemon=True).start()
    return aws


def _make_state_machines(aws: EmbeddedAws, template: Template) -> None:
    try:
        patch_state_machines()
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
        logger.exception("a state machine cannot be created")
    finally:
        aws.workflows_ready.set()


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
