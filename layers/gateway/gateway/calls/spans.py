"""Telemetry of each attempt: a subsegment in the request's trace, and a log line with metrics.

Both use the names of OpenTelemetry's conventions for generative AI, and both leave out client input and model output.
Lambda's active tracing provides the trace and a daemon that receives subsegments over UDP. So the gateway needs no SDK,
which costs 0.4 s of a cold start and more. A call never waits for a span; the span is lost instead.

Names: https://opentelemetry.io/docs/specs/semconv/gen-ai/aws-bedrock, which is still in development (read at 1.41).
Subsegments: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from gateway.core.errors import MODEL_NOT_ENABLED
from gateway.core.telemetry import MODELS_NOT_ENABLED, SERVICE, count, embedded
from gateway.usage.records import UNKNOWN, Outcome, UsageRecord

_TRACE = re.compile(r"Root=(1-[0-9a-f]{8}-[0-9a-f]{24});Parent=([0-9a-f]{16});Sampled=([01])")
_REASON = re.compile(r"\w{1,40}")  # a model's stop reason is one word
_ODD = re.compile(r"[^\w\s.:/%&#=+\\@-]")  # characters that the name of a subsegment must not have
_DAEMON_HEADER = '{"format":"json","version":1}\n'
_OPERATIONS = {"text": "chat", "image": "generate_content"}
_write = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Span:
    """One ended attempt: its start, its first chunk, and its settled row, even if the ledger failed to store it."""

    row: UsageRecord
    service: str
    began: datetime
    first_chunk: datetime | None = None
    streamed: bool = False
    guardrail: str = ""
    finish_reason: str = ""
    status: int = 200  # the final error's status
    trace: str = ""  # the request's X-Ray header; empty without tracing

    def attributes(self) -> dict[str, Any]:
        row, usage = self.row, self.row.usage
        said: dict[str, Any] = {
            "gen_ai.operation.name": _OPERATIONS.get(row.operation, "embeddings"),
            "gen_ai.provider.name": f"aws.{self.service}",
            "gen_ai.request.model": row.model_id,
        }
        if self.streamed:
            said["gen_ai.request.stream"] = True
        if self.guardrail:
            said["aws.bedrock.guardrail.id"] = self.guardrail
        if row.outcome is Outcome.SUCCEEDED:
            said["gen_ai.response.model"] = row.model_id
        if self.finish_reason:
            said["gen_ai.response.finish_reasons"] = [self.finish_reason]
        if self.first_chunk:
            said["gen_ai.response.time_to_first_chunk"] = (self.first_chunk - self.began).total_seconds()
        if usage.source != UNKNOWN and row.outcome is not Outcome.FAILED:
            # The convention's input tokens include cached tokens; a row's do not.
            said["gen_ai.usage.input_tokens"] = usage.context_tokens
            said["gen_ai.usage.output_tokens"] = usage.output_tokens
            if usage.cache_read_tokens:
                said["gen_ai.usage.cache_read.input_tokens"] = usage.cache_read_tokens
            if written := usage.cache_write_5m_tokens + usage.cache_write_1h_tokens:
                said["gen_ai.usage.cache_creation.input_tokens"] = written
        if row.error_code:
            said["error.type"] = row.error_code
        said["gateway.tenant_id"] = row.tenant_id
        said["gateway.cost_centre"] = row.cost_centre
        said["gateway.key_id"] = row.key_id
        said["gateway.request_id"] = row.request_id
        said["gateway.attempt"] = row.attempt
        said["gateway.outcome"] = row.outcome
        if row.asked_model:
            said["gateway.asked_model"] = row.asked_model
        if row.routing:
            said["gateway.routing"] = row.routing
        return said

    @property
    def ended(self) -> datetime:
        return self.row.settled_at or self.began


def tell(span: Span) -> None:
    """Send the subsegment if the request is traced, and write the log line."""
    said, traced = span.attributes(), _TRACE.match(span.trace)
    text = _write(said)
    trace_id, parent, sampled = traced.groups() if traced else ("", "", "0")
    if sampled == "1" and (daemon := _daemon(os.environ.get("AWS_XRAY_DAEMON_ADDRESS", ""))):
        # Telemetry must neither fail nor delay a call: if the daemon is full or gone, the span is lost.
        with suppress(OSError):
            daemon.send(_subsegment(span, said, text, trace_id, parent).encode())
    # One write, since other threads write as well.
    sys.stdout.write(_line(span, text, trace_id))
    sys.stdout.flush()
    if span.row.error_code == MODEL_NOT_ENABLED:
        count(MODELS_NOT_ENABLED)


def finish_reason(said: Any) -> str:
    """The stop reason in an answer of Converse, the Messages API or an OpenAI-like API; empty for others."""
    if not isinstance(said, dict):
        return ""
    first = (said.get("choices") or [{}])[0] if isinstance(said.get("choices"), list) else {}
    named = said.get("stopReason") or said.get("stop_reason")
    reason = named or (first.get("finish_reason") if isinstance(first, dict) else "")
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) else ""


def _subsegment(span: Span, said: dict[str, Any], text: str, trace_id: str, parent: str) -> str:
    document: dict[str, Any] = {
        "name": _ODD.sub("_", f"{said['gen_ai.operation.name']} {span.row.model_id}")[:200],
        "id": f"{random.getrandbits(64):016x}",
        "trace_id": trace_id,
        "parent_id": parent,
        "type": "subsegment",
        "namespace": "remote",
        "start_time": span.began.timestamp(),
        "end_time": span.ended.timestamp(),
        # Annotations for searches. A trace has at most 50, and their names must not contain dots.
        "annotations": {
            name.replace(".", "_"): said[name]
            for name in (
                "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model",
                "gateway.tenant_id", "gateway.cost_centre", "gateway.outcome", "error.type",
            )
            if name in said
        },
    }  # fmt: skip
    if span.row.error_code:
        document |= {"fault": True} if span.status >= 500 else {"error": True}
        if span.status == 429:
            document["throttle"] = True
    return f'{_DAEMON_HEADER}{_write(document)[:-1]},"metadata":{{"gen_ai":{text}}}}}'


def _line(span: Span, text: str, trace_id: str) -> str:
    """The log line. Only a successful call has metrics by model, since others may name models that do not exist."""
    head = f'{{"level":"INFO","message":"model_call","service":"{SERVICE}"'
    traced = f',"xray_trace_id":"{trace_id}"' if trace_id else ""
    if span.row.outcome is not Outcome.SUCCEEDED:
        return f"{head}{traced},{text[1:]}\n"
    milliseconds = (span.ended - span.began).total_seconds() * 1000
    metrics = {"CallDuration": milliseconds}
    if span.first_chunk:
        metrics["TimeToFirstToken"] = first = (span.first_chunk - span.began).total_seconds() * 1000
        if (tokens := span.row.usage.output_tokens) > 1:
            metrics["TimePerOutputToken"] = (milliseconds - first) / (tokens - 1)
    measured = _write(embedded(metrics, ("model_id", span.row.model_id), span.ended, "Milliseconds"))
    return f"{head}{traced},{measured[1:-1]},{text[1:]}\n"


@cache
def _daemon(address: str) -> socket.socket | None:
    """A socket to X-Ray's daemon (`169.254.79.129:2000` on Lambda); None without one."""
    host, _, port = address.removeprefix("udp:").rpartition(":")
    if not host or not port.isdecimal():
        return None
    host = host.strip("[]")
    daemon = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    daemon.setblocking(False)
    with suppress(OSError):  # the daemon may be unreachable; the span is lost then
        daemon.connect((host, int(port)))
    return daemon
