"""Turns an error of AWS or the network into a sentence with its remedy.

Sources of the codes: "Common Error Types" in the API references of AWS's services, and botocore's own exceptions
(botocore/exceptions.py). scripts.project.command imports this only after an error: it takes a third of a second.
"""

from __future__ import annotations

import requests
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

# The services' error codes; S3 answers some requests with a status only.
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
UNKNOWN = {
    "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch",
    "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "AuthFailure", "InvalidToken", "NotAuthorized",
}  # fmt: skip
DENIED = {
    "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden", "AllAccessDisabled",
    "KMSAccessDeniedException", "AuthorizationError", "OptInRequired",
}  # fmt: skip
MISSING = {
    "NoSuchBucket", "NoSuchKey", "404", "NotFound", "ResourceNotFoundException", "ResourceNotFound",
    "StateMachineDoesNotExist", "ExecutionDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist", "EntityNotFoundException",
}  # fmt: skip
THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}
LOG_IN = "`aws sso login` or `aws login`, or new keys in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
CREDENTIALS = "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `aws configure` creates a profile."

REFUSALS = (BotoCoreError, ClientError, requests.RequestException)


def sentence(error: Exception) -> str:
    """The error and its remedy."""
    match error:
        case ClientError():
            return _refusal(error)
        case NoRegionError():
            return "No AWS region is named. Set AWS_REGION, or `region` in the profile of AWS_PROFILE."
        case NoCredentialsError() | PartialCredentialsError():
            return f"AWS credentials are missing or incomplete. {CREDENTIALS}"
        case ProfileNotFound():
            return f"{error}. Set AWS_PROFILE to one of `aws configure list-profiles`."
        case SSOError() | LoginError() | TokenRetrievalError() | CredentialRetrievalError():
            return f"The AWS credentials could not be loaded: {error}. Log in again: {LOG_IN}."
        case HTTPClientError() | NoConnectionError():
            return f"AWS does not respond: {error} Check the network, the proxy, the region and AWS_ENDPOINT_URL."
        case requests.ConnectionError() | requests.Timeout():
            url = error.request.url if error.request is not None else "its address"
            return f"The gateway at {url} does not respond: check the address, the network and the proxy."
        case requests.RequestException() | BotoCoreError():
            return f"The request failed: {error}"
    return str(error)


def _refusal(error: ClientError) -> str:
    code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    asked = error.operation_name
    if code in EXPIRED:
        return f"The AWS credentials have expired. Log in again: {LOG_IN}."
    if code in UNKNOWN:
        return f"AWS does not recognize these credentials ({code}). {CREDENTIALS}"
    if code in DENIED:
        return (
            f"These AWS credentials may not call {asked}: {said or code}. Get this permission, or use another profile."
        )
    # CloudFormation and DynamoDB's older errors have no specific code for it.
    if code in MISSING or (code == "ValidationError" and "does not exist" in said):
        return f"{asked} found no such resource: {said or code}. Check the name, the region and the account."
    if code in THROTTLED:
        return f"AWS throttles {asked} ({code}). Wait a minute, then retry."
    return f"AWS refused {asked}: {code}: {said}"
