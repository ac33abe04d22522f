"""CloseDay: sum the priced usage of a day into its costs by tenant, cost centre and model."""

from __future__ import annotations

from typing import Any

from gateway.aggregation import close_day
from gateway.aws.lake import ParquetLake, S3Objects
from gateway.settings import settings

lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    return {"lines": close_day(event["day"], lake)}
