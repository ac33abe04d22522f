"""Deletes the gateway's stack with a large request in its bucket; its retained resources stay."""

from __future__ import annotations

from collections.abc import Mapping

from botocore.exceptions import WaiterError

from scripts.deploy.ministack.cloud import Cloud
from scripts.deploy.ministack.deployed import hold
from scripts.deploy.ministack.roles import resources

LARGE = 300_000  # characters; requests from 200 KB on are stored in S3
PAYLOADS = "PayloadsBucket"


def objects(cloud: Cloud, bucket: str) -> int:
    pages = cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return sum(len(page.get("Contents", ())) for page in pages)


def remove(cloud: Cloud, stack: str, outputs: Mapping[str, str]) -> str:
    """`sam delete`, without its prompts."""
    (payloads,) = [it.physical for it in resources(cloud, stack) if it.logical == PAYLOADS]
    left = objects(cloud, payloads)
    hold(left > 0, "a submitted large request is not in the payload bucket")
    stacks, s3 = cloud.client("cloudformation"), cloud.client("s3")
    stacks.delete_stack(StackName=stack)
    try:
        stacks.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    except WaiterError as error:
        left_over = stacks.describe_stack_resources(StackName=stack)["StackResources"]
        said = {it["LogicalResourceId"]: it.get("ResourceStatusReason") for it in left_over}
        hold(False, f"the stack is not deleted: {said or error}")
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    hold(payloads not in there, "the payload bucket outlives its stack")
    hold(outputs["LakeBucketName"] in there, "the lake is deleted with the stack")
    tables = set(cloud.client("dynamodb").list_tables()["TableNames"])
    hold({outputs["TenantsTableName"], outputs["UsageTableName"]} <= tables, "a retained table is deleted too")
    return f"{left} objects"
