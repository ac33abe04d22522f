"""The payload bucket is emptied only when its stack is deleted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest

from .conftest import ROOT, context

Load = Callable[[str], Any]
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": "arn:aws:s3:::payloads/*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ],
}


class Stack:
    """A stack that sends requests and records the responses."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.told: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                outer.told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __call__(self, kind: str, seconds: float = 900) -> dict[str, Any]:
        sent: dict[str, Any] = json.loads((ROOT / "events/empty_payloads/create.json").read_text())
        sent |= {"RequestType": kind, "ResponseURL": f"http://127.0.0.1:{self.server.server_address[1]}/"}
        self._app.handler(sent | ({} if kind == "Create" else {"PhysicalResourceId": "payloads"}), context(seconds))
        return self.told.pop()


@pytest.fixture
def stack(load: Load) -> Iterator[Stack]:
    stack = Stack(load("empty_payloads"))
    stack._app.leftovers.page = 2
    s3 = boto3.client("s3")
    for number in range(3):
        s3.put_object(Bucket="payloads", Key=f"answers/{number}", Body=b"{}")
    yield stack
    stack.server.shutdown()
    stack.server.server_close()


def left() -> int:
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket="payloads")
    return sum(len(page.get("Contents", ())) for page in pages)


def test_the_bucket_of_a_stack_that_goes_is_empty(stack: Stack) -> None:
    assert stack("Create") == stack("Create") | {"Status": "SUCCESS", "PhysicalResourceId": "payloads"}
    assert left() == 3
    told = stack("Delete")  # its policy is gone by then
    assert (told["Status"], told["PhysicalResourceId"], left()) == ("SUCCESS", "payloads", 0)
    boto3.client("s3").delete_bucket(Bucket="payloads")
    assert stack("Delete")["Status"] == "SUCCESS"  # CloudFormation may ask twice


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_a_bucket_in_service_is_left_as_it_is(stack: Stack, kind: str) -> None:
    """An update, or a rollback to a release without this resource, deletes the resource but not the bucket."""
    boto3.client("s3").put_bucket_policy(Bucket="payloads", Policy=json.dumps(POLICY))
    assert stack(kind)["Status"] == "SUCCESS"
    assert left() == 3


def test_a_stack_is_told_when_there_was_no_time_for_all(stack: Stack) -> None:
    told = stack("Delete", seconds=30)
    assert (told["Status"], told["Reason"].partition(":")[0], left()) == ("FAILED", "not_empty_yet", 1)
    assert stack("Delete")["Status"] == "SUCCESS"
    assert left() == 0


def test_what_s3_refuses_to_delete_is_no_success(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"Errors": [{"Key": "answers/1", "Code": "AccessDenied"}]}
    monkeypatch.setattr(stack._app.leftovers._s3, "delete_objects", lambda **_: refused)
    told = stack("Delete", seconds=30)
    assert (told["Status"], told["Reason"].partition(".")[0], left()) == ("FAILED", "Internal error", 3)
