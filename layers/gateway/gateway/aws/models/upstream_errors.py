"""Maps a model service's errors to client problems: a status, a stable code, a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from urllib3 import exceptions as http

from gateway.calls.eventstream import Frame
from gateway.core.errors import MODEL_NOT_ENABLED, RetryableError, UpstreamError

if TYPE_CHECKING:
    from gateway.core.error_codes import ErrorCode


@dataclass(frozen=True)
class Refusal:
    """The client problem for one kind of error. `ran`: may the model have run and used tokens?"""

    status: int
    code: ErrorCode
    sentence: str
    retry_after: int | None = None
    ran: bool = False
    passes: bool = False  # may a retry, or another model, succeed?


_INVALID = Refusal(400, "model_rejected_request", "The model does not accept the request")
_QUOTA = Refusal(400, "model_quota_exceeded", "A service quota is used up. Ask the gateway's operators.")
_CONFLICT = Refusal(400, "model_conflict", "The request conflicts with another one. Retry.")
_DENIED = Refusal(403, "model_access_denied", "The gateway has no access to this model. Ask its operators.")
_NOT_ENABLED = Refusal(
    403, MODEL_NOT_ENABLED, "The gateway's AWS account has not enabled this model. Ask the gateway's operators for it."
)
_NOT_FOUND = Refusal(404, "model_not_found", "Model not found. See /list_foundation_models.")
_TIMEOUT = Refusal(
    408, "model_timeout", "The model did not answer in time. Reduce max_tokens, or submit the call.", passes=True
)
_FAILED = Refusal(424, "model_error", "The model failed while answering. Retry.", passes=True)
_THROTTLED = Refusal(429, "model_throttled", "The model is throttling requests. Wait, then retry.", 1, passes=True)
_NOT_READY = Refusal(429, "model_not_ready", "The model is not ready yet. Wait, then retry.", 5, passes=True)
_UNREACHABLE = "The model's service is unreachable. Wait, then retry."
_UNAVAILABLE = Refusal(
    503, "model_unavailable", "The model's service is unavailable. Wait, then retry.", 1, passes=True
)

# By the service's error type; statuses follow the bedrock-runtime service model, except that its 500 is our 503.
_BY_TYPE = {
    "ValidationException": _INVALID,
    "ValidationError": _INVALID,
    "ServiceQuotaExceededException": _QUOTA,
    "ConflictException": _CONFLICT,
    "AccessDeniedException": _DENIED,
    "AccessDenied": _DENIED,
    "ResourceNotFoundException": _NOT_FOUND,
    "ModelTimeoutException": _TIMEOUT,
    "ModelErrorException": _FAILED,
    "ModelError": _FAILED,
    "ModelStreamErrorException": replace(_FAILED, ran=True),
    "ModelStreamError": replace(_FAILED, ran=True),
    "ThrottlingException": _THROTTLED,
    "Throttling": _THROTTLED,
    "ModelNotReadyException": _NOT_READY,
    "InternalServerException": _UNAVAILABLE,
    "InternalFailure": _UNAVAILABLE,
    "InternalDependencyException": _UNAVAILABLE,
    "ServiceUnavailableException": _UNAVAILABLE,
    "ServiceUnavailable": _UNAVAILABLE,
}
_BY_STATUS = {400: _INVALID, 403: _DENIED, 404: _NOT_FOUND, 408: _TIMEOUT, 424: _FAILED, 429: _THROTTLED}

# The account has not enabled the model, under several error types: no agreement in AWS Marketplace or no means of
# payment (403), Anthropic's form (404), no choice of data retention (400). AWS documents that such calls fail, but not
# their messages (Bedrock's user guide, "Request access to models"). These messages were reported in public:
# aws-samples/anthropic-on-aws#252, langgenius/dify#2829, obot-platform/obot#6747, truefoundry/models#934,
# pydantic/pydantic-ai#8170. They are matched at the beginning only, since another error may quote a request later on.
_TO_BE_ENABLED = re.compile(
    r"Model access is denied due to "
    r"|User: \S+ is not authorized to perform: aws-marketplace:"
    r"|You don't have access to the model with the specified model ID"
    r"|[\w.:/-]+ is not available for this account\."
    r"|Model use case details have not been submitted"
    r"|You have not filled out the required use-case form"
    r"|data retention mode '\w+' is not available for this model"
)

_ARNS = re.compile(r"arn:aws[\w-]*:[^\s\"']+")
_ACCOUNTS = re.compile(r"\b\d{12}\b")


def safe(message: str) -> str:
    """The service's own message, without ARNs and account ids."""
    return _ACCOUNTS.sub("…", _ARNS.sub("…", message))[:500]


