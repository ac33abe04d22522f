"""The edge of the API: one stage, a firewall that identifies callers, and a browser's preflight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from scripts.check.expand import DEPLOYMENTS, Stack, expand
from scripts.project.template import ROOT
from tests.contract.contract import OPERATIONS, SPEC, resolve
from tests.contract.expanded import of_kind, stack

BROWSERS = {"CorsOrigin": "https://chat.example.com", "EnableWaf": "true"}
each_deployment = pytest.mark.parametrize("given", DEPLOYMENTS.values(), ids=DEPLOYMENTS)


# ------------------------------------------------------------------------------------------------------------- the stage
@each_deployment
def test_there_is_one_stage_and_what_guards_it_guards_all(given: dict[str, str]) -> None:
    """SAM makes a second one, `Stage`, unless OpenApiVersion is given; it has no firewall, no usage plan and no access log."""
    resources = Stack(expand(ROOT / "template.yaml", given), given).decided()
    assert list(of_kind(resources, "AWS::ApiGateway::Stage")) == ["ApiStage"]
    assert [said.get("StageName") for said in of_kind(resources, "AWS::ApiGateway::Deployment").values()] == [None]


@each_deployment
def test_the_api_is_the_spec_as_it_is_written(given: dict[str, str]) -> None:
    """SAM changes a body whose version it is told in more than one way."""
    (api,) = of_kind(expand(ROOT / "template.yaml", given)["Resources"], "AWS::ApiGateway::RestApi").values()
    assert api["Body"] == SPEC


# ---------------------------------------------------------------------------------------------------------- the firewall
STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/model-gateway/"


def holds(statement: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    if "NotStatement" in statement:
        return not holds(statement["NotStatement"]["Statement"], headers)
    match = statement["ByteMatchStatement"]
    assert match["PositionalConstraint"] == "EXACTLY"
    return bool(headers.get(match["FieldToMatch"]["SingleHeader"]["Name"]) == match["SearchString"])


def counted_as(resources: Mapping[str, Any], source: str, headers: Mapping[str, str]) -> list[str]:
    """The addresses that AWS WAF counts a request under, each by one of the rules that limit an address."""
    (acl,) = of_kind(resources, "AWS::WAFv2::WebACL").values()
    found = []
    for rule in acl["Rules"]:
        if limit := rule["Statement"].get("RateBasedStatement"):
            if "ScopeDownStatement" in limit and not holds(limit["ScopeDownStatement"], headers):
                continue
            if limit["AggregateKeyType"] == "FORWARDED_IP":
                # "AWS WAF only evaluates the first IP address found in the specified HTTP header."
                found.append(headers[limit["ForwardedIPConfig"]["HeaderName"]].split(",")[0].strip())
            else:
                found.append(source)
    return found


def through_cloudfront(
    resources: Mapping[str, Any], viewer: str, headers: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """The address and the headers that a browser's request has behind CloudFront."""
    (origin,) = resources["Browsers"]["Properties"]["DistributionConfig"]["Origins"]
    sent = dict(headers)
    sent["x-forwarded-for"] = ", ".join(filter(None, [sent.get("x-forwarded-for"), viewer]))
    written = resources["Preflight"]["Properties"]["FunctionCode"]
    before_all_else, _, _ = written.partition("if (request.method")
    for name in re.findall(r"request\.headers\['([a-z-]+)'\] = \{value: event\.viewer\.ip\};", before_all_else):
        sent[name] = viewer
    sent |= {said["HeaderName"]: said["HeaderValue"] for said in origin["OriginCustomHeaders"]}  # it overwrites
    return "130.176.0.1", sent


FORGED = {
    "x-forwarded-for": "192.0.2.66", "true-client-ip": "192.0.2.66", "x-real-ip": "192.0.2.66", "x-gateway-edge": "guess",
    "cloudfront-viewer-address": "192.0.2.66:1",
}  # fmt: skip


def test_a_browser_is_counted_by_its_own_address_whatever_it_says_of_it() -> None:
    """Else one edge of CloudFront is one caller for all who are behind it; or a caller is whoever it likes."""
    resources = stack(**BROWSERS)
    for headers in ({}, FORGED):
        assert counted_as(resources, *through_cloudfront(resources, "198.51.100.7", headers)) == ["198.51.100.7"]


def test_who_calls_the_api_itself_is_counted_by_where_it_calls_from() -> None:
    for parameters in (BROWSERS, {"EnableWaf": "true"}):
        for headers in ({}, FORGED):
            assert counted_as(stack(**parameters), "198.51.100.7", headers) == ["198.51.100.7"]


def test_the_firewalls_rules_are_in_an_order() -> None:
    (acl,) = of_kind(stack(**BROWSERS), "AWS::WAFv2::WebACL").values()
    priorities = [rule["Priority"] for rule in acl["Rules"]]
    assert len(priorities) == len(set(priorities)) == 5


# ------------------------------------------------------------------------------------------------------- what browsers ask
# What the SDKs of OpenAI and Anthropic for JavaScript, and AWS's, send of their own accord.
BY_SDKS = {
    "authorization", "content-type", "x-api-key", "anthropic-version", "anthropic-beta",
    "anthropic-dangerous-direct-browser-access", "openai-organization", "openai-project", "x-stainless-lang",
    "x-stainless-package-version", "x-stainless-os", "x-stainless-arch", "x-stainless-runtime", "x-stainless-runtime-version",
    "x-stainless-retry-count", "x-stainless-timeout", "x-stainless-helper-method", "amz-sdk-invocation-id", "amz-sdk-request",
    "x-amz-user-agent",
}  # fmt: skip


def test_a_browser_may_send_every_header_that_the_spec_and_the_sdks_know() -> None:
    """Both of the function's answer, and of CloudFront's policy, should that be put over it."""
    resources = stack(**BROWSERS)
    known = {
        parameter["name"].lower()
        for operation in OPERATIONS
        if not operation.path.startswith("/admin")
        for parameter in map(
            resolve, [*SPEC["paths"][operation.path].get("parameters", ()), *operation.said.get("parameters", ())]
        )
        if parameter["in"] == "header"
    }
    assert {"team_id", "messages_api"} <= known
    cors = resources["CorsHeaders"]["Properties"]["ResponseHeadersPolicyConfig"]["CorsConfig"]
    allowed = cors["AccessControlAllowHeaders"]["Items"]
    assert known | BY_SDKS <= set(allowed)
    assert "*" not in allowed  # it would not stand for authorization
    assert len(allowed) == len(set(allowed))
    assert cors["OriginOverride"] is False
    assert "wanted ? wanted.value" in resources["Preflight"]["Properties"]["FunctionCode"]
