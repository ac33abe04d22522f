"""The meaning of each error code, its remedy, and the operations that answer it.

`scripts.generate.errors` makes docs/reference/errors.md and `x-error-codes` of openapi.yaml from this.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.error_codes import ErrorCode

# Groups of operations with the same error codes. openapi.yaml lists the operations of each group by its name.
GROUPS: dict[str, tuple[str, ...]] = {
    "buffered": (
        "invokeModel", "createChatCompletion", "createEmbeddings", "createResponse", "createMessage", "converse",
        "invokeBedrockModel",
    ),
    "streamed": ("streamModel", "converseStream", "invokeBedrockModelWithResponseStream"),
    "either": ("createChatCompletion", "createResponse", "createMessage"),
    "counted": ("countMessageTokens", "countTokens"),
    "listed": ("listFoundationModels", "listModels", "getModel", "listBedrockModels", "listInferenceProfiles"),
    "original": ("invokeModel", "streamModel"),
    "openai": ("createChatCompletion", "createResponse", "createEmbeddings"),
    "anthropic": ("createMessage", "countMessageTokens"),
    "bedrock": (
        "converse", "converseStream", "invokeBedrockModel", "invokeBedrockModelWithResponseStream", "countTokens",
    ),
    "usage": ("reportUsage", "reportBudget", "quoteInvocation"),
    "keys": ("listKeys", "makeKey", "revokeKey", "rotateKey"),
    "tenants": ("listTenants", "getTenant", "putTenant", "deleteTenant"),
    "lent": ("lendBudget", "resetBudget"),
    "issuers": ("listIssuers", "getIssuer", "putIssuer", "deleteIssuer"),
    "users": ("listUsers", "getUser", "putUser", "deleteUser"),
    "guard": ("makeDecoy", "listAudit"),
    "me": ("getMe", "listOwnKeys", "makeOwnKey", "revokeOwnKey", "rotateOwnKey"),
    "scim": (
        "listScimUsers", "createScimUser", "getScimUser", "putScimUser", "patchScimUser", "deleteScimUser",
        "getScimServiceProviderConfig", "listScimResourceTypes", "listScimSchemas",
    ),
}  # fmt: skip
CALLED = ("buffered", "streamed")
READ = (*CALLED, "counted")
TENANT = (*READ, "listed", "usage", "me", "scim")
ADMIN = ("tenants", "keys", "lent", "issuers", "users", "guard")
ANSWERED = (*READ, "listed")
EVERY = (*TENANT, *ADMIN)
SCIM_WRITTEN = ("createScimUser", "putScimUser", "patchScimUser")
WRITTEN = (
    "putTenant", "makeKey", "rotateKey", "makeDecoy", "lent", "putIssuer", "putUser", "makeOwnKey", "rotateOwnKey",
    *SCIM_WRITTEN,
)  # fmt: skip
POSTED = (*READ, "quoteInvocation")
SCIM_NAMED = ("getScimUser", "putScimUser", "patchScimUser", "deleteScimUser")
NAMED = (
    "getTenant", "deleteTenant", "keys", "lent", "users", "makeOwnKey", "listScimUsers", "createScimUser", *SCIM_NAMED,
)  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """`at`: groups and operations; empty for a custom resource or a job, which has no operation."""

    means: str
    do: str
    at: tuple[str, ...]


SECTIONS: dict[str, dict[ErrorCode, Meaning]] = {
    "Authentication": {
        "unauthorized": Meaning("The request has no valid key or token.", "Send a key or token in `x-api-key` or as `Authorization: Bearer`, or sign in again.", EVERY),
        "access_denied": Meaning("The tenant is suspended, the key expired or was revoked before a submitted call ran, or the AWS principal may not call the admin API.", "Ask the operators.", EVERY),
        "usage_plan_missing": Meaning("The tenant's usage plan does not belong to this gateway.", "Ask the operators to correct the tenant's `usage_plan_key`.", EVERY),
        "missing_signature": Meaning("A request to `/admin` has no AWS signature, or the path has no such operation.", "Sign with Signature Version 4 for `execute-api`, or check the path. With a key or a token, call `/delegated/admin`.", ADMIN),
        "invalid_signature": Meaning("The AWS signature does not match the request, or has expired.", "Sign again, and check the clock.", ADMIN),
    },
    "Roles": {
        "role_not_allowed": Meaning("The role of the key or token does not allow this operation, or a key with that role.", "Ask an administrator of your tenant, or the operators.", (*ADMIN, "listOwnKeys", "makeOwnKey", "revokeOwnKey", "rotateOwnKey", "scim")),
        "field_not_allowed": Meaning("Only operators change the field of the tenant's record that the message names.", "Send this field as it is, or ask the operators.", ("putTenant", "lent")),
    },
    "Permissions of the tenant": {
        "model_not_allowed": Meaning("The tenant's record does not allow this model.", "Choose one of `/list_foundation_models`, or ask the operators.", (*POSTED, "getModel")),
        "model_arn_not_allowed": Meaning("The tenant's record does not allow this ARN.", "Send a model id, or ask the operators.", POSTED),
        "operation_not_allowed": Meaning("The tenant may not request this kind of output: text, image or embeddings.", "Ask the operators.", POSTED),
        "cost_centre_not_owned": Meaning("The header `team_id`, or a new key, names a cost centre that is not the tenant's or that you may not charge.", "Name one of your own, or leave it out.", (*CALLED, "quoteInvocation", "makeKey", "revokeKey", "rotateKey", "makeOwnKey", "rotateOwnKey")),
        "max_tokens_not_allowed": Meaning("The request asks for more output tokens than the tenant's limit.", "Lower the request's output limit to the one in the message.", (*CALLED, "quoteInvocation")),
        "model_unpriced": Meaning("The model has no price, and the tenant may only call priced models.", "Choose another model, or ask the operators for a price.", (*CALLED, "quoteInvocation")),
        "reference_not_allowed": Meaning("A field names a resource of the gateway's own AWS account: a guardrail, a prompt, a project.", "Leave the field out.", READ),
        "s3_location_not_allowed": Meaning("An S3 location is outside the tenant's buckets.", "Send the bytes, or ask the operators to add the bucket to `s3_buckets`.", READ),
    },
    "The request": {
        "invalid_body": Meaning("The body is not JSON, or does not match the operation's schema.", "Correct the field that the message names.", (*POSTED, *WRITTEN)),
        "invalid_json": Meaning("The body, or the arguments of a tool call, are not a JSON object.", "Send an object.", ("anthropic", "either")),
        "body_too_deep": Meaning("The JSON is nested too deeply.", "Flatten it.", (*POSTED, *WRITTEN)),
        "invalid_parameters": Meaning("A header, a query parameter or a path parameter is missing or wrong.", "Correct the parameter that the message names.", EVERY),
        "unknown_parameter": Meaning("The operation does not have this parameter or field.", "Leave it out.", ("createEmbeddings", "reportUsage")),
        "unsupported_field": Meaning("The gateway knows the field but does not support it.", "Follow the message, or leave the field out.", ("original", "quoteInvocation", "anthropic")),
        "unsupported_parameter": Meaning("OpenAI has this parameter; this gateway or this model does not.", "Follow the message, or leave the parameter out.", ("openai",)),
        "unsupported_value": Meaning("The parameter does not accept this value here.", "Send one of the values in the message.", ("openai",)),
        "invalid_value": Meaning("The field does not accept this value.", "Correct the field that `param` names.", ("openai",)),
        "invalid_type": Meaning("A value has the wrong JSON type, or the header `type` does not match the model.", "Correct the field or the header that the message names.", ("openai", "original", "quoteInvocation")),
        "invalid_field": Meaning("The field does not accept this value.", "Correct the field that the message names.", ("anthropic", "listModels")),
        "field_missing": Meaning("A required field is missing.", "Send the field that the message names.", ("anthropic",)),
        "missing_required_parameter": Meaning("A required parameter is missing.", "Send the parameter that `param` names.", ("openai",)),
        "inputs_missing": Meaning("The request has no prompt.", "Send it in the field that the message names.", ("original", "quoteInvocation")),
        "invalid_inputs": Meaning("`inputs` is neither a string nor a list of messages.", "Send one of the two.", ("original", "quoteInvocation")),
        "too_many_inputs": Meaning("The request contains more inputs than the model embeds at once.", "Send them in several requests.", ("createEmbeddings", "invokeModel", "quoteInvocation")),
        "tokens_not_supported": Meaning("`input` contains token ids.", "Send text.", ("createEmbeddings",)),
        "invalid_base64": Meaning("The bytes of an image or a document are not base64.", "Encode them again.", ("original", "quoteInvocation", "either")),
        "invalid_data_url": Meaning("The URL of an image or a file is not a `data:` URL in base64.", "Send `data:<media type>;base64,<bytes>`.", ("createChatCompletion", "createResponse")),
        "invalid_image_url": Meaning("The image is a link that the gateway does not fetch.", "Send the bytes as a `data:` URL.", ("createChatCompletion", "createResponse")),
        "invalid_image_format": Meaning("The image is neither png, jpeg, gif nor webp.", "Convert it.", ("createChatCompletion", "createResponse")),
        "invalid_file_format": Meaning("The model does not read files of this type.", "Send one of the types in the message.", ("createChatCompletion", "createResponse")),
        "item_not_found": Meaning("The request refers to a response that is not stored.", "Send the whole conversation in `input`.", ("createResponse",)),
        "thread_unsupported_request": Meaning("The request names a thread; the gateway stores none.", "Send the whole conversation. Anthropic's SDKs do so automatically.", ("anthropic",)),
        "headers_disagree": Meaning("The request has a header in both spellings, with `_` and with `-`, and different values.", "Send one of them.", (*CALLED, "quoteInvocation")),
        "invalid_accept": Meaning("The header `Accept` requests a type other than JSON.", "Accept `application/json`.", ("invokeBedrockModel", "invokeBedrockModelWithResponseStream")),
        "unsupported_media_type": Meaning("The content type of the body is not JSON.", "Send `content-type: application/json`.", POSTED),
        "invalid_time": Meaning("`start` or `end` is neither a date nor an RFC 3339 date-time.", "Send `2026-11-24` or `2026-11-24T00:00:00Z`.", ("reportUsage",)),
        "invalid_time_range": Meaning("`end` is not after `start`, or `start` is in the future.", "Correct the range.", ("reportUsage",)),
        "time_range_too_long": Meaning("The range exceeds the limit of one report.", "Request several ranges, or query the lake.", ("reportUsage",)),
        "route_not_found": Meaning("The path has no such operation.", "Check method and path against the API.", ()),
        "invalid_request": Meaning("The request is wrong in a way that has no specific code.", "Follow the message.", ()),
        "not_found": Meaning("The resource does not exist.", "Check its name.", ()),
        "bad_request": Meaning("API Gateway refused the request before it reached the gateway.", "Check method, headers and body.", EVERY),
    },
    "The requested model": {
        "model_missing": Meaning("The field `model` is missing or empty.", "Name a model of `/v1/models`.", ("openai", "anthropic", "bedrock")),
        "model_id_missing": Meaning("The query parameter `model_id` is missing.", "Name a model of `/list_foundation_models`.", ("original", "quoteInvocation")),
        "invalid_model_id": Meaning("The name is not a Bedrock model id, or this operation cannot call the model.", "Choose one of the listed models.", POSTED),
        "invalid_model_arn": Meaning("`model_arn` is not the ARN of a Bedrock model, or its model differs from `model_id`.", "Correct the ARN, or leave it out.", ("original", "quoteInvocation")),
        "model_not_found": Meaning("The model does not exist in this account and region.", "Choose one of the listed models.", (*READ, "getModel")),
        "model_not_supported": Meaning("The model does not produce embeddings.", "Choose a model of Titan, Nova or Cohere.", ("createEmbeddings",)),
    },
    "Responses of the model's service": {
        "model_rejected_request": Meaning("The model does not accept the request; the message quotes its reason.", "Correct the request.", ANSWERED),
        "model_access_denied": Meaning("The gateway's role may not call this model.", "Ask the operators.", ANSWERED),
        "model_not_enabled": Meaning("The gateway's AWS account has not enabled this model.", "Ask the operators to enable it in Bedrock.", READ),
        "model_quota_exceeded": Meaning("A service quota of the AWS account is exhausted.", "Ask the operators to raise it.", READ),
        "model_conflict": Meaning("The request conflicts with another one at the model's service.", "Send it again.", READ),
        "model_timeout": Meaning("The model did not finish in time.", "Request less output, or submit the call with `streaming: true` and poll.", ANSWERED),
        "model_error": Meaning("The model failed, or its answer was interrupted.", "Send the request again.", CALLED),
        "model_throttled": Meaning("The model's service is throttling, or the route has reached its concurrency limit.", "Wait for `Retry-After`, then send it again.", ANSWERED),
        "model_not_ready": Meaning("The model is still starting.", "Wait for `Retry-After`, then send it again.", READ),
        "model_unavailable": Meaning("The model's service is unavailable, or its circuit is open after many failures.", "Wait for `Retry-After`, or call another model.", ANSWERED),
        "upstream_unreadable": Meaning("The model answered in an unexpected format.", "Send it again; report it with the `request_id` if it persists.", CALLED),
        "upstream_failed": Meaning("The model's service failed in a way that has no specific code. Only rows and stored answers of earlier releases have this code.", "Send the request again.", ("invokeModel",)),
    },
    "Limits and budgets": {
        "budget_exceeded": Meaning("The call's maximum cost exceeds the rest of a hard budget: of the tenant, or of the cost centre, user, key or model that the message names.", "Do not retry. Request less output, ask the operators for a larger budget, or wait for the date in the message.", CALLED),
        "budget_not_found": Meaning("The tenant has no budget of this scope and window.", "Name the scope and the window as the tenant's record has them, with a user, key, cost centre or model in place of `*`.", ("lent",)),
        "too_many_invocations": Meaning("The tenant, or another scope that the message names, has reached its limit of concurrent calls.", "Wait for `Retry-After`, then send it again.", CALLED),
        "too_many_requests": Meaning("A scope that the message names has reached its limit of requests per minute.", "Wait for `Retry-After`, then send it again.", CALLED),
        "too_many_tokens": Meaning("The tenant, or another scope that the message names, has reached its limit of tokens per minute.", "Wait for `Retry-After`, then send it again.", CALLED),
        "throttled": Meaning("The tenant exceeds the request rate of its usage plan.", "Wait, then send it again.", EVERY),
        "quota_exceeded": Meaning("The usage plan has no requests left in this period.", "Ask the operators.", EVERY),
    },
    "Repeats and submitted calls": {
        "invalid_idempotency_key": Meaning("`Idempotency-Key` is empty, too long or not ASCII.", "Send 1 to 255 printable ASCII characters.", ("buffered",)),
        "idempotency_not_enabled": Meaning("The gateway stores no answers for this tenant, so a repeat would be charged again.", "Leave `Idempotency-Key` out, or ask the operators for `idempotency_seconds`.", ("buffered",)),
        "idempotency_not_for_streams": Meaning("The gateway does not store streams, so it cannot replay one.", "Leave `Idempotency-Key` out, or turn streaming off.", ("either", "streamed")),
        "idempotency_in_progress": Meaning("The first request with this key is still running.", "Wait for `Retry-After`, then send it again.", ("buffered",)),
        "idempotency_key_reused": Meaning("The key belongs to another request of the tenant.", "Send a new key with a new request.", ("buffered",)),
        "still_running": Meaning("The call outlived API Gateway's time limit and is still running.", "Poll with `requestId` set to the `request_id`. Do not send it again.", (*READ, "listModels", "getModel", "listBedrockModels", "listInferenceProfiles")),
        "request_not_found": Meaning("The tenant has no call of this `requestId`, or its answer has expired.", "Check the id, or repeat the call.", ("invokeModel",)),
        "call_lost": Meaning("The call ended without an answer. It is not charged, but a budget keeps its hold.", "Repeat the call.", ("invokeModel",)),
        "attempts_exhausted": Meaning("The submitted call failed in every attempt.", "Submit it again.", ("invokeModel",)),
    },
    "The admin API and custom resources": {
        "tenant_not_found": Meaning("No tenant has this id, or it is not yours.", "Check the id.", (*NAMED, "putTenant", "listAudit")),
        "key_not_found": Meaning("The tenant has no key of this id.", "List the tenant's keys, or your own.", ("revokeKey", "rotateKey", "revokeOwnKey", "rotateOwnKey")),
        "key_not_active": Meaning("The key was revoked or has expired.", "Create a new key.", ("rotateKey", "rotateOwnKey")),
        "invalid_tenant": Meaning("A setting of the tenant is wrong.", "Correct the setting that the message names.", ("putTenant", "lent")),
        "issuer_not_found": Meaning("No issuer has this id.", "Check the id.", ("getIssuer", "deleteIssuer")),
        "invalid_issuer": Meaning("A setting of the issuer is wrong or unsafe.", "Correct the setting that the message names.", ("putIssuer",)),
        "issuer_used": Meaning("Another record has the same `issuer`.", "Change that record, or delete it first.", ("putIssuer",)),
        "invalid_key": Meaning("A setting of the key is wrong.", "Correct the setting that the message names.", ("makeKey", "makeOwnKey")),
        "too_many_keys": Meaning("The user has as many active keys as one may make for itself.", "Revoke one of them.", ("makeOwnKey",)),
        "invalid_expiry": Meaning("`expires_at` or `until` is in the past, or `expires_at` after that of the key that makes it.", "Send a time in between.", ("makeKey", "makeOwnKey", "lent")),
        "user_not_found": Meaning("The tenant has no user of this id.", "Check the id, or list the users.", ("getUser", "deleteUser", *SCIM_NAMED)),
        "user_exists": Meaning("Another user of the tenant has this name or external id.", "Change that user, or choose another name.", ("putUser", *SCIM_WRITTEN)),
        "invalid_user": Meaning("An attribute of the user is wrong.", "Correct the attribute that the message names.", ("putUser", *SCIM_WRITTEN)),
        "invalid_filter": Meaning("The `filter` is none that the gateway supports.", "Filter by `userName`, `externalId` or `id` with `eq`.", ("listScimUsers",)),
        "invalid_patch": Meaning("An operation of a PATCH is wrong.", "Correct the operation that the message names.", ("patchScimUser", "createScimUser", "putScimUser")),
        "invalid_page": Meaning("`next` is not the value of an earlier page.", "Send it unchanged, or start with the first page.", ("listTenants", "listIssuers", "listAudit", "listUsers")),
        "tenant_id_used": Meaning("A deleted tenant had this id, and its usage stays under the id.", "Choose another id.", ("putTenant",)),
        "conflict": Meaning("Another request is modifying the same tenant, key, user or issuer; or a budget names the key to rotate.", "Fetch it again, then retry; or do what the message says.", ("putTenant", "deleteTenant", "revokeKey", "rotateKey", "lent", "putIssuer", "deleteIssuer", "putUser", "deleteUser", "revokeOwnKey", "rotateOwnKey", "putScimUser", "patchScimUser", "deleteScimUser", "createScimUser")),
        "version_conflict": Meaning("The record's version differs from `If-Match`, or `If-Match` is not a number.", "Fetch it again, then change it.", ("putTenant", "putIssuer")),
        "tenant_exists": Meaning("A stack tries to create a tenant that exists already. CloudFormation shows the code.", "Choose another `tenant_id` in the stack.", ()),
        "not_empty_yet": Meaning("The bucket of a stack under deletion still contains payloads. CloudFormation shows the code.", "Delete the stack again.", ()),
    },
    "The gateway itself": {
        "internal_error": Meaning("The gateway failed.", "Retry; if it persists, give the `request_id` to the operators.", EVERY),
        "gateway_failed": Meaning("The function behind API Gateway failed or returned nothing.", "Retry; if it persists, give the `request_id` to the operators.", EVERY),
        "prices_unavailable": Meaning("The gateway cannot read the operators' own prices.", "Retry; if it persists, ask the operators.", (*CALLED, "reportUsage", "quoteInvocation")),
        "routes_unavailable": Meaning("The gateway cannot read the operators' routes.", "Retry; if it persists, ask the operators.", (*READ, "listModels", "getModel", "quoteInvocation")),
    },
}  # fmt: skip

MEANINGS: dict[ErrorCode, Meaning] = {
    code: meaning for section in SECTIONS.values() for code, meaning in section.items()
}


def operations_of(code: ErrorCode) -> list[str]:
    """The ids of the operations that answer a code, in the order of the groups."""
    named = [GROUPS.get(name, (name,)) for name in MEANINGS[code].at]
    return list(dict.fromkeys(operation for group in named for operation in group))
