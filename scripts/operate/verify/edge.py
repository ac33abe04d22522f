"""Steps on the edge before the functions: the account's limits, the import, each method's authorizer, strangers."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import requests
from botocore.exceptions import ClientError

from gateway.pricing.model_names import split_profile
from scripts.dev.rest_api.importing import Method
from scripts.operate.verify.deployment import PREFIX, Caller, Deployment, said, shown
from scripts.operate.verify.steps import NotAskedError, StepError, code_of, must

Json = Any
# New accounts begin with less than Lambda's default of 1,000, often with 10. Lambda's guide, "Lambda quotas".
FEWEST_EXECUTIONS = 100
JSON_VARIABLES = ("MODEL_ROUTES", "SAGEMAKER_ENDPOINTS")
LONGEST = 600  # characters of API Gateway's messages
WRONG_KEYS = 6  # five errors trigger RequestErrorsAlarm
ALARMS = ("RequestErrorsAlarm", "ApiErrorsAlarm")


# ---------------------------------------------------------------------------------------------------------- the account
def account(deployment: Deployment) -> str:
    limits = deployment.client("lambda").get_account_settings()["AccountLimit"]
    most = int(limits["ConcurrentExecutions"])
    must(most >= FEWEST_EXECUTIONS, f"the account runs {most} functions at a time: request Lambda's default of 1,000")
    return f"{most} functions at a time, {limits.get('UnreservedConcurrentExecutions', most)} of them not reserved"


def model_enabled(deployment: Deployment) -> str:
    """Bedrock reports whether the account may call the model. For a profile, the model behind it."""
    model_id = split_profile(model_of(deployment))[1]
    found = deployment.client("bedrock").get_foundation_model_availability(modelId=model_id)
    return availability(model_id, found)


def availability(model_id: str, found: Mapping[str, Any]) -> str:
    wanted = {
        "agreement": (found["agreementAvailability"].get("status"), "AVAILABLE"),
        "authorization": (found["authorizationStatus"], "AUTHORIZED"),
        "entitlement": (found["entitlementAvailability"], "AVAILABLE"),
        "region": (found["regionAvailability"], "AVAILABLE"),
    }
    off = [f"{what} is {status}" for what, (status, good) in wanted.items() if status != good]
    must(not off, f"{model_id} is not enabled: {', '.join(off)}")
    return model_id


CHEAP = (
    "amazon.nova-micro-v1:0",
    "amazon.nova-lite-v1:0",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.titan-text-express-v1",
)


def model_of(deployment: Deployment) -> str:
    """The model to call: the given one, or the first cheap one that the gateway lists. Raises NotAskedError."""
    if not deployment.given_model:
        listed = deployment.caller.call("GET", "/list_foundation_models")
        must(listed.status_code == 200, f"listing models returns {shown(listed)}")
        summaries = said(listed)[0]["modelSummaries"]
        by_id = {it["modelId"]: it.get("inferenceTypesSupported", ()) for it in summaries}
        known = [model_id for model_id in CHEAP if "ON_DEMAND" in by_id.get(model_id, ())]
        if not known:
            raise NotAskedError(f"the region lists none of {', '.join(CHEAP)}: name a model by --model")
        deployment.given_model = known[0]
    return deployment.given_model


# ----------------------------------------------------------------------------------------------------------- the import
def imported(deployment: Deployment) -> str:
    """API Gateway imports openapi.yaml into a temporary API. It needs no stack."""
    if not deployment.with_import:
        raise NotAskedError("it creates a temporary API: run it with --import")
    api = deployment.client("apigateway")
    body = json.dumps(deployment.document | {"info": own_name(deployment.document)}).encode()
    # A streaming API must be Regional or private; without this it would be edge-optimized.
    told = {"body": body, "parameters": {"endpointConfigurationTypes": "REGIONAL"}}

    def take(*, strictly: bool) -> dict[str, Any]:
        return deployment.make(
            "the REST API of the import",
            lambda: api.import_rest_api(failOnWarnings=strictly, **told),
            lambda made: api.delete_rest_api(restApiId=made["id"]),
        )

    warnings: list[str] = []
    try:
        made = take(strictly=True)
    except ClientError as error:
        warnings = [refusal_of(error)]
        try:
            made = take(strictly=False)
        except ClientError as refusal:
            raise StepError(f"refused: {shortened(refusal_of(refusal))}") from refusal
    faults = faults_of_methods(deployment.wanted, resources_of(api, made["id"]))
    must(not faults, "; ".join(faults))
    warnings += made.get("warnings", ())
    told_too = f"warnings: {shortened('; '.join(warnings))}" if warnings else "no warnings"
    return f"accepted, {len(deployment.wanted)} methods; {told_too}"


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def refusal_of(error: ClientError) -> str:
    """API Gateway's reasons against a definition. Raises any other error again."""
    if code_of(error) != "BadRequestException":
        raise error
    return " ".join(str(error.response["Error"].get("Message", "")).split())