def refused(error: ClientError) -> UpstreamError:
    """The problem for a service's error, from boto3's exception."""
    said = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 502))
    return refusal_of(str(said.get("Code", "")), str(said.get("Message", "")), status)


def refusal_of(error_type: str, message: str, status: int, retry_after: str = "") -> UpstreamError:
    """The problem for a service's error: its error type, message, status and Retry-After."""
    refusal = _BY_TYPE.get(error_type) or _BY_STATUS.get(status, _UNAVAILABLE)
    if refusal in (_DENIED, _NOT_FOUND, _INVALID) and _TO_BE_ENABLED.match(message):
        # Clients of Bedrock's own API get one error type for this fault as well, since their status depends on it.
        return _problem(_NOT_ENABLED, _NOT_ENABLED.sentence, "AccessDeniedException")
    if refusal.passes and retry_after.isdecimal():
        return _problem(replace(refusal, retry_after=int(retry_after)), refusal.sentence, error_type)
    sentence = refusal.sentence
    if refusal is _INVALID:
        said = safe(message)
        sentence = f"{sentence}: {said}" if said else f"{sentence}."
    return _problem(refusal, sentence, error_type)


def broke(frame: Frame, *, begun: bool) -> UpstreamError:
    """The problem for an error event in a stream, which spells ThrottlingException as `throttlingException`.

    Once the response has begun, the model has run.
    """
    name = frame.kind.rpartition("#")[2]
    error_type = name[:1].upper() + name[1:]
    refusal = _BY_TYPE.get(error_type, _FAILED)
    sentence = refusal.sentence if refusal is not _INVALID else f"{refusal.sentence}."
    said = frame.payload.decode(errors="replace")
    # The client gets the frame unchanged, unless it has an ARN or an account id.
    raw = b"" if _ARNS.search(said) or _ACCOUNTS.search(said) else frame.raw
    return _problem(refusal, sentence, error_type, ran=begun, raw=raw)


def _problem(refusal: Refusal, sentence: str, error_type: str, *, ran: bool = False, raw: bytes = b"") -> UpstreamError:
    kind = RetryableError if refusal.passes else UpstreamError
    return kind(
        sentence,
        code=refusal.code,
        status=refusal.status,
        error_type=error_type,
        retry_after=refusal.retry_after,
        ran=refusal.ran or ran,
        raw=raw,
    )


def cut_off(error: Exception) -> UpstreamError:
    """The problem for a connection that broke within a response."""
    if isinstance(error, http.ReadTimeoutError):
        return _problem(_TIMEOUT, _TIMEOUT.sentence, type(error).__name__, ran=True)
    return _problem(_FAILED, "The model's response was cut off. Retry.", type(error).__name__, ran=True)


def no_answer(error: http.HTTPError) -> UpstreamError:
    """The problem for a request without a response. Once it was sent, the model may have run."""
    if isinstance(error, http.ReadTimeoutError):
        return cut_off(error)
    unsent = isinstance(error, http.NewConnectionError | http.ConnectTimeoutError)
    return _problem(_UNAVAILABLE, _UNREACHABLE, type(error).__name__, ran=not unsent)


def unreachable(error: BotoCoreError) -> UpstreamError:
    """The problem for a call without a response. Once it was sent, the model may have run."""
    error_type = type(error).__name__
    if isinstance(error, ParamValidationError):
        report = str(error).partition("\n")[2].partition("\n")[0]
        said = safe(re.sub(r", value: .*?, type:", ", type:", report))
        return _problem(_INVALID, f"{_INVALID.sentence}: {said}", error_type)
    if isinstance(error, ReadTimeoutError):
        return _problem(_TIMEOUT, _TIMEOUT.sentence, error_type, ran=True)
    unsent = isinstance(error, EndpointConnectionError | ConnectTimeoutError | NoCredentialsError)
    return _problem(_UNAVAILABLE, _UNREACHABLE, error_type, ran=not unsent)
