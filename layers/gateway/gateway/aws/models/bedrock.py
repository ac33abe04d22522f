"""Amazon Bedrock: lists its models and calls them.

botocore signs calls and urllib3 sends them, without boto3's parsers: a response passes through unchanged, streams frame
by frame, and a call takes half the CPU. The SDK's retries are not wanted, since each attempt is a ledger row.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError

from gateway.aws.clients import SETTLING, client, connections
from gateway.aws.models.credentials import Sessions
from gateway.aws.models.upstream_errors import broke, cut_off, no_answer, refusal_of, refused, unreachable
from gateway.aws.models.whole_streams import WholeStream
from gateway.calls.call import ModelAnswer, ModelCall
from gateway.calls.eventstream import BrokenFrameError, Frame, frames
from gateway.calls.families import family
from gateway.core.errors import RetryableError, UpstreamError
from gateway.pricing.model_names import profile_id
from gateway.usage.provider_counts import echoed_tier, from_converse, from_invoke_model, header_tier
from gateway.usage.records import TokenUsage

_PATHS = {
    "Converse": "converse",
    "ConverseStream": "converse-stream",
    "InvokeModel": "invoke",
    "InvokeModelWithResponseStream": "invoke-with-response-stream",
    "CountTokens": "count-tokens",
}
_METADATA = "X-Amzn-Bedrock-Request-Metadata"
# From the service's model: `RequestMetadataValueString`.
_NOT_METADATA = re.compile(r"[^a-zA-Z0-9\s:_@$#=/+,.-]", re.ASCII)
_LONGEST_TAG = 256
_PART = 1 << 16


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


@dataclass(frozen=True)
class OpenedStream:
    """An open stream of the service: its headers, and its frames as they arrive. Raises UpstreamError."""

    headers: Mapping[str, str]
    _response: urllib3.BaseHTTPResponse = field(repr=False)

    @cached_property
    def frames(self) -> Iterator[Frame]:
        return self._read()

    def _read(self) -> Iterator[Frame]:
        begun = whole = False
        try:
            for frame in frames(self._parts()):
                if frame.is_error:
                    raise broke(frame, begun=begun)
                begun = True
                yield frame
            whole = True
        except (urllib3.exceptions.HTTPError, OSError, BrokenFrameError) as error:
            raise cut_off(error) from error
        finally:
            if not whole:
                self._response.close()  # the next response on the connection would begin with this one's rest
            self._response.release_conn()

    def _parts(self) -> Iterator[bytes]:
        while part := self._response.read1(_PART):
            yield part

    def abort(self) -> None:
        """End the stream now, from any thread; a reader that waits for the next frame gets an error."""
        with suppress(OSError, AttributeError):
            self._response.connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]


class BedrockRuntime:
    """`gateway.calls.call.Models` and `gateway.calls.streaming.Streams` on bedrock-runtime."""

    def __init__(self, seconds: float, sessions: Sessions | None = None):
        self._seconds = max(seconds - SETTLING, 1)
        self._sessions = sessions or Sessions()

    @cached_property
    def _meta(self) -> Any:
        return client("bedrock-runtime").meta

    def call(self, call: ModelCall) -> ModelAnswer:
        response = self._send(call)
        try:
            content = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise cut_off(error) from error
        body = _read_json(content)
        return ModelAnswer(body, _usage(call, body, response.headers), content, _lowered(response.headers))

    def open(self, call: ModelCall) -> OpenedStream | WholeStream:
        """Open a stream. If the model cannot stream with tools, call it without streaming."""
        if call.api == "ConverseStream" and call.body.get("toolConfig") and not family(call.model.base).streams_tools:
            return WholeStream(self.call(replace(call, api="Converse")))
        response = self._send(call)
        return OpenedStream(_lowered(response.headers), response)

    def _send(self, call: ModelCall) -> urllib3.BaseHTTPResponse:
        """Send a call and wait for its status. Raises UpstreamError for any but 200."""
        headers = {"content-type": "application/json", **call.headers}
        body = call.body
        if call.tags and call.api.startswith("Converse"):
            # Keep the client's own tags, but let none overwrite ours or pass as ours; a call may have 16.
            tags = _metadata(call.tags)
            sent = body.get("requestMetadata") or {}
            own = [item for item in sent.items() if item[0] not in tags and item[0] != "user_source"]
            body = {**body, "requestMetadata": {**dict(own[: 16 - len(tags)]), **tags}}
        elif call.tags and call.api.startswith("Invoke"):
            headers[_METADATA] = compact(_metadata(call.tags))
        path = f"/model/{quote(call.model.target, safe='')}/{_PATHS[call.api]}"
        endpoint = self._meta.endpoint_url
        request = AWSRequest("POST", endpoint + path, headers, compact(body).encode())
        try:
            credentials = self._sessions.credentials(call.tags)
            SigV4Auth(credentials, "bedrock", self._meta.region_name).add_auth(request)
        except (BotoCoreError, ClientError) as error:
            raise (refused(error) if isinstance(error, ClientError) else unreachable(error)) from error
        sent = request.prepare()
        timeout = urllib3.Timeout(connect=5, read=self._patience(call))
        try:
            response = connections(endpoint).urlopen(
                "POST", urlsplit(sent.url).path, body=sent.body, headers=dict(sent.headers.items()), timeout=timeout,
                preload_content=False, redirect=False,
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            raise no_answer(error) from error
        if response.status != 200:
            raise _refusal(response)
        return response

    def _patience(self, call: ModelCall) -> float:
        """Seconds of silence before the gateway aborts a call, so that its row can still be settled."""
        if call.until is None:
            return self._seconds
        left = (call.until - datetime.now(UTC)).total_seconds()
        return max(min(self._seconds, left - SETTLING), 1)


def _metadata(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags in the characters and the length that Bedrock takes in a request's metadata."""
    return {name: _NOT_METADATA.sub("_", text)[:_LONGEST_TAG] for name, text in tags.items()}


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in headers.items()}


