"""Refusals of model calls.

Refusal            carries the status, the AWS error type and the message; the server turns it into a response
  BEDROCK[name]    Bedrock's refusal for a prompt directive such as [[throttle]]
  SAGEMAKER[name]  SageMaker's refusal for the same directive
"""

from dataclasses import dataclass


@dataclass(eq=False)
class Refusal(Exception):
    """A call that the service refuses, with AWS's wording."""

    status: int
    type: str
    message: str

    def __str__(self) -> str:
        return f"{self.status} {self.type}: {self.message}"


def invalid(message: str) -> Refusal:
    """A request that Bedrock calls malformed."""
    return Refusal(400, "ValidationException", message)


BEDROCK = {
    "throttle": Refusal(429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "denied": Refusal(
        403,
        "AccessDeniedException",
        "User: arn:aws:sts::123456789012:assumed-role/gateway/call is not authorized to perform: bedrock:InvokeModel"
        " because no identity-based policy allows the bedrock:InvokeModel action",
    ),
    "notenabled": Refusal(
        403,
        "AccessDeniedException",
        "Model access is denied due to IAM user or service role is not authorized to perform the required AWS"
        " Marketplace actions (aws-marketplace:ViewSubscriptions, aws-marketplace:Subscribe) to enable access to this"
        " model. Refer to the Amazon Bedrock documentation for further details. Your AWS Marketplace subscription for"
        " this model cannot be completed at this time. If you recently fixed this issue, try again after 5 minutes.",
    ),
    "noform": Refusal(
        404,
        "ResourceNotFoundException",
        "Model use case details have not been submitted for this account. Fill out the Anthropic use case details form"
        " before using the model. If you have already filled out the form, try again in 15 minutes.",
    ),
    "notfound": Refusal(404, "ResourceNotFoundException", "Could not resolve the model from the model identifier."),
    "invalid": Refusal(
        400, "ValidationException", "Malformed input request, please reformat your input and try again."
    ),
    "quota": Refusal(400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account."),
    "timeout": Refusal(408, "ModelTimeoutException", "Model has timed out in processing the request. Try again."),
    "modelerror": Refusal(424, "ModelErrorException", "The model returned an error while processing the request."),
    "notready": Refusal(429, "ModelNotReadyException", "Model is not ready for inference. Wait and try again."),
    "internal": Refusal(500, "InternalServerException", "The system encountered an unexpected error. Try again."),
    "unavailable": Refusal(503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
}

# SageMaker's runtime has fewer errors: a directive without its own SageMaker error becomes the nearest one.
SAGEMAKER = {
    "throttle": Refusal(400, "ThrottlingException", "Rate exceeded"),
    "denied": Refusal(403, "AccessDeniedException", "User is not authorized to perform: sagemaker:InvokeEndpoint"),
    "notenabled": Refusal(403, "AccessDeniedException", "User is not authorized to perform: sagemaker:InvokeEndpoint"),
    "noform": Refusal(403, "AccessDeniedException", "User is not authorized to perform: sagemaker:InvokeEndpoint"),
    "notfound": Refusal(400, "ValidationError", "Endpoint not found."),
    "invalid": Refusal(400, "ValidationError", "The request was malformed."),
    "quota": Refusal(400, "ThrottlingException", "Rate exceeded"),
    "timeout": Refusal(424, "ModelError", "Invocation timed out while waiting for a response from the container."),
    "modelerror": Refusal(424, "ModelError", "Received server error (500) from primary with message “error”."),
    "notready": Refusal(429, "ModelNotReadyException", "The inference component is scaling from zero. Try again."),
    "internal": Refusal(500, "InternalFailure", "Internal failure."),
    "unavailable": Refusal(503, "ServiceUnavailable", "The service is unavailable. Try your call again."),
}
