"""The queue's worker: runs a submitted call and stores its answer for polling.

A message stays in the queue while another worker has its job, and arrives again. The worker removes the message of a
job that ended, with an answer or a problem. A job runs under the tenant's current record; it is refused once the tenant
is suspended, its key revoked or expired, its cost centre taken from the tenant, or the tenant from the token's issuer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from gateway.aws.dynamodb.tenants import TenantTable
from gateway.calls.attempts import AttemptPlan
from gateway.calls.call import Context, utc_now
from gateway.calls.invoke import complete, max_attempts
from gateway.calls.jobs import ClaimedJob, JobResult, JobState, Submission
from gateway.calls.policy import authorized_models, by_id
from gateway.core.errors import ForbiddenError, GatewayError
from gateway.core.settings import seconds_left, settings, trace_of_invocation
from gateway.core.telemetry import logger
from gateway.formats.legacy.requests import LegacyRequest, Translation, translations
from gateway.tenancy.caller import TOKEN_KEY, Caller
from gateway.wiring import Wiring

wired = Wiring(settings())
registry, models, ledger, meter = wired.registry, wired.models, wired.ledger, wired.meter
circuits, jobs = wired.circuits, wired.jobs
tenants = TenantTable(settings().tenants_table)


class JobBusy(Exception):
    """Another worker has the job; its message must arrive again."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    failed = []
    for message in event["Records"]:
        try:
            work(message["body"], seconds_left(context))
        except JobBusy:
            failed.append({"itemIdentifier": message["messageId"]})
        except Exception as error:  # one bad message must not block the others
            logger().error("job_attempt_failed", extra={"error_type": type(error).__name__})
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}


# The queue delivers a message again after the visibility timeout, which starts shortly before the worker does.
# The lease must have ended by then; otherwise the message would wait for another round.
LEASE_MARGIN = 15.0


def work(message: str, left: float) -> None:
    submission = jobs.submission(message)
    request = LegacyRequest.from_json(submission.request)
    names = registry()
    route = names.routes.find(request.model_id or "")
    requests: Sequence[Translation] = ()
    refusal: GatewayError | None = None
    try:
        who = caller_now(submission)
        by_default = settings().allow_unlisted_models
        find = by_id(names.catalog, route, request.model_arn)
        allowed = authorized_models(route, who.tenant, request.operation, find, by_default=by_default)
        requests = translations(request, allowed)
    except GatewayError as error:
        refusal = error
    lease = utc_now() + timedelta(seconds=max(left - LEASE_MARGIN, 1))
    tries = max_attempts(requests, route) if requests else 1
    job = jobs.claim(submission.request_id, utc_now(), lease, tries)
    if job is None:
        known = jobs.find(submission.request_id)
        if known is not None and known.state is not JobState.DONE:
            raise JobBusy
        return
    claimed = ClaimedJob(jobs, job)
    if refusal is not None:
        claimed.finish(JobResult.failed(refusal), [], utc_now())
        return
    if job.attempts > settings().max_job_attempts * tries:
        ended = JobResult(
            status=500, code="attempts_exhausted", message="Every attempt of the call failed. Submit it again."
        )
        claimed.finish(ended, [], utc_now())
        return
    region = settings().region
    where = Context(
        submission.request_id, who, submission.cost_centre, region, lease,
        trace=trace_of_invocation(), attribution=submission.attribution,
    )  # fmt: skip
    attempts = AttemptPlan(route, where, meter, circuits, first=job.attempts - tries + 1)
    complete(requests, attempts, models, claimed)


def caller_now(submission: Submission) -> Caller:
    """The submitter with the tenant's current record. Raises ForbiddenError if it may no longer make this call."""
    said = submission.caller
    tenant = tenants.tenant(said.tenant_id)
    if tenant is None or not still_identifies(said):
        raise ForbiddenError("The key that submitted this call expired or was revoked before the call ran.")
    if tenant.suspended:
        raise ForbiddenError("Your tenant is suspended. Ask the gateway's operators.")
    if said.user_id and not tenants.is_active(said.tenant_id, said.user_id):
        raise ForbiddenError("Your user is switched off. Ask an administrator of your tenant.")
    who = replace(said, tenant=tenant)
    who.cost_centre(submission.cost_centre)
    return who


def still_identifies(caller: Caller) -> bool:
    """Is the caller's key still valid, or may the issuer of its token still name the tenant?

    The token itself may have expired: it was valid when the call was submitted.
    """
    if caller.key_id.startswith(TOKEN_KEY):
        # Only for callers with a token, so that the others do not pay for it.
        from gateway.aws.dynamodb.issuers import IssuerTable  # noqa: PLC0415
        from gateway.tenancy.issuers import issuer_of  # noqa: PLC0415

        issuer = IssuerTable(settings().tenants_table).issuer(issuer_of(caller.key_id))
        return issuer is not None and issuer.may_name(caller.tenant_id)
    key = tenants.key_of(caller.tenant_id, caller.key_id)
    return key is not None and key.works(utc_now())
