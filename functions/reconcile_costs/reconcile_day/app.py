"""ReconcileDay: compare a day's usage with CloudWatch's metrics and, if it is due, with AWS's bill."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.aws.cloudwatch import measured
from gateway.aws.lake.cur import Bill
from gateway.aws.lake.findings import FindingsLake
from gateway.aws.s3.objects import S3Objects
from gateway.core.settings import settings
from gateway.core.telemetry import RECONCILIATION_OFF, count, logger
from gateway.pricing.price_csv import price_book
from gateway.reconciliation.bill import against_bill, role_of
from gateway.reconciliation.cloudwatch import against_metrics
from gateway.reconciliation.records import day_before, summary

lake = FindingsLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    day, percent, roles = event["day"], settings().reconciliation_tolerance, settings().gateway_roles
    metered = list(lake.metered([day_before(day), day]))
    regions = {row.region for row in metered} | {settings().region}
    findings = against_metrics(day, metered, measured(day, regions), percent)
    if event["bill"]:
        bill = Bill(settings().cur_uri, {account for account, _ in map(role_of, roles)})
        findings += against_bill(day, metered, bill.lines(day), price_book(), roles, percent)
    lake.replace_reconciliation(day, findings, datetime.fromisoformat(event["scheduledTime"]))
    said = {"day": day, **summary(findings)}
    logger().info("reconciled", extra=said)
    if said["aboveTolerance"]:
        count(RECONCILIATION_OFF)
    return said
