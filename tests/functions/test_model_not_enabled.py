"""A model that the gateway's AWS account has not enabled: one code in every format, and a notice to the operators."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.aws.models.upstream_errors import refusal_of
from gateway.usage.records import Outcome
from scripts.dev.fake_models import FakeModels
from scripts.dev.fake_models.errors import BEDROCK

from .test_invoke_model import rows
from .test_spans import invoke
from .test_stream_model import HAIKU, NOVA, app, ask

__all__ = ["app"]  # a fixture

SAID = [(BEDROCK[name].type, BEDROCK[name].message, BEDROCK[name].status) for name in ("notenabled", "noform")]
MARKETPLACE = "User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized to perform: aws-marketplace:Subscribe"
PAYMENT = (
    "Model access is denied due to INVALID_PAYMENT_INSTRUMENT:A valid payment instrument must be provided.. Your AWS"
    " Marketplace subscription for this model cannot be completed at this time."
)
SAID += [
    ("AccessDeniedException", MARKETPLACE, 403),
    ("AccessDeniedException", PAYMENT, 403),
    ("AccessDeniedException", "You don't have access to the model with the specified model ID.", 403),
    ("AccessDeniedException", "anthropic.claude-9:0 is not available for this account. You can explore others.", 403),
    ("ValidationException", "You have not filled out the required use-case form for this model. Complete it.", 400),
    ("ValidationException", "data retention mode 'default' is not available for this model", 400),
]
OTHER = [
    ("AccessDeniedException", BEDROCK["denied"].message, "model_access_denied"),
    ("AccessDeniedException", "", "model_access_denied"),
    ("ResourceNotFoundException", BEDROCK["notfound"].message, "model_not_found"),
    # A fault may quote the request, and a tenant must not be able to call its operators that way.
    ("ValidationException", "Bad tool 'Model access is denied due to x'", "model_rejected_request"),
    ("ThrottlingException", PAYMENT, "model_throttled"),
]


@pytest.mark.parametrize(("kind", "message", "status"), SAID)
def test_bedrocks_words_for_it_are_one_code_and_name_no_account(kind: str, message: str, status: int) -> None:
    problem = refusal_of(kind, message, status)
    assert (problem.code, problem.status, problem.ran) == ("model_not_enabled", 403, False)
    assert "Ask the gateway's operators" in problem.message
    assert not any(word in problem.message for word in ("arn:", "123456789012", "marketplace"))


@pytest.mark.parametrize(("kind", "message", "code"), OTHER)
def test_what_a_role_may_not_do_or_a_request_got_wrong_is_something_else(kind: str, message: str, code: str) -> None:
    assert refusal_of(kind, message, 403).code == code


def _text(prompt: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": prompt}]}]


def _bedrock(prompt: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": prompt}]}]


DIALECTS: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "chat": ("/v1/chat/completions", lambda prompt: {"model": NOVA, "messages": _text(prompt)}),
    "chat stream": ("/v1/chat/completions", lambda prompt: {"model": NOVA, "messages": _text(prompt), "stream": True}),
    "responses": ("/v1/responses", lambda prompt: {"model": NOVA, "input": prompt}),
    "messages": ("/v1/messages", lambda prompt: {"model": HAIKU, "max_tokens": 9, "messages": _text(prompt)}),
    "converse": (f"/model/{NOVA}/converse", lambda prompt: {"messages": _bedrock(prompt)}),
    "converse-stream": (f"/model/{NOVA}/converse-stream", lambda prompt: {"messages": _bedrock(prompt)}),
}


@pytest.mark.parametrize("directive", ["[[notenabled]]", "[[noform]]"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_tells_it_in_its_own_form(app: Any, models: FakeModels, dialect: str, directive: str) -> None:
    path, body = DIALECTS[dialect]
    status, content, headers = ask(app, path, body(directive))
    problem = json.loads(content)
    assert (status, problem["code"]) == (403, "model_not_enabled")
    if path.startswith("/v1"):
        assert problem["error"]["type"] == "permission_error"
    else:
        assert headers["x-amzn-errortype"] == "AccessDeniedException"
    ((row,), served) = rows(), models.ledger.after()
    assert (row.outcome, row.error_code, row.usage.input_tokens) == (Outcome.FAILED, "model_not_enabled", 0)
    assert len(served) == 1


def test_it_is_neither_tried_again_nor_answered_by_another_model(
    load: Callable[[str], Any], models: FakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_ROUTES", json.dumps({"fast": {"model": HAIKU, "retries": 2, "fallbacks": [NOVA]}}))
    status, problem = invoke(load("invoke_model"), "[[noform]]", "fast")
    assert (status, problem["code"]) == (403, "model_not_enabled")
    assert [row.model_id for row in rows()] == [HAIKU]


def test_operators_see_the_model_in_the_log_and_a_count_in_cloudwatch(
    load: Callable[[str], Any], models: FakeModels, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(load("invoke_model"), "[[notenabled]]")
    out = capsys.readouterr().out
    (call,) = [json.loads(line) for line in out.splitlines() if '"model_call"' in line]
    assert (call["error.type"], call["gen_ai.request.model"]) == ("model_not_enabled", HAIKU)
    (counted,) = [json.loads(line) for line in out.splitlines() if '"ModelNotEnabled"' in line]
    assert counted["ModelNotEnabled"] == [1.0]
    assert counted["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    invoke(load("invoke_model"), "[[denied]]")
    assert "ModelNotEnabled" not in capsys.readouterr().out