def _refusal(response: urllib3.BaseHTTPResponse) -> UpstreamError:
    try:
        said = json.loads(response.read())
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        said = {}
    said = said if isinstance(said, dict) else {}
    error_type = response.headers.get("x-amzn-errortype") or str(said.get("__type") or said.get("code") or "")
    error_type = error_type.partition(":")[0].rpartition("#")[2]
    message = str(said.get("message") or said.get("Message") or "")
    return refusal_of(error_type, message, response.status, response.headers.get("retry-after") or "")


def _read_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UpstreamError(
            "The model's answer is not JSON.", code="upstream_unreadable", status=502, error_type="NotJson", ran=True
        ) from error


def _usage(call: ModelCall, body: Any, headers: Mapping[str, str]) -> TokenUsage:
    """The service's own counts; zero for calls that it does not charge."""
    if call.api == "CountTokens":
        return TokenUsage()
    counts = {name: text for name, text in _lowered(headers).items() if name.startswith("x-amzn-bedrock-")}
    if call.api == "Converse":
        return measured(call, body, lambda: _converse_usage(body, counts))
    return measured(call, body, lambda: _invoke_usage(call, body, counts))


def measured(call: ModelCall, body: Any, read: Callable[[], TokenUsage | None]) -> TokenUsage:
    """The service's own counts, or an estimate, marked as such, if it sent no readable ones."""
    try:
        usage = read()
    except (KeyError, TypeError, ValueError, AttributeError):
        usage = None
    return usage or _estimated(call, body)


def _converse_usage(body: Any, headers: Mapping[str, str]) -> TokenUsage:
    usage = body.get("usage") or {}
    tier = echoed_tier(body.get("performanceConfig"), body.get("serviceTier"), header_tier(headers))
    return from_converse(usage, compact(usage), tier)


def _invoke_usage(call: ModelCall, body: Any, counts: dict[str, str]) -> TokenUsage | None:
    """The usage of an InvokeModel call: images are counted in the response, tokens by the service."""
    if call.operation == "image":
        made = body.get("artifacts") or body.get("images") or () if isinstance(body, dict) else ()
        return TokenUsage(images=len(made), image_class=call.image_class, raw=compact(counts))
    raw = compact({"usage": body.get("usage") if isinstance(body, dict) else None, "headers": counts})
    usage = from_invoke_model(body, counts, raw)
    return replace(usage, input_images=call.input_images) if usage else None


def _estimated(call: ModelCall, body: Any) -> TokenUsage:
    """An estimate for a model that reports no counts; for embeddings of the input only, since vectors are not text."""
    return call.estimated(compact(call.body), compact(body) if call.operation == "text" else "")


def _timestamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class BedrockCatalog:
    """The models and inference profiles of this region, as Bedrock lists them."""

    def __init__(self) -> None:
        self._bedrock = client("bedrock")
        self._behind: dict[str, str | None] = {}  # cached forever: a profile's models never change

    def summaries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(self._bedrock.list_foundation_models)["modelSummaries"]
        return found

    def profiles(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = self._ask(self._bedrock.list_inference_profiles, maxResults=100)
        found += page.get("inferenceProfileSummaries", [])
        while token := page.get("nextToken"):
            page = self._ask(self._bedrock.list_inference_profiles, maxResults=100, nextToken=token)
            found += page.get("inferenceProfileSummaries", [])
        return found

    def behind(self, profile_arn: str) -> str | None:
        """The model id that prices an application inference profile; None if unknown."""
        if profile_arn not in self._behind:
            try:
                profile = self._ask(self._bedrock.get_inference_profile, inferenceProfileIdentifier=profile_arn)
            except RetryableError:
                raise  # a temporary failure must not make the profile unpriced
            except UpstreamError:
                return None
            models = [str(model["modelArn"]) for model in profile.get("models") or ()]
            self._behind[profile_arn] = profile_id(models, self._bedrock.meta.region_name)
        return self._behind[profile_arn]

    def _ask(self, operation: Callable[..., Any], **request: Any) -> Any:
        try:
            # Restore Bedrock's own JSON for clients: boto3 parses its timestamps to datetimes.
            return json.loads(json.dumps(operation(**request), default=_timestamp))
        except ClientError as error:
            raise refused(error) from error
        except BotoCoreError as error:
            raise unreachable(error) from error
