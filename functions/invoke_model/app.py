"""POST /invoke_model: answer a call, submit it for later, or poll for its answer."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.event_handler import Response

from gateway.aws.account_table import AccountTable
from gateway.aws.alerts import warn
from gateway.aws.bedrock import BedrockRuntime
from gateway.aws.dynamodb import DynamoLedger
from gateway.aws.job_table import JobTable
from gateway.aws.payloads import Payloads
from gateway.aws.sagemaker import SageMakerRuntime
from gateway.catalog import Catalog, Service
from gateway.errors import GatewayError
from gateway.http.resolver import answer, api, body, caller, header, query, received_at, request_id
from gateway.http.schemas import InvokeModelParametersQuery, InvokeModelRequest
from gateway.invocation import Context, ModelServices, invoke, poll, utc_now
from gateway.jobs import Ended, Submission
from gateway.metering import Meter
from gateway.pricing import price_book
from gateway.settings import seconds_left, settings
from gateway.usage import RequestId
from gateway.wire.compat import CompatRequest, flag, translate

POLL_MARGIN = 2.0  # seconds before API Gateway's patience ends: an answer this late is kept as well

app = api()
catalog = Catalog.from_json(settings().sagemaker_endpoints)
seconds = settings().invocation_timeout
models = ModelServices({Service.BEDROCK: BedrockRuntime(seconds), Service.SAGEMAKER: SageMakerRuntime(seconds)})
ledger = DynamoLedger(settings().usage_table, settings().usage_retention_days)
meter = Meter(ledger, AccountTable(settings().budgets_table), price_book, warn)
jobs = JobTable(
    settings().results_table,
    settings().usage_table,
    settings().jobs_queue_url,
    Payloads(settings().payloads_bucket),
    timedelta(seconds=settings().result_retention),
)


@app.post("/invoke_model")
def invoke_model() -> Response[str]:
    asked = query(app, InvokeModelParametersQuery)
    sent = body(app, InvokeModelRequest)
    if asked.requestId:
        patience = timedelta(seconds=2 * seconds)  # by then another worker would have taken the job
        ready = poll(RequestId(asked.requestId), caller(app), jobs, ledger, utc_now(), patience)
        return answer(app, [{"request_id": asked.requestId}] if ready is None else ready)
    request = CompatRequest(
        sent,
        asked.model_id,
        asked.model_arn,
        (header(app, "type") or "text").lower(),
        flag(header(app, "messages_api")),
    )
    translation = translate(request, catalog)
    by_default = settings().allow_unlisted_models
    caller(app).tenant.must_allow(request.operation, asked.model_id or "", asked.model_arn, by_default=by_default)
    cost_centre = caller(app).cost_centre(header(app, "team_id"))
    if flag(header(app, "streaming")):
        jobs.submit(Submission(request_id(app), caller(app), cost_centre, request.to_json()), utc_now())
        return answer(app, [{"request_id": request_id(app)}])
    lease = utc_now() + timedelta(seconds=seconds_left(app.lambda_context))
    context = Context(request_id(app), caller(app), cost_centre, settings().region, lease)
    try:
        made = translation.answer(invoke(translation.calls, context, models, meter))
    except GatewayError as error:
        keep_if_late(Ended.failed(error))
        raise
    keep_if_late(Ended(body=made))
    return answer(app, made)


def keep_if_late(ended: Ended) -> None:
    """API Gateway has sent the client away, or is about to: the answer waits to be polled for."""
    if time.time() - received_at(app) > settings().integration_timeout - POLL_MARGIN:
        jobs.keep(request_id(app), caller(app).tenant_id, ended, utc_now())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)
