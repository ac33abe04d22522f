"""The import itself: turns an OpenAPI document into API Gateway's REST API, or raises with every reason against it."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts.dev.rest_api.models import Models
from scripts.dev.rest_api.rules import RULES, Rule

Json = dict[str, Any]
Resolve = Callable[[Any], Any]

ANY = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"
AUTHORIZER = "x-amazon-apigateway-authorizer"
AUTHTYPE = "x-amazon-apigateway-authtype"
VALIDATOR = "x-amazon-apigateway-request-validator"
VALIDATORS = "x-amazon-apigateway-request-validators"
RESPONSES = "x-amazon-apigateway-gateway-responses"
BINARY = "x-amazon-apigateway-binary-media-types"
METHODS = ("delete", "get", "head", "options", "patch", "post", "put")
DEFAULT_TIMEOUT = 29_000  # milliseconds
SHORTEST_TIMEOUT = 50
LONGEST_STREAM = 900_000
LARGEST_DOCUMENT = 6 * 1024 * 1024
GATEWAY_RESPONSES = {
    "ACCESS_DENIED", "API_CONFIGURATION_ERROR", "AUTHORIZER_CONFIGURATION_ERROR", "AUTHORIZER_FAILURE",
    "BAD_REQUEST_BODY", "BAD_REQUEST_PARAMETERS", "DEFAULT_4XX", "DEFAULT_5XX", "EXPIRED_TOKEN", "INTEGRATION_FAILURE",
    "INTEGRATION_TIMEOUT", "INVALID_API_KEY", "INVALID_SIGNATURE", "MISSING_AUTHENTICATION_TOKEN", "QUOTA_EXCEEDED",
    "REQUEST_TOO_LARGE", "RESOURCE_NOT_FOUND", "THROTTLED", "UNAUTHORIZED", "UNSUPPORTED_MEDIA_TYPE", "WAF_FILTERED",
}  # fmt: skip
_PLACES = {"path": "path", "query": "querystring", "header": "header"}
_TAKEN_OF_A_PARAMETER = {"name", "in", "required", "description", "schema"}


@dataclass(frozen=True)
class Quotas:
    """An account's quotas. The integration timeout, in milliseconds, is often raised."""

    integration_timeout: int = DEFAULT_TIMEOUT
    resources: int = 300
    authorizers: int = 10


@dataclass(frozen=True)
class Finding:
    """A rule, and the place in the document where it applied."""

    rule: Rule
    where: str

    def __str__(self) -> str:
        return f"{self.rule.outcome} {self.rule.name} at {self.where}: {self.rule.what}"


class ImportRefused(Exception):
    """API Gateway does not import the document, or does not deploy its API; carries every reason."""

    def __init__(self, findings: tuple[Finding, ...]):
        super().__init__("\n".join(["API Gateway refuses this definition:", *map(str, findings)]))
        self.findings = findings


@dataclass(frozen=True)
class Authorizer:
    """A Lambda or Cognito authorizer. `uri` is unchanged from the document."""

    name: str
    kind: str
    uri: Any
    identity_sources: tuple[str, ...]


@dataclass(frozen=True)
class Validator:
    body: bool
    parameters: bool


@dataclass(frozen=True)
class Integration:
    """An integration. `uri` is unchanged from the document; `timeout`, in milliseconds, defaults to API Gateway's."""

    kind: str
    uri: Any
    streams: bool
    timeout: int


@dataclass(frozen=True)
class Method:
    """One method of one resource. `authorization` is NONE if it does not authorize callers."""

    path: str
    http_method: str
    operation: Mapping[str, Any]
    authorization: str
    authorizer: Authorizer | None
    api_key_required: bool
    validator: Validator
    request_parameters: Mapping[str, bool]  # name, such as method.request.header.x-a, to whether it is required
    request_models: Mapping[str, str | None]  # by content type
    body_required: bool
    response_models: Mapping[str, Mapping[str, str | None]]  # by status and content type
    integration: Integration | None


