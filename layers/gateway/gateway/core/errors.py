"""Errors are sentences with their data; `gateway.web.problems` turns them into HTTP problems.

GatewayError                       code, status, message (safe to show to a client), retry_after
├── BadRequestError 400            the caller's fault, and the message says what to do
├── ForbiddenError 403
├── NotFoundError 404
└── UpstreamError                  the model's service refused or failed; keeps Bedrock's own error type
    └── RetryableError             … in a way that may pass: another try, or another model, may do

SchemaError                        a body is not what openapi.yaml says; each format makes a BadRequestError of it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.core.error_codes import ErrorCode

# The account has still to enable a model. The code of such a refusal; telemetry counts these for the operators.
MODEL_NOT_ENABLED: Final = "model_not_enabled"


class GatewayError(Exception):
    """What a client is told: a stable `code`, an HTTP `status`, and a sentence that says what to do."""

    status = 500
    code: ErrorCode = "internal_error"

    def __init__(
        self, message: str, *, code: ErrorCode | None = None, status: int | None = None, retry_after: int | None = None
    ):
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.status = status or self.status
        self.retry_after = retry_after


class BadRequestError(GatewayError):
    """The request is at fault; `param` is the field of it that is, where one is."""

    status = 400
    code: ErrorCode = "invalid_request"

    def __init__(self, message: str, *, code: ErrorCode | None = None, param: str | None = None):
        super().__init__(message, code=code)
        self.param = param


class ModelMissingError(BadRequestError):
    code: ErrorCode = "model_missing"

    def __init__(self) -> None:
        super().__init__("model: name a model. See /v1/models.", param="model")


class ForbiddenError(GatewayError):
    status = 403
    code: ErrorCode = "access_denied"


class NotFoundError(GatewayError):
    """What is asked for is not there; `param` is the field that names it, where one does."""

    status = 404
    code: ErrorCode = "not_found"

    def __init__(self, message: str, *, code: ErrorCode | None = None, param: str | None = None):
        super().__init__(message, code=code)
        self.param = param


class UpstreamError(GatewayError):
    """The model's service said no, or nothing.

    `error_type` is the service's own name of the fault (`ThrottlingException`); `ran` says whether the model may have
    run, so that its usage is unknown rather than nothing. `raw` is the frame that said so in a stream, as it came.
    """

    status = 502
    code: ErrorCode = "upstream_failed"

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode,
        status: int,
        error_type: str,
        retry_after: int | None = None,
        ran: bool = False,
        raw: bytes = b"",
    ):
        super().__init__(message, code=code, status=status, retry_after=retry_after)
        self.error_type = error_type
        self.ran = ran
        self.raw = raw


class RetryableError(UpstreamError):
    """A throttle, an outage, a time-out: what is not the request's fault."""


class SchemaError(Exception):
    """A body is not what openapi.yaml says: `where`, against which `rule` of JSON Schema, and how a sentence goes on.

    `where` is empty for the body itself, else as `messages[0].name`. No value that a client sent is in it, but for the
    names that it chose for the members of an object.
    """

    def __init__(self, where: str, rule: str, sentence: str):
        self.where = where.lstrip(".")[:200]
        self.rule = rule
        self.sentence = sentence
        super().__init__(f"{self.where or 'body'} {sentence}")