def own_name(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {**spec["info"], "title": f"{PREFIX}{secrets.token_hex(6)}"}


# -------------------------------------------------------------------------------------------------------- authorization
def resources_of(api: Any, api_id: str) -> list[dict[str, Any]]:
    pages = api.get_paginator("get_resources").paginate(
        restApiId=api_id, embed=["methods"], PaginationConfig={"PageSize": 500}
    )
    return [resource for page in pages for resource in page["items"]]


def faults_of_methods(methods: Iterable[Method], resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """The methods whose authorization differs from the definition."""
    methods = tuple(methods)
    wanted = {(it.http_method, it.path): (it.authorization, it.api_key_required) for it in methods}
    mocks = [it for it in methods if it.integration and it.integration.kind.upper() == "MOCK"]
    runs_nothing = {(it.http_method, it.path) for it in mocks}
    there = {
        (name, resource["path"]): (method.get("authorizationType", "NONE"), bool(method.get("apiKeyRequired")))
        for resource in resources
        for name, method in resource.get("resourceMethods", {}).items()
    }
    faults = [f"{method} {path} is missing" for method, path in sorted(wanted.keys() - there.keys())]
    faults += [f"{method} {path} is not in the spec" for method, path in sorted(there.keys() - wanted.keys())]
    for (method, path), guard in sorted(wanted.items()):
        found = there.get((method, path), guard)
        if guard[0] == "NONE" and (method, path) not in runs_nothing:
            faults.append(f"{method} {path} is left open by its definition")
        if found[0] != guard[0]:
            faults.append(f"{method} {path} is {found[0]}, not {guard[0]}")
        if found[1] != guard[1]:
            faults.append(f"{method} {path} requires {'an' if found[1] else 'no'} API key")
    return faults


def authorization(deployment: Deployment) -> str:
    found = resources_of(deployment.client("apigateway"), deployment.outputs["ApiId"])
    faults = faults_of_methods(deployment.wanted, found)
    must(not faults, "; ".join(faults))
    kinds = Counter(method.authorization for method in deployment.wanted)
    return (
        f"{kinds['CUSTOM']} by the authorizer and a usage plan, {kinds['AWS_IAM']} by IAM; {kinds['NONE']} open, "
        "which have no backend and return 404"
    )


def stage(deployment: Deployment) -> str:
    found = deployment.client("apigateway").get_stages(restApiId=deployment.outputs["ApiId"])["item"]
    names, wanted = [it["stageName"] for it in found], deployment.outputs["StageName"]
    must_be_one(names, wanted)
    return wanted


def must_be_one(names: Sequence[str], wanted: str) -> None:
    others = [name for name in names if name != wanted]
    must(wanted in names, f"the API has no stage {wanted}, only {', '.join(names)}")
    must(not others, f"besides {wanted} there is the stage {', '.join(others)}, without WAF, access log and usage plan")


# --------------------------------------------------------------------------------------------------------- environments
def environment(deployment: Deployment) -> str:
    functions, aliases = deployment.client("lambda"), 0
    names = deployment.of_kind("AWS::Lambda::Function")
    for name in names:
        found = functions.get_function_configuration(FunctionName=name)
        aliases = max(aliases, must_be_whole(name, found))
    return f"{len(names)} functions, {aliases} routes"


def must_be_whole(name: str, found: Mapping[str, Any]) -> int:
    """A function is active and its JSON variables are valid; returns its number of routes."""
    must(found.get("State", "Active") == "Active", f"{name} is {found.get('State')}: {found.get('StateReason')}")
    routes = 0
    for variable in JSON_VARIABLES:
        text = found.get("Environment", {}).get("Variables", {}).get(variable)
        if text is None:
            continue
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None
        must(isinstance(parsed, dict), f"{variable} of {name} is not a JSON object: {text[:80]}")
        routes = max(routes, len(parsed) if variable == "MODEL_ROUTES" else 0)
    return routes


# ------------------------------------------------------------------------------------------------------------ strangers
def strangers(deployment: Deployment) -> str:
    keyless = Caller(deployment.url).call("GET", "/v1/models")
    must_be_refused(keyless, "a call without a key")
    deployment.strangers_at = time.monotonic()
    for _ in range(WRONG_KEYS):
        wrong = Caller(deployment.url, f"mgw_{secrets.token_hex(23)}").call("GET", "/v1/models")
        must_be_refused(wrong, "a call with a wrong key")
    return f"401 without a key and {WRONG_KEYS} times with a wrong one"


def must_be_refused(answer: requests.Response, what: str) -> None:
    must(answer.status_code == 401, f"{what} gets {shown(answer)}")
    must(said(answer).get("code") == "unauthorized", f"{what} gets no error code: {answer.text[:200]}")
    must(bool(answer.headers.get("x-request-id")), f"{what} gets no x-request-id")


def rose(alarm: Mapping[str, Any], began: datetime) -> bool:
    """Did the alarm go off in this run? One that was on before proves nothing about strangers."""
    return bool(alarm["StateValue"] == "ALARM" and alarm["StateUpdatedTimestamp"] >= began)


def alarms(deployment: Deployment) -> str:
    """Runs last, since CloudWatch evaluates its five minutes afterwards."""
    if deployment.strangers_at is None:
        raise NotAskedError("no strangers called in this run")
    names = {deployment.resources[name][1]: name for name in ALARMS if name in deployment.resources}
    if not names:
        raise NotAskedError(f"the stack has neither {' nor '.join(ALARMS)}")
    while True:
        found = deployment.client("cloudwatch").describe_alarms(AlarmNames=list(names))["MetricAlarms"]
        raised = [names[it["AlarmName"]] for it in found if rose(it, deployment.began)]
        must(not raised, f"{', '.join(raised)} is in ALARM")
        left = deployment.strangers_at + deployment.alarm_wait - time.monotonic()
        if left <= 0:
            return f"{', '.join(names.values())} stayed quiet for {deployment.alarm_wait:.0f} s after the wrong keys"
        time.sleep(min(left, 15))
