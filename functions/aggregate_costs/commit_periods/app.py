"""CommitPeriods: record the hours that are done, the hours to do again since they have open rows, and their proofs.

It also reports the run's findings: unreadable rows, files that differed from their proofs, hours left for the next run,
and the lag of the costs behind the clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.aws.dynamodb.periods import DynamoPeriods
from gateway.aws.dynamodb.proofs import DynamoProofs
from gateway.aws.lake.prices import write_prices
from gateway.aws.s3.objects import S3Objects
from gateway.aws.s3.price_overlay import current_book
from gateway.core.settings import settings
from gateway.core.telemetry import AGGREGATION_LAG, QUARANTINED_ROWS, UNPRICED_USAGE, count, measure
from gateway.costs.periods import Plan, commit, lag
from gateway.costs.proofs import proven
from gateway.costs.usage_files import UsageFile

periods = DynamoPeriods(settings().usage_table, settings().usage_retention_days)
proofs = DynamoProofs(settings().usage_table)
lake = S3Objects(settings().lake_bucket)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    done = Plan(**event["plan"])
    open_hours = sorted({verified["hour"] for verified in event["verified"] if verified["open"]})
    unpriced = sorted({verified["hour"] for verified in event["verified"] if verified["unpriced"]})
    quarantined = sum(verified["quarantined"] for verified in event["verified"])
    # A run that an earlier release started lacks `files` and `proof`; the next run proves its hours.
    files = [UsageFile(**file).key for file in event.get("files", ()) if file["hour"] in done.mended]
    mended = [*files, *(key for closed in event["closed"] for key in closed["mended"] if key not in files)]
    lost = [key for closed in event["closed"] for key in closed["lost"]]
    lost += [f"usage/dt={hour[:10]}/hour={hour[11:]}/" for hour in done.lost]
    write_prices(lake, current_book(max_age=0))
    verified = [(said["hour"], said["proof"]) for said in event["verified"] if "proof" in said]
    costs = {said["day"]: said["costs"] for said in event.get("proven", ())}
    for proof, whole in proven(done, verified, costs):
        proofs.note(proof, whole=whole)
    watermark = commit(done, open_hours, periods)
    if unpriced:
        count(UNPRICED_USAGE)
    if quarantined or lost:
        count(QUARANTINED_ROWS, quarantined + len(lost))
    if watermark:
        measure(AGGREGATION_LAG, lag(watermark, datetime.now(UTC)))
    return {
        "hours": len(done.hours),
        "days": list(done.days()),
        "openHours": open_hours,
        "unpricedHours": unpriced,
        "quarantinedRows": quarantined,
        "mendedFiles": mended,
        "lostFiles": lost,
        "leftHours": done.left,
        "leftDays": event.get("leftDays", 0),
        "watermark": watermark,
    }
