"""What a function has in its environment: what its template says, and what Lambda and this machine add."""

from __future__ import annotations

import os
from collections.abc import Mapping

from scripts.project.template import Function, Template

MODEL_ENDPOINTS = (
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "AWS_ENDPOINT_URL_BEDROCK",
    "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME",
)
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def shared_environment(user: Mapping[str, str], template: Template, aws_url: str) -> dict[str, str]:
    """What every function has, besides what the template says of it."""
    inherited = {name: user[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in user}
    shared = inherited | {
        "TZ": ":UTC",
        "PYTHONDONTWRITEBYTECODE": user.get("PYTHONDONTWRITEBYTECODE", ""),
        "AWS_REGION": template.region,
        "AWS_DEFAULT_REGION": template.region,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_ENDPOINT_URL": aws_url,
        # Nothing of the user's own profiles may take part.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "POWERTOOLS_TRACE_DISABLED": "1",
        "LOOPBACK_ISSUERS": "on",  # the stack's identity provider
    }
    if any(user.get(name) for name in MODEL_ENDPOINTS) and user.get("AWS_ACCESS_KEY_ID"):
        # The user's own models want the user's own credentials; the embedded AWS takes any.
        shared |= {name: user[name] for name in _CREDENTIALS if name in user}
    return {name: value for name, value in shared.items() if value}


def own_environment(function: Function) -> dict[str, str]:
    handler_module = function.handler
    return dict(function.environment) | {
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_TASK_ROOT": str(function.code),
        "_HANDLER": handler_module,
    }
