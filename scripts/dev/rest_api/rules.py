"""The rules of API Gateway's import and calls, each with its outcome, its source and its test here.

If AWS documents that a feature is not supported, but not the outcome, the rule assumes the stricter one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["takes", "ignores", "changes", "warns", "refuses"]


@dataclass(frozen=True)
class Rule:
    """One rule. `at` is the step where it applies; `test` fails if this code breaks the rule."""

    name: str
    at: Literal["import", "deployment", "call"]
    outcome: Outcome
    what: str
    source: str
    test: str


_GUIDE = "API Gateway Developer Guide, "
NOTES = _GUIDE + "Amazon API Gateway important notes (api-gateway-known-issues), REST APIs"
_QUOTAS = _GUIDE + "Quotas for configuring and running a REST API (api-gateway-execution-service-limits-table)"
_INTEGRATION = _GUIDE + "x-amazon-apigateway-integration object (api-gateway-swagger-extensions-integration)"
_STREAM = _GUIDE + "Stream the integration response (response-transfer-mode)"
_AUTHORIZER = _GUIDE + "x-amazon-apigateway-authorizer object (api-gateway-swagger-extensions-authorizer)"
_AUTHTYPE = _GUIDE + "x-amazon-apigateway-authtype property (api-gateway-swagger-extensions-authtype)"
_VALIDATOR = (
    _GUIDE + "x-amazon-apigateway-request-validator property (api-gateway-swagger-extensions-request-validator)"
)
_WARNINGS = _GUIDE + "Errors and warnings during import (api-gateway-import-api-errors-warnings)"
_PROXY = _GUIDE + "Lambda proxy integrations (set-up-lambda-proxy-integrations)"
_IMPORTED = "tests/contract/test_rest_api.py::test_a_rule_of_the_import_does_what_it_says"
_CALLED = "tests/e2e/test_local_edge.py::"


def _at_import(name: str, outcome: Outcome, what: str, source: str) -> Rule:
    return Rule(name, "import", outcome, what, source, _IMPORTED)


def _at_a_call(name: str, outcome: Outcome, what: str, source: str, test: str) -> Rule:
    return Rule(name, "call", outcome, what, source, _CALLED + test)


_ALL = (
    # ------------------------------------------------------------------------------------------------ the document
    _at_import("version", "refuses", "Anything but OpenAPI 3.0: 3.1 is `Invalid OpenAPI input`. Its 2.0 is not read here.",
        _GUIDE + "Develop REST APIs using OpenAPI (api-gateway-import-api); github.com/aws/aws-cli/issues/8191"),
    _at_import("document size", "refuses", "A definition of more than 6 MB.",
        "API Gateway API Reference, ImportRestApi and PutRestApi, body"),
    _at_import("anchors", "takes", "YAML anchors: the import gets the JSON that CloudFormation makes of the file.",
        "CloudFormation User Guide, AWS::Include transform"),
    _at_import("other files", "refuses", "A `$ref` to another file.", NOTES),
    _at_import("root security", "ignores", "`security` at the root: a method without its own `security` is open.",
        NOTES + "; github.com/amazon-archives/aws-apigateway-importer/issues/204"),
    _at_import("servers", "ignores", "`servers`, and a base path in them, unless the import's mode is prepend or split.",
        _GUIDE + "Set the OpenAPI basePath property (api-gateway-import-api-basePath)"),
    _at_import("operation ids", "refuses", "Two operations with one id: the document is invalid OpenAPI.", _WARNINGS),
    _at_import("deprecated", "ignores", "`deprecated` of an operation or of a schema.", NOTES),
    _at_import("binary media types", "takes", "A body of one of these is base64 in the event; any other body is text.",
        _GUIDE + "x-amazon-apigateway-binary-media-types property (api-gateway-swagger-extensions-binary-media-types)"),
    # ------------------------------------------------------------------------------------------------ resources
    _at_import("path segment", "refuses", "A segment with anything but letters, digits and `_-.,:`, or braces around all of it.", NOTES),
    _at_import("greedy parameter", "refuses", "`{name+}` before the end of a path.", _PROXY),
    _at_import("sibling parameters", "refuses", "Two names of a parameter at one place: `only one is allowed`.",
        "github.com/amazon-archives/aws-apigateway-importer/issues/202"),
    _at_import("reserved path", "warns", "/ping and /sping: with a custom domain they never reach the method.", NOTES),
    _at_import("resources", "refuses", "More than 300 resources, counting each path prefix.", _QUOTAS),
    # ------------------------------------------------------------------------------------------------ methods
    _at_import("any method", "takes", "`x-amazon-apigateway-any-method` is the method ANY.",
        _GUIDE + "x-amazon-apigateway-any-method object (api-gateway-swagger-extensions-any-method)"),
    _at_import("method", "ignores", "`trace`: API Gateway has DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT and ANY.",
        "API Gateway API Reference, PutMethod; CloudFormation, AWS::ApiGateway::Method, HttpMethod"),
    _at_import("parameter attributes", "ignores", "All attributes of a parameter except name, place, required, type and description.", NOTES),
    _at_import("parameter place", "ignores", "A parameter in a cookie: a method request has paths, query strings and headers.",
        "API Gateway API Reference, Method, requestParameters"),
    _at_import("validator", "refuses", "A request validator that is not among x-amazon-apigateway-request-validators.", _VALIDATOR),
    _at_import("response reference", "warns", "A response that is a `$ref`: the method gets no model for it.", NOTES),
    _at_import("response schema", "warns", "An inline response schema that is not an object: the method gets no model for it.", NOTES),
    _at_import("model reference", "warns", "A `$ref` to a missing model is dropped.",
        _WARNINGS + "; github.com/amazon-archives/aws-apigateway-importer/issues/194"),
    # ------------------------------------------------------------------------------------------------ security
    _at_import("scheme type", "refuses", "A security scheme of a type other than apiKey.", NOTES),
    _at_import("scheme without authorizer", "refuses", "An authtype other than awsSigv4 without x-amazon-apigateway-authorizer.",
        _AUTHTYPE + "; github.com/amazon-archives/aws-apigateway-importer/issues/187"),
    _at_import("authorizer", "refuses", "An authorizer without a uri, or of a type other than token, request and cognito_user_pools.", _AUTHORIZER),
    _at_import("authorizer cache", "refuses", "A TTL outside 0 to 3600, or one above 0 for type request without identitySource.",
        "API Gateway API Reference, CreateAuthorizer, authorizerResultTtlInSeconds and identitySource"),
    _at_import("authorizers", "refuses", "More than 10 authorizers.", _QUOTAS),
    _at_import("unknown scheme", "refuses", "`security` with an unknown scheme: the document is invalid OpenAPI.", _WARNINGS),
    _at_import("scheme without effect", "ignores", "An apiKey scheme that is neither an authorizer nor the header x-api-key.", _AUTHTYPE),
    _at_import("one authorizer", "changes", "The method uses one of several authorizers in `security`, here the first.",
        "API Gateway API Reference, Method, authorizerId"),
    _at_import("api key", "takes", "The scheme of the header x-api-key makes a method require a usage plan's key.",
        _GUIDE + "x-amazon-apigateway-api-key-source property (api-gateway-swagger-extensions-api-key-source)"),
    # ------------------------------------------------------------------------------------------------ integrations
    Rule("no integration", "deployment", "refuses", "A method without an integration: `No integration defined for method`.",
        "github.com/hashicorp/terraform-provider-aws/issues/21210, github.com/aws/aws-cdk/issues/8347", _IMPORTED),
    _at_import("malformed integration", "refuses", "An integration without a type, or with a uri that is not text: an unresolved intrinsic function.",
        _INTEGRATION + "; github.com/localstack/localstack/issues/4619"),
    _at_import("integration method", "refuses", "A Lambda function that is called with a method other than POST.", _INTEGRATION),
    _at_import("default timeout", "takes", "Without timeoutInMillis an integration has 29 seconds.",
        "API Gateway API Reference, PutIntegration, timeoutInMillis"),
    _at_import("timeout", "refuses", "timeoutInMillis below 50, or above the quota (29,000 unless it was raised).", _QUOTAS),
    _at_import("stream timeout", "refuses", "timeoutInMillis above 900,000 for responseTransferMode STREAM.", _STREAM),
    _at_import("timeout as text", "changes", "timeoutInMillis in quotes is read as a number. The page requires an integer, and CloudFormation makes a parameter text.", _INTEGRATION),
    _at_import("stream type", "refuses", "responseTransferMode STREAM with a type other than http_proxy and aws_proxy.", _STREAM),
    # ------------------------------------------------------------------------------------------------ models
    _at_import("model name", "refuses", "A schema whose name is not alphanumeric.",
        NOTES + "; API Gateway API Reference, CreateModel, name"),
    _at_import("model size", "refuses", "A model of more than 400 KB.", "API Gateway API Reference, CreateModel, schema"),
    _at_import("schema keyword", "refuses", "A keyword that JSON Schema draft 4 does not have: `Unsupported keyword`.",
        NOTES + "; github.com/amazon-archives/aws-apigateway-importer/issues/200"),
    _at_import("schema example", "refuses", "`example` in a schema: `Invalid model schema specified`.",
        NOTES + "; github.com/amazon-archives/aws-apigateway-importer/issues/213"),
    _at_import("exclusive bound", "refuses", "exclusiveMinimum and exclusiveMaximum.", NOTES),
    _at_import("combined reference", "refuses", "oneOf, anyOf or allOf with a `$ref` to another schema of the document.", NOTES),
    _at_import("number format", "refuses", "format int32 or int64 of a number, and format decimal.", NOTES),
    _at_import("empty required", "refuses", "`required: []`, which draft 4 does not allow.", "github.com/aws/aws-cdk/issues/27433"),
    _at_import("repeated enum", "refuses", "An enum that is empty, or that names a value twice.", "github.com/aws/aws-cdk/issues/18715"),
    _at_import("default", "ignores", "`default` in a schema.", NOTES),
    _at_import("number of items", "ignores", "minItems and maxItems: an imported model does not have them, and requests are not checked for them.", NOTES),
    # ------------------------------------------------------------------------------------------------ gateway responses
    _at_import("gateway response", "refuses", "A gateway response of an unknown type.",
        "API Gateway API Reference, GatewayResponse, responseType"),
    _at_import("request too large", "ignores", "A custom REQUEST_TOO_LARGE response.", NOTES),
    # ------------------------------------------------------------------------------------------------ calls
    _at_a_call("chunked body", "refuses", "A request with Transfer-Encoding to a Lambda function: an exception, here 500.", NOTES,
        "test_a_body_in_chunks_is_refused"),
    _at_a_call("request headers", "ignores", "Connection, Content-MD5, Expect, Max-Forwards, Proxy-Authenticate, Server, TE, Trailer, Upgrade and WWW-Authenticate do not reach a function.",
        NOTES, "test_a_header_of_the_connection_does_not_reach_the_function"),
    _at_a_call("signature", "ignores", "Authorization with a Signature Version 4, or for AWS_IAM, does not reach a function.", NOTES,
        "test_a_signature_does_not_reach_the_function"),
    _at_a_call("response headers", "changes", "Authorization, Connection, Content-MD5, Date, Max-Forwards, Server, User-Agent and WWW-Authenticate of a function become X-Amzn-Remapped-….",
        NOTES, "test_a_header_of_a_function_s_answer_is_remapped"),
    _at_a_call("dropped response headers", "ignores", "Expect, Host, Proxy-Authenticate, TE, Trailer, Transfer-Encoding, Upgrade and Via of a function.",
        NOTES, "test_a_header_of_the_connection_does_not_come_from_a_function"),
    _at_a_call("method override", "changes", "X-HTTP-Method-Override is the method.", NOTES, "test_a_header_overrides_the_method"),
    _at_a_call("query characters", "refuses", "Unencoded `|`, `{` and `}` in a query string.", NOTES,
        "test_a_query_string_with_a_plain_pipe_or_brace_is_refused"),
    _at_a_call("query semicolon", "changes", "`;` in a query string separates two parameters.", NOTES, "test_a_semicolon_parts_two_parameters"),
    _at_a_call("encoded path", "takes", "The path and its parameters reach a function percent-encoded, as they were sent; query parameters are decoded.",
        "github.com/aws/aws-sam-cli/issues/3524, github.com/smithy-lang/smithy-typescript/pull/379 (captures: github.com/hotsock/voker/pull/8)",
        "test_a_path_reaches_a_function_as_it_was_sent"),
    _at_a_call("own 413", "refuses", "A request above Lambda's 6 MB: `{\"message\":\"Request Too Long\"}`, whatever the gateway responses say.",
        NOTES + "; github.com/koki-develop/lgtm-generator/issues/10", "test_a_request_above_six_megabytes_is_refused_in_api_gateway_s_words"),
    _at_a_call("payload", "refuses", "A body above 10 MB: plain text, before the API is known.",
        _QUOTAS + "; github.com/koki-develop/lgtm-generator/issues/10", "test_a_body_above_ten_megabytes_is_refused_before_the_api_is_known"),
    _at_a_call("header size", "refuses", "Request line and header values of more than 10,240 bytes. AWS does not document the response; here 431.",
        _QUOTAS, "test_more_than_ten_kilobytes_of_headers_are_refused"),
    _at_a_call("method ARN", "refuses", "A path that makes the ARN of a method with authorization longer than 1,600 bytes: 414.",
        _GUIDE + "Amazon API Gateway quotas (limits)", "test_a_path_that_makes_a_method_s_arn_too_long_is_refused"),
    _at_a_call("unknown path", "refuses", "An unknown path or method: 403 MISSING_AUTHENTICATION_TOKEN. A path with an extra slash at its end is unknown too.",
        _GUIDE + "Gateway response types (supported-gateway-response-types)", "test_a_path_that_is_not_there_answers_as_a_missing_signature"),
    _at_a_call("repeated parameters", "takes", "For a repeated query parameter or header the event has the last value, and a list of all.", _PROXY,
        "test_what_comes_twice_is_there_once_and_whole"),
)  # fmt: skip
RULES = {rule.name: rule for rule in _ALL}
