"""The environment as one typed object, read once per cold start; a missing name fails there, not in a request."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

INTEGRATION_TIMEOUT = 29.0  # seconds; API Gateway's default (API reference, Integration: timeoutInMillis)


class SettingsError(RuntimeError):
    """The environment lacks a setting that this function needs."""


@dataclass(frozen=True)
class Settings:
    """What template.yaml tells its functions. Each function reads only what it is given."""

    environment: Mapping[str, str]

    def _need(self, name: str) -> str:
        value = self.environment.get(name, "")
        if not value:
            raise SettingsError(f"set {name} in the function's environment")
        return value

    @property
    def region(self) -> str:
        return self._need("AWS_REGION")

    @property
    def gateway_arn(self) -> str:
        """Which gateway of the account this is: its stack. Events name it, as all of them go to one bus."""
        return self.environment.get("GATEWAY_ARN") or ""

    @property
    def usage_table(self) -> str:
        return self._need("USAGE_TABLE")

    @property
    def results_table(self) -> str:
        return self._need("RESULTS_TABLE")

    @property
    def tenants_table(self) -> str:
        return self._need("TENANTS_TABLE")

    @property
    def budgets_table(self) -> str:
        return self._need("BUDGETS_TABLE")

    @property
    def idempotency_table(self) -> str:
        return self._need("IDEMPOTENCY_TABLE")

    @property
    def payloads_bucket(self) -> str:
        return self._need("PAYLOADS_BUCKET")

    @property
    def lake_bucket(self) -> str:
        return self._need("LAKE_BUCKET")

    @property
    def jobs_queue_url(self) -> str:
        return self._need("JOBS_QUEUE_URL")

    @property
    def usage_plan_key(self) -> str:
        """The value of the usage plan's API key; a throttling label, no credential."""
        return self._need("USAGE_PLAN_KEY")

    @property
    def sagemaker_endpoints(self) -> str:
        """JSON, public model name -> endpoint name; `{}` where there are none."""
        return self.environment.get("SAGEMAKER_ENDPOINTS") or "{}"

    @property
    def model_routes(self) -> str:
        """JSON, see `gateway.calls.model_routes`; `{}` where every name is a model."""
        return self.environment.get("MODEL_ROUTES") or "{}"

    @property
    def model_routes_uri(self) -> str:
        """Where routes and endpoints lie that the environment has no room for, `s3://bucket/key`; empty: nowhere."""
        return self.environment.get("MODEL_ROUTES_URI") or ""

    @property
    def price_overlay(self) -> str:
        """Where the private price overlay lies, `s3://bucket/key`; empty where there is none."""
        return self.environment.get("PRICE_OVERLAY") or ""

    @property
    def tenant_role_arn(self) -> str:
        """The role whose sessions carry a tenant's tags; empty where calls are made with the function's own."""
        return self.environment.get("TENANT_ROLE_ARN") or ""

    @property
    def cur_uri(self) -> str:
        """`s3://bucket/prefix/export`, where AWS's bill lies; empty where there is none to read."""
        return self.environment.get("CUR_URI") or ""

    @property
    def gateway_roles(self) -> tuple[str, ...]:
        """The ARNs of the roles that call models for tenants."""
        return tuple(part.strip() for part in self._need("GATEWAY_ROLES").split(",") if part.strip())

    @property
    def reconciliation_tolerance(self) -> Decimal:
        """Percent of a line that may differ without an explanation."""
        return Decimal(self.environment.get("RECONCILIATION_TOLERANCE_PERCENT") or "1")

    @property
    def sure_integration_timeout(self) -> float:
        """Seconds for which API Gateway surely waits for a buffered answer.

        No page of AWS's says whether its import reads a timeout that is text, as CloudFormation makes of a parameter.
        So a longer one than API Gateway's default is never relied on.
        """
        return min(
            float(self.environment.get("INTEGRATION_TIMEOUT_SECONDS") or INTEGRATION_TIMEOUT), INTEGRATION_TIMEOUT
        )

    @property
    def silence(self) -> float:
        """Seconds for which an answer may be silent before it begins with a status 200 and signs of life."""
        return float(self.environment.get("SILENCE_SECONDS") or 45)

    @property
    def result_retention(self) -> int:
        """Seconds for which an answer can be polled."""
        return int(self.environment.get("RESULT_RETENTION_SECONDS") or 3600)

    @property
    def response_items(self) -> int:
        """Seconds for which the items of an answered response are kept; 0 keeps none."""
        return int(self.environment.get("RESPONSE_ITEM_SECONDS") or 86_400)

    @property
    def usage_retention_days(self) -> int:
        """Days for which a ledger row is kept; the lake keeps it longer."""
        return int(self.environment.get("USAGE_RETENTION_DAYS") or 400)

    @property
    def statement_delay_days(self) -> int:
        """Days after a month's end at which its books close."""
        return int(self.environment.get("STATEMENT_DELAY_DAYS") or 3)

    @property
    def key_cache_seconds(self) -> float:
        """How long a revoked key may still work."""
        return float(self.environment.get("KEY_CACHE_SECONDS") or 5)

    @property
    def loopback_issuers(self) -> bool:
        """May an issuer be reached by http on this machine? Only the local stack says so, and never the template."""
        return self.environment.get("LOOPBACK_ISSUERS") == "on"

    @property
    def allow_unlisted_models(self) -> bool:
        """May a tenant whose record lists no models use all of them?"""
        return self.environment.get("DEFAULT_MODEL_ACCESS", "allow") == "allow"

    @property
    def max_job_attempts(self) -> int:
        """How often a submitted call is begun before it ends as failed."""
        return int(self.environment.get("MAX_JOB_ATTEMPTS") or 3)

    @property
    def invocation_timeout(self) -> float:
        """Seconds that one invocation of this function may take: its Lambda timeout."""
        return float(self.environment.get("INVOCATION_TIMEOUT_SECONDS") or 900)


@cache
def settings() -> Settings:
    return Settings(dict(os.environ))


def trace_of_invocation() -> str:
    """X-Ray's header of this invocation, which Lambda puts into the environment before each; empty without tracing."""
    return os.environ.get("_X_AMZN_TRACE_ID", "")


def seconds_left(context: Any) -> float:
    """Seconds until Lambda ends this invocation."""
    return float(context.get_remaining_time_in_millis()) / 1000


def read_variable(name: str, text: str, read: Callable[[Any], T]) -> T:
    """What a variable of the environment says in JSON. Raises ValueError, which names the variable."""
    try:
        return read(json.loads(text))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} is not JSON: {error}. It begins with {text[:40]!r}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
