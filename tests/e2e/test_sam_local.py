"""The local stack as seen by the containers of `sam local`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts.deploy.ministack.cloud import free_ports
from scripts.deploy.sam_local import check as sam_local_check
from scripts.dev.stack import LocalStack


def test_the_stack_listens_where_containers_look_and_leaves_the_queue_to_them(tmp_path: Path) -> None:
    aws, models = free_ports(2)
    told = {"GATEWAY_DEV_HOST": "127.0.0.2", "GATEWAY_DEV_EVENTS": "off"}
    told |= {"GATEWAY_DEV_AWS_PORT": str(aws), "GATEWAY_DEV_MODELS_PORT": str(models)}
    with LocalStack(tmp_path, port=None, environment=told) as stack:
        assert urlsplit(stack.aws_endpoint).netloc == f"127.0.0.2:{aws}"
        assert urlsplit(stack.model_stand_in_url).netloc == f"127.0.0.2:{models}"
        sqs, queue = stack.client("sqs"), stack.info["queues"]["JobsQueue"]
        sqs.send_message(QueueUrl=queue, MessageBody="for a container")
        (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)["Messages"]
        assert message["Body"] == "for a container"


def test_without_docker_the_check_says_that_it_did_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sam_local_check.main() == 0
    assert capsys.readouterr().out.strip() == sam_local_check.NOT_RUN
