"""A synthetic Data Export of CUR 2.0 with AWS's columns, types and folders."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq

ACCOUNT = "123456789012"
_MAP = pa.map_(pa.string(), pa.string())
_MOMENT = pa.timestamp("ms")
_TEXT, _NUMBER = pa.string(), pa.float64()

# The table dictionary of CUR 2.0, in its order; reservation_*, savings_plan_* and split_* are left out.
COLUMNS = pa.schema(
    [
        ("bill_bill_type", _TEXT), ("bill_billing_entity", _TEXT), ("bill_billing_period_end_date", _MOMENT),
        ("bill_billing_period_start_date", _MOMENT), ("bill_invoice_id", _TEXT), ("bill_invoicing_entity", _TEXT),
        ("bill_payer_account_id", _TEXT), ("bill_payer_account_name", _TEXT), ("cost_category", _MAP),
        ("discount", pa.map_(_TEXT, _NUMBER)), ("discount_bundled_discount", _NUMBER),
        ("discount_total_discount", _NUMBER), ("identity_line_item_id", _TEXT), ("identity_time_interval", _TEXT),
        ("line_item_availability_zone", _TEXT), ("line_item_blended_cost", _NUMBER), ("line_item_blended_rate", _TEXT),
        ("line_item_currency_code", _TEXT), ("line_item_iam_principal", _TEXT), ("line_item_legal_entity", _TEXT),
        ("line_item_line_item_description", _TEXT), ("line_item_line_item_type", _TEXT),
        ("line_item_net_unblended_cost", _NUMBER), ("line_item_net_unblended_rate", _TEXT),
        ("line_item_normalization_factor", _NUMBER), ("line_item_normalized_usage_amount", _NUMBER),
        ("line_item_operation", _TEXT), ("line_item_product_code", _TEXT), ("line_item_resource_id", _TEXT),
        ("line_item_tax_type", _TEXT), ("line_item_unblended_cost", _NUMBER), ("line_item_unblended_rate", _TEXT),
        ("line_item_usage_account_id", _TEXT), ("line_item_usage_account_name", _TEXT),
        ("line_item_usage_amount", _NUMBER), ("line_item_usage_end_date", _MOMENT),
        ("line_item_usage_start_date", _MOMENT), ("line_item_usage_type", _TEXT), ("pricing_currency", _TEXT),
        ("pricing_lease_contract_length", _TEXT), ("pricing_offering_class", _TEXT),
        ("pricing_public_on_demand_cost", _NUMBER), ("pricing_public_on_demand_rate", _TEXT),
        ("pricing_purchase_option", _TEXT), ("pricing_rate_code", _TEXT), ("pricing_rate_id", _TEXT),
        ("pricing_term", _TEXT), ("pricing_unit", _TEXT), ("product", _MAP), ("product_comment", _TEXT),
        ("product_product_family", _TEXT), ("product_region_code", _TEXT), ("product_servicecode", _TEXT),
        ("product_sku", _TEXT), ("product_usagetype", _TEXT), ("resource_tags", _MAP), ("tags", _MAP),
    ]
)  # fmt: skip


def line(
    at: datetime,
    usage_type: str,
    amount: float,
    listed: float,
    net: float | None = None,
    principal: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One line of the bill, an hour long. `listed` is its cost at the public price, `net` what is charged."""
    start = at.replace(minute=0, second=0, microsecond=0)
    month = start.replace(day=1, hour=0)
    return {
        "bill_bill_type": "Anniversary",
        "bill_billing_entity": "AWS",
        "bill_billing_period_start_date": month,
        "bill_billing_period_end_date": (month + timedelta(days=32)).replace(day=1),
        "bill_payer_account_id": ACCOUNT,
        "line_item_currency_code": "USD",
        "line_item_iam_principal": principal,
        "line_item_line_item_type": "Usage",
        "line_item_net_unblended_cost": listed if net is None else net,
        "line_item_operation": "InvokeModelInference",
        "line_item_product_code": "AmazonBedrock",
        "line_item_unblended_cost": listed,
        "line_item_usage_account_id": ACCOUNT,
        "line_item_usage_amount": amount,
        "line_item_usage_start_date": start,
        "line_item_usage_end_date": start + timedelta(hours=1),
        "line_item_usage_type": usage_type,
        "pricing_public_on_demand_cost": listed,
        "pricing_unit": "1K tokens",
        "product": [("product_name", "Amazon Bedrock")],
        "product_region_code": "us-east-1",
        "product_servicecode": "AmazonBedrock",
        "product_usagetype": usage_type,
    } | more  # fmt: skip


def export(lines: Sequence[dict[str, Any]], folder: str = "", without: Sequence[str] = (), part: int = 1) -> None:
    """Write lines to the path of a Data Export named `costs`, in the bucket `bills`."""
    s3 = boto3.client("s3")
    if "bills" not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket="bills")
    schema = pa.schema([column for column in COLUMNS if column.name not in without])
    rows = [
        {k: v.astimezone(UTC).replace(tzinfo=None) if isinstance(v, datetime) else v for k, v in row.items()}
        for row in lines
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, compression="snappy", row_group_size=2)
    key = f"exports/costs/data/BILLING_PERIOD=2026-11/{folder}costs-{part:05d}.snappy.parquet"
    s3.put_object(Bucket="bills", Key=key, Body=sink.getvalue())