@dataclass(frozen=True)
class RestApi:
    """The created API, the applied rules, and `document`: the definition without its ignored parts."""

    methods: tuple[Method, ...]
    resources: frozenset[str]
    models: Models
    gateway_responses: Mapping[str, Any]
    binary_media_types: tuple[str, ...]
    document: Mapping[str, Any]
    findings: tuple[Finding, ...]

    def summary(self) -> dict[str, int]:
        """How often each rule applied."""
        return dict(Counter(finding.rule.name for finding in self.findings))


def import_rest_api(document: Json, resolve: Resolve | None = None, quotas: Quotas | None = None) -> RestApi:
    """Import a parsed OpenAPI document. `resolve` replaces intrinsics like CloudFormation; without it none may remain.

    Raises ImportRefused.
    """
    return _Import(document, resolve, quotas or Quotas()).run()


@dataclass
class _Import:
    document: Json
    resolve: Resolve | None
    quotas: Quotas
    found: list[Finding] = field(default_factory=list)

    def run(self) -> RestApi:
        self._judge_document()
        components = self.document.get("components") or {}
        models = Models(components.get("schemas") or {}, self.tell)
        self._schemes: Json = components.get("securitySchemes") or {}
        self._authorizers = {name: made for name in self._schemes if (made := self._authorizer(name)) is not None}
        if len(self._authorizers) > self.quotas.authorizers:
            self.tell("authorizers", f"{len(self._authorizers)} of them")
        resources = self._resources()
        methods = tuple(self._methods(models))
        responses = self._gateway_responses()
        refusals = tuple(finding for finding in self.found if finding.rule.outcome == "refuses")
        if refusals:
            raise ImportRefused(refusals)
        binary = tuple(self._value(self.document.get(BINARY)) or ())
        return RestApi(methods, resources, models, responses, binary, self._taken(), tuple(self.found))

    def tell(self, rule: str, where: str) -> None:
        self.found.append(Finding(RULES[rule], where))

    def _value(self, node: Any) -> Any:
        return self.resolve(node) if self.resolve else node

    # ------------------------------------------------------------------------------------------------ the document
    def _judge_document(self) -> None:
        version = str(self.document.get("openapi") or self.document.get("swagger"))
        if not version.startswith("3.0."):
            self.tell("version", version)
        if len(json.dumps(self.document).encode()) > LARGEST_DOCUMENT:
            self.tell("document size", "the document")
        for name, rule in {"security": "root security", "servers": "servers"}.items():
            if name in self.document:
                self.tell(rule, f"#/{name}")
        ids = Counter(operation.get("operationId") for _, _, operation in self._operations())
        for operation_id, count in ids.items():
            if operation_id is not None and count > 1:
                self.tell("operation ids", f"{operation_id}, {count} times")

    def _operations(self) -> Iterator[tuple[str, str, Json]]:
        for path, item in (self.document.get("paths") or {}).items():
            for method, operation in item.items():
                if method in METHODS or method == ANY:
                    yield path, method, operation

    def _resources(self) -> frozenset[str]:
        """Create the resources: each path prefix is one, and so is the root."""
        found, parameters = {"/"}, dict[str, str]()
        for path in self.document.get("paths") or {}:
            segments = [segment for segment in path.split("/") if segment]
            for depth, segment in enumerate(segments):
                parent, own = "/".join(segments[:depth]), "/".join(segments[: depth + 1])
                found.add(f"/{own}")
                if not re.fullmatch(r"[\w.,:-]+|\{[\w.:-]+\+?\}", segment, re.ASCII):
                    self.tell("path segment", f"{path}: {segment}")
                if segment.endswith("+}") and depth < len(segments) - 1:
                    self.tell("greedy parameter", path)
                if re.fullmatch(r"\{[^{}]+\}", segment) and parameters.setdefault(parent, segment) != segment:
                    self.tell("sibling parameters", f"{path}: {segment} beside {parameters[parent]}")
            if segments in (["ping"], ["sping"]):
                self.tell("reserved path", path)
            if "trace" in self.document["paths"][path]:
                self.tell("method", f"{path}: trace")
        if len(found) > self.quotas.resources:
            self.tell("resources", f"{len(found)} of them")
        return frozenset(found)

    def _gateway_responses(self) -> Json:
        responses: Json = dict(self._value(self.document.get(RESPONSES)) or {})
        for kind in responses.keys() - GATEWAY_RESPONSES:
            self.tell("gateway response", kind)
        if responses.pop("REQUEST_TOO_LARGE", None) is not None:
            self.tell("request too large", f"#/{RESPONSES}")
        return responses

    def _taken(self) -> Json:
        taken = copy.deepcopy(self.document)
        taken.pop("security", None)
        (taken.get(RESPONSES) or {}).pop("REQUEST_TOO_LARGE", None)
        for item in (taken.get("paths") or {}).values():
            item.pop("trace", None)
        return taken

    # ------------------------------------------------------------------------------------------------ security
    def _authorizer(self, name: str) -> Authorizer | None:
        scheme, where = self._schemes[name], f"#/components/securitySchemes/{name}"
        if scheme.get("type") != "apiKey":
            self.tell("scheme type", f"{where}: {scheme.get('type')}")
        said, kind = scheme.get(AUTHORIZER), scheme.get(AUTHTYPE)
        if said is None:
            if kind is not None and kind != "awsSigv4":
                self.tell("scheme without authorizer", f"{where}: {kind}")
            return None
        sources = tuple(part.strip() for part in str(said.get("identitySource") or "").split(",") if part.strip())
        if said.get("type") not in {"token", "request", "cognito_user_pools"}:
            self.tell("authorizer", f"{where}: type {said.get('type')}")
        if said.get("type") in {"token", "request"} and not isinstance(self._value(said.get("authorizerUri")), str):
            self.tell("authorizer", f"{where}: authorizerUri")
        ttl = said.get("authorizerResultTtlInSeconds", 300)
        if not 0 <= ttl <= 3600 or (said.get("type") == "request" and ttl and not sources):
            self.tell("authorizer cache", f"{where}: {ttl} seconds")
        return Authorizer(name, str(said.get("type")), said.get("authorizerUri"), sources)

    def _security(self, operation: Mapping[str, Any], where: str) -> tuple[str, Authorizer | None, bool]:
        """Authorization type, authorizer, and whether a usage plan's key is required. Ignores the root's `security`."""
        chosen: list[tuple[str, Authorizer | None]] = []
        needs_key = False
        for name in [name for requirement in operation.get("security") or () for name in requirement]:
            scheme = self._schemes.get(name)
            if scheme is None:
                self.tell("unknown scheme", f"{where}: {name}")
            elif (authorizer := self._authorizers.get(name)) is not None:
                cognito = authorizer.kind == "cognito_user_pools"
                chosen.append(("COGNITO_USER_POOLS" if cognito else "CUSTOM", authorizer))
            elif scheme.get(AUTHTYPE) == "awsSigv4":
                chosen.append(("AWS_IAM", None))
            elif scheme.get("in") == "header" and str(scheme.get("name")).lower() == "x-api-key":
                needs_key = True
            else:
                self.tell("scheme without effect", f"{where}: {name}")
        if len(chosen) > 1:
            self.tell("one authorizer", where)
        return (*(chosen[0] if chosen else ("NONE", None)), needs_key)

    # ------------------------------------------------------------------------------------------------ methods
    def _methods(self, models: Models) -> Iterator[Method]:
        for path, method, operation in self._operations():
            http_method = "ANY" if method == ANY else method.upper()
            where = f"{http_method} {path}"
            if operation.get("deprecated"):
                self.tell("deprecated", where)
            authorization, authorizer, needs_key = self._security(operation, where)
            body = self._part(operation.get("requestBody") or {}, where)
            yield Method(
                path,
                http_method,
                operation,
                authorization,
                authorizer,
                needs_key,
                self._validator(operation, where),
                self._parameters(path, operation, where),
                {
                    kind: models.named(media["schema"], f"{where} {kind}") if "schema" in media else None
                    for kind, media in (body.get("content") or {}).items()
                },
                bool(body.get("required")),
                self._response_models(operation, models, where),
                self._integration(operation, where),
            )

    def _part(self, node: Any, where: str) -> Json:
        """The target of a `$ref` to another component."""
        while isinstance(node, dict) and "$ref" in node:
            if not str(node["$ref"]).startswith("#/"):
                self.tell("other files", f"{where}: {node['$ref']}")
                return {}
            found: Any = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
            node = found
        return dict(node)

    def _parameters(self, path: str, operation: Mapping[str, Any], where: str) -> dict[str, bool]:
        declared = [*(self.document["paths"][path].get("parameters") or ()), *(operation.get("parameters") or ())]
        made = {}
        for parameter in (self._part(each, where) for each in declared):
            name = parameter.get("name", "")
            if parameter.get("in") not in _PLACES:
                self.tell("parameter place", f"{where}: {name}")
                continue
            attributes = parameter.keys() - _TAKEN_OF_A_PARAMETER | (parameter.get("schema") or {}).keys() - {"type"}
            if attributes:
                self.tell("parameter attributes", f"{where}: {name}: {', '.join(sorted(attributes))}")
            made[f"method.request.{_PLACES[parameter['in']]}.{name}"] = bool(parameter.get("required"))
        return made

    def _validator(self, operation: Mapping[str, Any], where: str) -> Validator:
        name = operation.get(VALIDATOR, self.document.get(VALIDATOR))
        known = self.document.get(VALIDATORS) or {}
        if name is not None and name not in known:
            self.tell("validator", f"{where}: {name}")
        said = known.get(name) or {}
        return Validator(bool(said.get("validateRequestBody")), bool(said.get("validateRequestParameters")))

    def _response_models(
        self, operation: Mapping[str, Any], models: Models, where: str
    ) -> dict[str, dict[str, str | None]]:
        made = {}
        for status, response in (operation.get("responses") or {}).items():
            made[str(status)] = dict[str, str | None]()
            if "$ref" in response:
                self.tell("response reference", f"{where}: {status}")
                continue
            for kind, media in (response.get("content") or {}).items():
                schema = media.get("schema") or {}
                if "$ref" not in schema and schema.get("type") != "object":
                    self.tell("response schema", f"{where}: {status} {kind}")
                else:
                    made[str(status)][kind] = models.named(schema, f"{where}: {status} {kind}")
        return made

    # ------------------------------------------------------------------------------------------------ integrations
    def _integration(self, operation: Mapping[str, Any], where: str) -> Integration | None:
        said = operation.get(INTEGRATION)
        if said is None:
            self.tell("no integration", where)
            return None
        kind = str(said.get("type") or "").lower()
        uri = self._value(said.get("uri"))
        if not kind or (kind != "mock" and not isinstance(uri, str)):
            self.tell("malformed integration", where)
        if ":lambda:path/" in str(uri) and said.get("httpMethod") != "POST":
            self.tell("integration method", f"{where}: {said.get('httpMethod')}")
        streams = said.get("responseTransferMode") == "STREAM"
        if streams and kind not in {"http_proxy", "aws_proxy"}:
            self.tell("stream type", f"{where}: {kind}")
        timeout = self._timeout(self._value(said.get("timeoutInMillis")), streams, where)
        return Integration(kind, said.get("uri"), streams, timeout)

    def _timeout(self, said: Any, streams: bool, where: str) -> int:
        if said is None:
            return DEFAULT_TIMEOUT
        if isinstance(said, str) and said.isdigit():
            self.tell("timeout as text", f"{where}: {said!r}")
            said = int(said)
        longest = LONGEST_STREAM if streams else self.quotas.integration_timeout
        if not isinstance(said, int) or said < SHORTEST_TIMEOUT or (said > longest and not streams):
            self.tell("timeout", f"{where}: {said}")
            return DEFAULT_TIMEOUT
        if said > longest:
            self.tell("stream timeout", f"{where}: {said}")
        return said
