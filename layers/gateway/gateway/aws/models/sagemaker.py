"""Calls endpoints of Amazon SageMaker."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError, ClientError, EventStreamError
from urllib3.exceptions import HTTPError

from gateway.aws.clients import client, models_config
from gateway.aws.models.upstream_errors import broke, cut_off, refused, unreachable
from gateway.calls.call import ModelAnswer, ModelCall
from gateway.calls.eventstream import Frame
from gateway.core.errors import UpstreamError
from gateway.usage.provider_counts import texts
from gateway.usage.records import TokenUsage
from gateway.usage.stream_counts import EndpointUsage


class SageMakerRuntime:
    """`gateway.calls.call.Models` on sagemaker-runtime."""

    def __init__(self, seconds: float):
        self._sagemaker = client("sagemaker-runtime", models_config(seconds))

    def call(self, call: ModelCall) -> ModelAnswer:
        try:
            response = self._sagemaker.invoke_endpoint(**self._request(call))
            content = response["Body"].read()
        except ClientError as error:
            raise refused(error) from error
        except BotoCoreError as error:
            raise unreachable(error) from error
        try:
            body = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UpstreamError(
                "The endpoint's answer is not JSON.",
                code="upstream_unreadable",
                status=502,
                error_type="NotJson",
                ran=True,
            ) from error
        return ModelAnswer(body, _usage(call, body), content)

    def open(self, call: ModelCall) -> OpenedEndpoint:
        try:
            response = self._sagemaker.invoke_endpoint_with_response_stream(**self._request(call))
        except ClientError as error:
            raise refused(error) from error
        except BotoCoreError as error:
            raise unreachable(error) from error
        return OpenedEndpoint(response["ResponseMetadata"]["HTTPHeaders"], response["Body"])

    def _request(self, call: ModelCall) -> dict[str, Any]:
        component = {"InferenceComponentName": call.inference_component} if call.inference_component else {}
        body = json.dumps(call.body)
        return {"EndpointName": call.model.target, "Body": body, "ContentType": "application/json", **component}


@dataclass(frozen=True)
class OpenedEndpoint:
    """An open stream of an endpoint, as frames of kind `line`, reassembled since parts may end within a line."""

    headers: Mapping[str, str]
    _body: Any = field(repr=False)

    @cached_property
    def frames(self) -> Iterator[Frame]:
        return self._read()

    def _read(self) -> Iterator[Frame]:
        waiting, begun = b"", False
        try:
            for event in self._body:
                if "PayloadPart" not in event:
                    continue
                begun = True
                *lines, waiting = (waiting + event["PayloadPart"]["Bytes"]).split(b"\n")
                yield from (frame for line in lines if (frame := _line(line)))
        except EventStreamError as error:
            name = str(error.response.get("Error", {}).get("Code", ""))
            raise broke(Frame(name, b""), begun=begun) from error
        except (BotoCoreError, HTTPError, OSError, ParserError) as error:
            raise cut_off(error) from error
        finally:
            self._body.close()
        if frame := _line(waiting):
            yield frame

    def abort(self) -> None:
        with suppress(OSError, AttributeError):
            self._body._raw_stream.connection.sock.shutdown(socket.SHUT_RDWR)


def _line(line: bytes) -> Frame | None:
    """A line of JSON, also from a server-sent event; None for any other line."""
    text = line.strip().removeprefix(b"data:").strip()
    return Frame("line", text) if text.startswith(b"{") else None


def _usage(call: ModelCall, body: Any) -> TokenUsage:
    """An endpoint's own counts if its container reports them; otherwise an estimate, marked as such in the row."""
    with suppress(KeyError, TypeError, ValueError, AttributeError, IndexError):
        if usage := _counted(body if isinstance(body, list) else [body]):
            return usage
    return call.estimated(texts(call.body), texts(body) if call.operation == "text" else "")


def _counted(answers: list[Any]) -> TokenUsage | None:
    """The sum of the counts of all answers; None if one of them has no counts."""
    found: list[TokenUsage] = []
    for answer in answers:
        counts = EndpointUsage()
        counts.see(answer)
        if (usage := counts.usage()) is None:
            return None
        found.append(usage)
    if len(found) == 1:
        return found[0]
    return (
        TokenUsage(
            sum(usage.input_tokens for usage in found),
            sum(usage.output_tokens for usage in found),
            sum(usage.cache_read_tokens for usage in found),
            sum(usage.cache_write_5m_tokens for usage in found),
            raw=f"[{','.join(usage.raw for usage in found)}]",
        )
        if found
        else None
    )
