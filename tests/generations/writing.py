"""Writes a release's story into the files of its generation."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.awslambda.models import LambdaFunction
from moto.core.config import default_user_config

from tests.conftest import make_tables
from tests.generations import BUCKETS, TABLES
from tests.generations.story import DAY, Story, scan

# What the clock alone says: when items go.
GONE = str(int((DAY + timedelta(days=400)).timestamp()))


def write(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Write a generation into a folder, from tables and buckets of this process."""
    with mock_aws():
        make_tables()
        queue = boto3.client("sqs").create_queue(QueueName="jobs")["QueueUrl"]
        patch.setenv("JOBS_QUEUE_URL", queue)
        patch.setitem(default_user_config, "stepfunctions", {"execute_state_machine": True})
        story = Story()
        patch.setattr(LambdaFunction, "_invoke_lambda", lambda self, event=None: story.workflow.invoke(self, event))
        story.write()
        folder.mkdir(parents=True)
        items = {table: sorted(map(_settled, scan(table)), key=as_text) for table in TABLES}
        (folder / "items.json").write_text(as_text(items), encoding="utf-8")
        (folder / "queue.json").write_text(as_text(_waiting(queue, items["results"])), encoding="utf-8")
        (folder / "manifest.json").write_text(as_text(story.manifest()), encoding="utf-8")
        s3 = boto3.client("s3")
        for bucket in BUCKETS:
            for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
                file = folder / bucket / entry["Key"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())


def as_text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=_base64) + "\n"


def _base64(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode()


def _settled(item: dict[str, Any]) -> dict[str, Any]:
    """A budget's account is kept for 400 days from the clock's own moment, which differs each time."""
    is_account = "pk" in item and "sk" not in item
    return item | {"expires_at": {"N": GONE}} if is_account else item


def _waiting(queue: str, jobs: list[dict[str, Any]]) -> list[str]:
    """The messages of the unfinished jobs."""
    open_jobs = {job["request_id"]["S"] for job in jobs if job["state"]["S"] == "queued"}
    found = []
    while got := boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found += [message["Body"] for message in got if json.loads(message["Body"])["request_id"] in open_jobs]
    return found
