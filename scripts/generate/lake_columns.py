"""The tables of the lake for operators: the schema from the code, and the meaning of each column.

`scripts.generate.lake_tables` generates docs/reference/lake-tables.md from this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.aws.lake.findings import ANOMALIES, FORECASTS, RECONCILIATION
from gateway.aws.lake.parquet import COSTS, QUARANTINE, USAGE
from gateway.aws.lake.prices import PRICES


@dataclass(frozen=True)
class Column:
    """`unit` is empty for texts; `null` is the reason for a missing value, empty if the column always has one."""

    means: str
    unit: str = ""
    null: str = ""


@dataclass(frozen=True)
class LakeTable:
    """`partitions` are the keys of its folders; a table without partitions is one file."""

    name: str
    means: str
    schema: Any
    columns: Mapping[str, Column]
    partitions: tuple[str, ...] = ("dt",)
    note: str = ""


TENANT = Column("The tenant.")
COST_CENTRE = Column(
    "The cost centre that pays; the tenant's own id if the request named none and the tenant has none."
)
MODEL = Column("The model whose price applies.")
REGION = Column("The AWS region of the call.")
TOKENS = {
    "input_tokens": Column("Input that the prompt cache neither served nor stored.", "tokens"),
    "output_tokens": Column("Output, reasoning included.", "tokens"),
    "cache_read_tokens": Column("Input that the prompt cache served.", "tokens"),
    "cache_write_5m_tokens": Column("Input that the prompt cache stored for five minutes.", "tokens"),
    "cache_write_1h_tokens": Column("Input that the prompt cache stored for an hour.", "tokens"),
    "images": Column("Images generated.", "images"),
    "input_images": Column("Images embedded.", "images"),
}
NOT_PRICED = "the row has no price: `price_status`"
NONE_PRICED = "no row of the line has a price"
REASONS = {
    "unpriced": "The ledger's rows have no price.",
    "late": "The call started and ended on different days, or is still open.",
    "interrupted": "Answers were interrupted, so the ledger has less usage than AWS.",
    "out_of_band": "A principal that is not one of the gateway's roles spent it.",
    "discount": "The difference between AWS's charge and its public price.",
    "adjustment": "Tax, credits, refunds and fees.",
    "price": "AWS's price differs from the price book.",
    "rounding": "At most a millionth of a USD for each line of the bill.",
    "unexplained": "The rest.",
}

TABLES = (
    LakeTable("usage", "One row per attempt of a call, priced.", USAGE, {
        "request_id": Column("The request, as the client's `x-request-id`."),
        "attempt": Column("The number of the attempt within its request, from 1.", "count"),
        "tenant_id": TENANT, "cost_centre": COST_CENTRE,
        "key_id": Column("The key that the client sent, by its public id."),
        "operation": Column("`text`, `image` or a kind of embeddings."),
        "model_id": MODEL,
        "model_used": Column("The name in the call to the model's service: an id, a profile, an ARN or an endpoint."),
        "region": REGION, **TOKENS,
        "image_class": Column("Size and quality of the generated images, as `512x512:standard`; else empty."),
        "service_tier": Column("The tier that the service echoed: `default`, `flex`, `priority` …"),
        "outcome": Column("`succeeded`, `failed`, `interrupted`, `unsettled` or `open`."),
        "usage_source": Column("`provider`, `estimated:<how>` or `unknown`."),
        "error_code": Column("The [code](errors.md) of the attempt's error, `lease_expired` if no function settled it, else empty."),
        "started_at": Column("The start of the attempt; it decides hour, day and price.", "UTC, ms"),
        "settled_at": Column("The end of the attempt.", "UTC, ms", "the row is open"),
        "input_cost": Column("The cost of the input, cache included.", "USD", NOT_PRICED),
        "output_cost": Column("The cost of output and images.", "USD", NOT_PRICED),
        "cost": Column("The tenant's charge: `input_cost + output_cost`.", "USD", NOT_PRICED),
        "price_status": Column("`priced`, `unpriced`, `unsettled` or `open`."),
        "price_rows": Column("The names of the prices used, as `price_name` of `prices`, separated by spaces."),
        "price_version": Column("The version of the price book."),
        "provider_usage": Column("The provider's own usage, in JSON."),
        "asked_model": Column("The client's own name for the model, where it differs; else empty."),
        "routing": Column("The reason for this attempt, as `retry:model_throttled` or `fallback:model_unavailable`; else empty."),
        "list_cost": Column("The cost at public prices.", "USD", "a public price is missing"),
        "user_id": Column("The user of the call, in clear or as the hash that the tenant keeps; empty if nobody is named."),
        "user_source": Column("How the gateway knows the user: `token` and `key` are verified, the client names a `claimed` one; empty without a user."),
        "tags": Column("The tags of the call, as a JSON object of texts sorted by name: `{\"project\":\"apollo\"}`; `{}` without tags."),
    }, ("dt", "hour")),
    LakeTable("costs", "The usage and cost of each tenant, cost centre and model on a day.", COSTS, {
        "tenant_id": TENANT, "cost_centre": COST_CENTRE,
        "team_id": Column("The same as `cost_centre`, under the name of the 2024 sample."),
        "model_id": MODEL,
        "invocations": Column("Attempts that succeeded or were interrupted.", "count"),
        "failed_invocations": Column("Attempts that failed and used nothing.", "count"),
        "open_invocations": Column("Attempts that may still settle; not in the cost.", "count"),
        "unsettled_invocations": Column("Attempts of unknown usage; not in the cost.", "count"),
        "unpriced_invocations": Column("Attempts without a price; not in the cost.", "count"),
        **TOKENS,
        "input_cost": Column("The cost of the input, cache included.", "USD", NONE_PRICED),
        "output_cost": Column("The cost of output and images.", "USD", NONE_PRICED),
        "cost": Column("The tenant's charge.", "USD", NONE_PRICED),
        "list_cost": Column("The cost at public prices.", "USD", NONE_PRICED),
        "price_version": Column("The versions of the price book, joined by `+`."),
        "line_kind": Column("`original`, or `restatement`: a difference found after the day was closed."),
        "restated_at": Column("The time of the restatement.", "UTC, ms", "the line is original"),
    }, note="Add the lines of a day: the sum of its original line and its restatements is the cost."),
    LakeTable("quarantine", "Rows of the ledger that cannot be read or are implausible. They are in no cost.", QUARANTINE, {
        "pk": Column("The partition key of the ledger's row."),
        "sk": Column("The sort key of the ledger's row."),
        "reason": Column("The fault of the row."),
        "item": Column("The row from DynamoDB, in JSON."),
    }, ("dt", "hour")),
    LakeTable("reconciliation", "The ledger against AWS's own record, by day, model and usage type, with the reasons of each difference.", RECONCILIATION, {
        "source": Column("`cur` (the bill) or `cloudwatch` (Bedrock's metrics)."),
        "measure": Column("The unit of the amounts of this line: `usd` or `count`."),
        "model_id": Column("The model as the source names it."),
        "region": REGION,
        "tier": Column("The service tier."),
        "unit": Column("The unit of the price, as `input_tokens`."),
        "usage_type": Column("The bill's usage type; empty for CloudWatch."),
        "principal": Column("`gateway`, the ARN of another principal, or `(none)`."),
        "mapped": Column("Whether the gateway knows the usage type."),
        "ledger_quantity": Column("The ledger's quantity.", "`unit`"),
        "aws_quantity": Column("AWS's quantity.", "`unit`"),
        "ledger": Column("The ledger's amount.", "`measure`"),
        "aws": Column("AWS's amount.", "`measure`"),
        "difference": Column("`aws - ledger`, the sum of the nine reasons.", "`measure`"),
        **{name: Column(means, "`measure`") for name, means in REASONS.items()},
        "above_tolerance": Column("Whether the line raises the alarm."),
        "open_rows": Column("Open rows of the ledger.", "count"),
        "unsettled_rows": Column("Rows of unknown usage.", "count"),
        "unpriced_rows": Column("Rows without a price.", "count"),
        "reconciled_at": Column("The time of the run.", "UTC, ms"),
    }),
    LakeTable("anomalies", "Days on which a tenant spent far more, or far less, than its own past.", ANOMALIES, {
        "tenant_id": TENANT,
        "cost": Column("The tenant's cost of the day.", "USD"),
        "usual_cost": Column("The median of the days compared.", "USD"),
        "score": Column("The modified z-score of the logarithm of the cost.", "no unit"),
        "compared_days": Column("The number of days compared.", "days"),
    }),
    LakeTable("forecasts", "The expected end of each tenant's and cost centre's month, as of a day.", FORECASTS, {
        "tenant_id": TENANT,
        "cost_centre": Column("The cost centre; empty for the tenant as a whole."),
        "month": Column("The month, as `2026-11`."),
        "month_to_date": Column("The cost so far.", "USD"),
        "expected": Column("The expected cost of the whole month.", "USD"),
        "low": Column("The 10 % quantile of that cost.", "USD"),
        "high": Column("The 90 % quantile of that cost.", "USD"),
        "budget": Column("The monthly budget.", "USD", "there is no budget"),
        "above_budget": Column("Whether the expected cost exceeds the budget."),
        "history_days": Column("Days of history behind the forecast.", "days"),
    }),
    LakeTable("prices", "The price book in force, with the agreed prices of its overlay.", PRICES, {
        "model_id": Column("The model."),
        "region": Column("The region, or `*`."),
        "tier": Column("The service tier, with its context threshold."),
        "unit": Column("The unit that is priced, as `input_tokens`."),
        "usd": Column("The price of `per` units.", "USD", "the price was withdrawn"),
        "per": Column("The number of units that `usd` buys.", "`unit`"),
        "effective_from": Column("The first day of the price; it applies until a later one.", "UTC day"),
        "source": Column("The origin of the price."),
        "price_name": Column("The name of the price, as in `price_rows` of `usage`."),
        "usd_each": Column("The price of one unit.", "USD", "the price was withdrawn"),
        "is_listed": Column("True for a public price, false for an agreed one."),
    }, ()),
)  # fmt: skip
