"""What a deployed copy answers, held against openapi.yaml as the local stack's answers are."""

from __future__ import annotations

from collections.abc import Iterable

from scripts.dev.api_gateway.judging import judge_of
from scripts.dev.http_server import Response
from scripts.project.template import ROOT


def misfits(method: str, target: str, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> str:
    """Where an answer does not fit the spec; empty where it does, and where the spec has no such operation."""
    response = Response(status, body, list(headers))
    return "; ".join(judge_of(ROOT / "openapi.yaml").faults(method, target.partition("?")[0], response))
