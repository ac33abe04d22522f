"""Jobs: calls whose answer is stored for polling, because they were submitted or outlived API Gateway's timeout.

A submitted job is `queued`. A worker claims it (`running`, with a lease), and it ends as `done` with its answer or its
problem. A worker may crash, and a message may arrive twice. So a claim succeeds only without a live lease, and one
transaction ends the job and settles its usage. A tenant is charged for the one attempt whose answer is stored; the
sweep settles an unfinished attempt as `unsettled`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gateway.core.errors import GatewayError, NotFoundError
from gateway.tenancy.caller import Caller
from gateway.usage.ledger import Ledger
from gateway.usage.records import NOBODY, Attribution, RequestId, TenantId, UsageRecord

if TYPE_CHECKING:
    from gateway.core.error_codes import ErrorCode


QUEUE_RETENTION = timedelta(days=4)  # template.yaml, JobsQueue


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


@dataclass(frozen=True)
class JobResult:
    """The result of a call: a body, or a problem."""

    body: Any = None
    status: int = 200
    code: ErrorCode | Literal[""] = ""
    message: str = ""
    retry_after: int | None = None

    @classmethod
    def failed(cls, error: GatewayError) -> JobResult:
        return cls(status=error.status, code=error.code, message=error.message, retry_after=error.retry_after)

    @property
    def error(self) -> GatewayError | None:
        if not self.code:
            return None
        return GatewayError(self.message, code=self.code, status=self.status, retry_after=self.retry_after)


@dataclass(frozen=True)
class Submission:
    """A submitted call, with all data that a worker needs. `request` has the client's wire format."""

    request_id: RequestId
    caller: Caller
    cost_centre: str
    request: Mapping[str, Any]
    attribution: Attribution = NOBODY


@dataclass(frozen=True)
class Job:
    """The state of a stored call. `attempts` counts the ledger rows that it has begun."""

    request_id: RequestId
    tenant_id: TenantId
    state: JobState
    submitted_at: datetime
    attempts: int = 0
    lease_until: datetime | None = None
    ended: JobResult | None = None

    def may_be_claimed(self, now: datetime) -> bool:
        leased = self.state is JobState.RUNNING and self.lease_until is not None and now < self.lease_until
        return self.state is not JobState.DONE and not leased

    def lost(self, now: datetime, patience: timedelta) -> bool:
        """Did its worker die, and no other claim it within `patience`? A queued job is lost only with its message."""
        match self.state:
            case JobState.DONE:
                return False
            case JobState.QUEUED:
                return now > self.submitted_at + QUEUE_RETENTION
            case JobState.RUNNING:
                return now > (self.lease_until or self.submitted_at) + patience


class ResultStore(Protocol):
    """Stores the result of a claimed call."""

    def finish(self, ended: JobResult, settled: Sequence[UsageRecord], now: datetime) -> bool:
        """End a claimed job and settle its rows, atomically; False if the claim was lost meanwhile."""


class Jobs(Protocol):
    """Stores jobs. Implemented by `gateway.aws.dynamodb.jobs`."""

    def submit(self, submission: Submission, now: datetime) -> None:
        """Store the job and queue it for a worker."""

    def claim(self, request_id: RequestId, now: datetime, lease_until: datetime, attempts: int) -> Job | None:
        """Claim the job for `attempts` more attempts; None if it is done, or another worker has a live lease."""

    def finish(self, job: Job, ended: JobResult, settled: Sequence[UsageRecord], now: datetime) -> bool:
        """End a claimed job and settle its rows, both or neither; False where the claim was lost meanwhile."""

    def find(self, request_id: RequestId) -> Job | None: ...

    def abandon(self, job: Job, ended: JobResult, now: datetime) -> bool:
        """End a job that no worker runs, so that none will; False if a worker claimed it since `job` was read."""

    def keep(self, request_id: RequestId, tenant_id: TenantId, ended: JobResult, now: datetime) -> None:
        """Store the result of a call that was not submitted, for a client whose request timed out at API Gateway."""


@dataclass(frozen=True)
class ClaimedJob:
    """A job that this worker has claimed, and whose result it stores."""

    jobs: Jobs
    job: Job

    def finish(self, ended: JobResult, settled: Sequence[UsageRecord], now: datetime) -> bool:
        return self.jobs.finish(self.job, ended, settled, now)


# A call settles before its answer is stored, so within this time a settled row may still get its answer.
KEPT_WITHIN = timedelta(seconds=5)


def poll(
    request_id: RequestId, caller: Caller, jobs: Jobs, ledger: Ledger, now: datetime, patience: timedelta
) -> Any | None:
    """The body of a stored answer; None while the call runs. Raises the job's own error, or NotFoundError.

    Other tenants' jobs return 404, so their existence is not disclosed.
    """
    unknown = NotFoundError("Unknown requestId, or its result has expired.", code="request_not_found")
    job = jobs.find(request_id)
    if job is None:
        row = ledger.find(request_id, now)
        if row is None or row.tenant_id != caller.tenant_id:
            raise unknown
        if row.settled_at is not None:
            if now - row.settled_at > KEPT_WITHIN:
                raise unknown
            return None
        if row.lease_until < now:
            raise GatewayError("The call ended without a response. Send it again.", code="call_lost", status=500)
        return None
    if job.tenant_id != caller.tenant_id:
        raise unknown
    if job.lost(now, patience):
        lost = GatewayError("The call ended without a response. Submit it again.", code="call_lost", status=500)
        # The client may now submit it again, so a late message must not run it as well.
        if jobs.abandon(job, JobResult.failed(lost), now):
            raise lost
        return None
    if job.state is not JobState.DONE or job.ended is None:
        return None
    if job.ended.error:
        raise job.ended.error
    return job.ended.body
