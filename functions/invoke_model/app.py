"""POST /invoke_model: answer a call, submit it for later, or poll for its answer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.event_handler import Response

from gateway.calls.attempts import AttemptPlan
from gateway.calls.call import Context, utc_now
from gateway.calls.claims import claim_of_headers
from gateway.calls.idempotency import IdempotentRequest, record_for
from gateway.calls.invoke import complete, invoke
from gateway.calls.jobs import JobResult, Submission, poll
from gateway.calls.policy import authorized_models, by_id
from gateway.calls.resource_ownership import must_name_no_project
from gateway.core.errors import GatewayError
from gateway.core.settings import seconds_left, settings, trace_of_invocation
from gateway.core.telemetry import logger
from gateway.formats.legacy.requests import LegacyRequest, Translation, flag, operation_of, translations
from gateway.usage.records import RequestId
from gateway.web.generated.schemas import InvokeModelParametersQuery, InvokeModelRequest
from gateway.web.resolver import answer, api, body, caller, header, lowered_headers, query, received_at, request_id
from gateway.web.warnings import warned
from gateway.wiring import Wiring

# Below Lambda's 6 MB, which include the answer as a JSON string and its headers. Source: Lambda's quotas.
LARGEST_ANSWER = 6_000_000
SHARED_FOR = 900  # seconds
KEPT_EARLY = 5.0  # seconds before API Gateway's timeout; the answer may need that long to reach it

app = api()
wired = Wiring(settings())
seconds = settings().invocation_timeout
registry, models, ledger, meter, circuits = wired.registry, wired.models, wired.ledger, wired.meter, wired.circuits
payloads, jobs, entries, attributor = wired.payloads, wired.jobs, wired.entries, wired.attributor


@app.post("/invoke_model")
def invoke_model() -> Response[str]:
    asked = query(app, InvokeModelParametersQuery)
    who = caller(app)
    if asked.requestId:  # a poll ignores its body
        patience = timedelta(seconds=2 * seconds)  # by then another worker would have claimed the job
        ready = poll(RequestId(asked.requestId), who, jobs, ledger, utc_now(), patience)
        return fitting([{"request_id": asked.requestId}] if ready is None else ready)
    request = LegacyRequest(
        body(app, InvokeModelRequest),
        asked.model_id,
        asked.model_arn,
        operation_of(header(app, "type")),
        flag(header(app, "messages_api")),
    )
    headers = lowered_headers(app)
    must_name_no_project(request.body, headers)
    names, by_default = registry(), settings().allow_unlisted_models
    route = names.routes.find(asked.model_id or "")
    find = by_id(names.catalog, route, asked.model_arn)
    allowed = authorized_models(route, who.tenant, request.operation, find, by_default=by_default)
    requests = translations(request, allowed)
    cost_centre = who.cost_centre(header(app, "team_id"))
    lease = utc_now() + timedelta(seconds=seconds_left(app.lambda_context))
    made_for = attributor.attribute(who, claim_of_headers(headers), utc_now())
    context = Context(
        request_id(app), who, cost_centre, settings().region, lease,
        trace=trace_of_invocation(), attribution=made_for.attribution,
    )  # fmt: skip
    attempts, left = AttemptPlan(route, context, meter, circuits), made_for.warnings
    if (key := header(app, "idempotency-key")) is not None:
        return noted(run_once(key, request, requests, attempts), requests, left)
    if flag(header(app, "streaming")):
        return noted(answer(app, submit(request, context)), requests, left)
    try:
        made = invoke(requests, attempts, models)
    except GatewayError as error:
        keep_if_late(JobResult.failed(error))
        raise
    keep_if_late(JobResult(body=made))
    return noted(fitting(made), requests, left)


def fitting(made: Any) -> Response[str]:
    """The answer; or a 303 redirect to it in S3, if it is too large for Lambda. Clients follow it by themselves."""
    text = json.dumps(made, separators=(",", ":"))
    if len(text) < LARGEST_ANSWER // 2 or len(json.dumps(text)) < LARGEST_ANSWER:
        return answer(app, made)
    url = payloads.share(f"answers/whole-{request_id(app)}.json", text, SHARED_FOR)
    told = answer(app, [{"request_id": request_id(app), "answer_url": url, "answer_bytes": len(text)}], 303)
    told.headers["location"] = url
    return told


def noted(made: Response[str], requests: Sequence[Translation], left: Sequence[str]) -> Response[str]:
    """The response with the warning header, which names ignored or adapted parts of the request."""
    made.headers.update(warned([*(warning for request in requests for warning in request.all_warnings), *left]))
    return made


def submit(request: LegacyRequest, context: Context) -> Any:
    jobs.submit(
        Submission(
            context.request_id, context.caller, context.cost_centre, request.to_json(), context.attribution
        ),
        utc_now(),
    )  # fmt: skip
    return submitted(context.request_id)


def submitted(request_id: RequestId) -> Any:
    return [{"request_id": request_id}]


def run_once(key: str, request: LegacyRequest, requests: Sequence[Translation], attempts: AttemptPlan) -> Response[str]:
    """The answer to the first request with this key, be it this one or an earlier one."""
    context = attempts.context
    streaming, tenant = flag(header(app, "streaming")), context.caller.tenant
    said = {"request": request.to_json(), "team_id": header(app, "team_id") or "", "streaming": streaming}
    once = IdempotentRequest(entries, record_for(tenant, key, said, context.request_id, context.lease_until), tenant)

    def recover(first: RequestId) -> JobResult | None:
        return JobResult(body=submitted(first)) if streaming and jobs.find(first) else None

    def run() -> JobResult:
        if streaming:
            return JobResult(body=submit(request, context))
        return complete(requests, attempts, models, once)

    ended, replayed = once.run(utc_now, run, recover)
    if replayed:
        earlier = fitting(ended.body)
        earlier.headers["idempotent-replayed"] = "true"
        return earlier
    if streaming:
        # If this fails, the key stays claimed until its lease ends; a later repeat finds the job.
        once.finish(ended, (), utc_now())
    else:
        keep_if_late(ended)
    if ended.error:
        raise ended.error
    return fitting(ended.body)


def keep_if_late(ended: JobResult) -> None:
    """Store the answer for polling if API Gateway timed out, or may time out before the answer arrives.

    This function counts from `received_at`. API Gateway's timeout starts later, after the authorizer.
    """
    if time.time() - received_at(app) <= settings().sure_integration_timeout - KEPT_EARLY:
        return
    try:
        jobs.keep(request_id(app), caller(app).tenant_id, ended, utc_now())
    except Exception as error:  # a client that still waits gets its answer anyway
        logger().error("answer_not_kept", extra={"error_type": type(error).__name__, "request_id": request_id(app)})


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)
