"""Jobs in DynamoDB, their queue in SQS, their large bodies in S3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional, instant, moment, value
from gateway.aws.dynamodb.usage_rows import settlement
from gateway.aws.s3.payloads import Payloads
from gateway.calls.jobs import QUEUE_RETENTION, Job, JobResult, JobState, Submission
from gateway.tenancy.caller import caller_from_json, caller_to_json
from gateway.usage.records import Attribution, RequestId, TenantId, UsageRecord, UserSource

UNFINISHED = QUEUE_RETENTION + timedelta(days=1)


class JobTable:
    """`gateway.calls.jobs.Jobs`. A result can be polled for the time of `retention`."""

    def __init__(self, table: str, usage_table: str, queue_url: str, payloads: Payloads, retention: timedelta):
        self.table = table
        self._usage_table = usage_table
        self._queue_url = queue_url
        self._payloads = payloads
        self._retention = retention
        self._dynamodb = client("dynamodb")

    def submit(self, submission: Submission, now: datetime) -> None:
        self._put(
            submission.request_id,
            submission.caller.tenant_id,
            now,
            {"state": JobState.QUEUED.value, "attempts": 0, "expires_at": int((now + UNFINISHED).timestamp())},
        )
        try:
            client("sqs").send_message(QueueUrl=self._queue_url, MessageBody=self.message(submission))
        except Exception:
            # The job will never run and the client gets an error, so no poll may show it as accepted.
            self._dynamodb.delete_item(TableName=self.table, Key=attributes({"request_id": submission.request_id}))
            raise

    def message(self, submission: Submission) -> str:
        return json.dumps(
            {
                "request_id": submission.request_id,
                **caller_to_json(submission.caller),
                "cost_centre": submission.cost_centre,
                "attribution": _attribution_json(submission.attribution),
                "request": self._payloads.pack(f"requests/{submission.request_id}.json", submission.request),
            }
        )

    def submission(self, message: str) -> Submission:
        """The submission in a queue message. Raises KeyError or ValueError if `message` did not make it."""
        values = json.loads(message)
        request = self._payloads.unpack(values["request"])
        caller = caller_from_json(values)
        said = values.get("attribution")  # a message of an earlier release has none
        attribution = caller.attribution if said is None else _attribution(said)
        return Submission(RequestId(values["request_id"]), caller, values["cost_centre"], request, attribution)

    def claim(self, request_id: RequestId, now: datetime, lease_until: datetime, attempts: int) -> Job | None:
        try:
            updated = self._dynamodb.update_item(
                TableName=self.table,
                Key=attributes({"request_id": request_id}),
                UpdateExpression="SET #state = :running, lease_until = :lease ADD attempts :attempts",
                ConditionExpression="#state = :queued OR (#state = :running AND lease_until < :now)",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=attributes(
                    {
                        ":running": JobState.RUNNING.value,
                        ":queued": JobState.QUEUED.value,
                        ":lease": instant(lease_until),
                        ":now": instant(now),
                        ":attempts": attempts,
                    }
                ),
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if conditional(error):
                return None
            raise
        return self._job(updated["Attributes"])

    def find(self, request_id: RequestId) -> Job | None:
        found = self._dynamodb.get_item(
            TableName=self.table, Key=attributes({"request_id": request_id}), ConsistentRead=True
        )
        return self._job(found["Item"]) if "Item" in found else None

    def finish(self, job: Job, ended: JobResult, settled: Sequence[UsageRecord], now: datetime) -> bool:
        end = self._end(job, JobState.RUNNING, ended, now)
        writes = [{"Update": end}, *({"Update": settlement(self._usage_table, record)} for record in settled)]
        try:
            self._dynamodb.transact_write_items(TransactItems=writes)
        except ClientError as error:
            if conditional(error):
                return False
            raise
        return True

    def abandon(self, job: Job, ended: JobResult, now: datetime) -> bool:
        end = self._end(job, job.state, ended, now)
        if job.lease_until:
            end["ConditionExpression"] += " AND lease_until = :lease"
            end["ExpressionAttributeValues"] |= attributes({":lease": instant(job.lease_until)})
        else:
            end["ConditionExpression"] += " AND attribute_not_exists(lease_until)"
        try:
            self._dynamodb.update_item(**end)
        except ClientError as error:
            if conditional(error):
                return False
            raise
        return True

    def _end(self, job: Job, state: JobState, ended: JobResult, now: datetime) -> dict[str, Any]:
        """The update that stores a result, if the job still has this state and has begun no other attempt."""
        kept = self._ended(job.request_id, ended, now)
        return {
            "TableName": self.table,
            "Key": attributes({"request_id": job.request_id}),
            "UpdateExpression": "SET #state = :done, ended = :ended, expires_at = :expires",
            "ConditionExpression": "#state = :state AND attempts = :attempts",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": attributes(
                {
                    ":done": JobState.DONE.value,
                    ":state": state.value,
                    ":attempts": job.attempts,
                    ":ended": kept["ended"],
                    ":expires": kept["expires_at"],
                }
            ),
        }

    def keep(self, request_id: RequestId, tenant_id: TenantId, ended: JobResult, now: datetime) -> None:
        self._put(
            request_id,
            tenant_id,
            now,
            {"state": JobState.DONE.value, "attempts": 0, **self._ended(request_id, ended, now)},
        )

    def _ended(self, request_id: RequestId, ended: JobResult, now: datetime) -> dict[str, Any]:
        packed = self._payloads.pack(f"answers/{request_id}.json", vars(ended))
        return {"ended": packed, "expires_at": int((now + self._retention).timestamp())}

    def _put(self, request_id: str, tenant_id: str, now: datetime, values: dict[str, Any]) -> None:
        item = {"request_id": request_id, "tenant_id": tenant_id, "submitted_at": instant(now)} | values
        self._dynamodb.put_item(TableName=self.table, Item=attributes(item))

    def _job(self, item: dict[str, Any]) -> Job:
        plain = {name: value(attribute) for name, attribute in item.items()}
        lease_until, ended = plain.get("lease_until"), plain.get("ended")
        return Job(
            request_id=RequestId(plain["request_id"]),
            tenant_id=TenantId(plain["tenant_id"]),
            state=JobState(plain["state"]),
            submitted_at=moment(plain["submitted_at"]),
            attempts=plain["attempts"],
            lease_until=moment(lease_until) if lease_until else None,
            ended=JobResult(**self._payloads.unpack(ended)) if ended else None,
        )


def _attribution_json(made: Attribution) -> dict[str, Any]:
    return {"user_id": made.user_id, "user_source": made.user_source.value, "tags": dict(made.tags)}


def _attribution(values: Mapping[str, Any]) -> Attribution:
    return Attribution(values["user_id"], UserSource(values["user_source"]), tuple(sorted(values["tags"].items())))
