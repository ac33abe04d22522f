"""The DynamoDB writes of every model call, signed by botocore and sent by urllib3.

    response  as from boto3, with text, numbers, bytes, lists and maps (no table here has sets)
    error     boto3's ClientError, with the service's further fields, such as the `Item` of a failed condition
    retry     of throttles, outages and lost responses, like boto3's standard mode: each of these writes is conditional

boto3's other layers would take two thirds of the CPU time of such a write.
"""

from __future__ import annotations

import json
import random
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from itertools import count
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, HTTPClientError
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from gateway.aws.clients import STORES, client, connections
from gateway.aws.models.credentials import Sessions

ATTEMPTS: int = STORES.retries["total_max_attempts"]
LONGEST_PAUSE = 20.0  # seconds
_TIMEOUT = Timeout(connect=STORES.connect_timeout, read=STORES.read_timeout)
_OUTAGES = (500, 502, 503, 504)
_THROTTLES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


class Writes:
    """`put_item`, `update_item` and `transact_write_items` of boto3's client."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep):
        self._client = client("dynamodb")
        self._sessions = Sessions()
        self._sleep = sleep

    def put_item(self, **request: Any) -> dict[str, Any]:
        """Raises ClientError, or HTTPClientError if there was no response."""
        return self._write("PutItem", request)

    def update_item(self, **request: Any) -> dict[str, Any]:
        """Raises ClientError, or HTTPClientError if there was no response."""
        return self._write("UpdateItem", request)

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        """Raises ClientError, or HTTPClientError if there was no response."""
        return self._write("TransactWriteItems", request)

    def _write(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(request, default=_encoded).encode()
        for tried in count(1):
            try:
                return self._once(operation, body)
            except (ClientError, HTTPClientError) as error:
                if tried == ATTEMPTS or not _passes(error):
                    raise
            self._sleep(random.random() * min(2.0 ** (tried - 1), LONGEST_PAUSE))
        raise AssertionError

    def _once(self, operation: str, body: bytes) -> dict[str, Any]:
        try:
            status, content = self._send(operation, body)
        except HTTPError as error:
            raise HTTPClientError(error=error) from error
        said = _read(content)
        if status == 200:
            return said
        code = str(said.pop("__type", status)).rpartition("#")[2]
        message = said.pop("message", None) or said.pop("Message", "")
        response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}, **said}
        raise self._client.exceptions.from_code(code)(response, operation)

    def _send(self, operation: str, body: bytes) -> tuple[int, bytes]:
        meta = self._client.meta
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"}
        request = AWSRequest("POST", meta.endpoint_url + "/", headers, body)
        SigV4Auth(self._sessions.credentials({}), "dynamodb", meta.region_name).add_auth(request)
        sent = request.prepare()
        # botocore's own hook: a stand-in for the service can respond here, as for every other call of the client.
        _, answer = meta.events.emit_until_response(f"before-send.dynamodb.{operation}", request=sent)
        if answer is not None:
            return answer.status_code, answer.content
        response = connections(meta.endpoint_url).urlopen(
            "POST", "/", body=body, headers=dict(sent.headers.items()), timeout=_TIMEOUT, redirect=False
        )
        return response.status, response.data


def _passes(error: ClientError | HTTPClientError) -> bool:
    if isinstance(error, HTTPClientError):
        return True
    status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return status in _OUTAGES or code in _THROTTLES


def _encoded(value: bytes) -> str:
    return b64encode(value).decode()


def _decoded(value: dict[str, Any]) -> dict[str, Any]:
    """Decode an attribute's bytes, which JSON has as text."""
    packed = value.get("B")
    return {"B": b64decode(packed)} if isinstance(packed, str) and len(value) == 1 else value


def _read(content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(content, object_hook=_decoded)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
