"""The adapters of the functions that call models, each built from the settings when it is first asked for."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.attribution import ClaimTable, HashSecret
from gateway.aws.dynamodb.circuits import Circuits
from gateway.aws.dynamodb.idempotency import IdempotencyTable
from gateway.aws.dynamodb.jobs import JobTable
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.reservations import Reservations
from gateway.aws.dynamodb.response_items import ItemTable
from gateway.aws.events import warn
from gateway.aws.models.bedrock import BedrockCatalog, BedrockRuntime
from gateway.aws.models.credentials import Sessions
from gateway.aws.models.sagemaker import SageMakerRuntime
from gateway.aws.s3.model_registry import StoredRegistry
from gateway.aws.s3.payloads import Payloads
from gateway.aws.s3.price_overlay import current_book
from gateway.calls.attribution import Attributor
from gateway.calls.catalog import Service
from gateway.calls.invoke import ModelServices
from gateway.calls.metering import Meter
from gateway.calls.streaming import StreamServices
from gateway.core.settings import Settings


class Wiring:
    """One of these per cold start; whatever two adapters share is one object."""

    def __init__(self, settings: Settings):
        self._settings = settings

    @cached_property
    def registry(self) -> StoredRegistry:
        chosen = self._settings
        return StoredRegistry(chosen.model_routes, chosen.sagemaker_endpoints, chosen.model_routes_uri)

    @cached_property
    def models(self) -> ModelServices:
        return ModelServices({Service.BEDROCK: self._bedrock, Service.SAGEMAKER: self._sagemaker})

    @cached_property
    def streams(self) -> StreamServices:
        return StreamServices({Service.BEDROCK: self._bedrock, Service.SAGEMAKER: self._sagemaker})

    @cached_property
    def _bedrock(self) -> BedrockRuntime:
        return BedrockRuntime(self._settings.invocation_timeout, Sessions(self._settings.tenant_role_arn))

    @cached_property
    def _sagemaker(self) -> SageMakerRuntime:
        return SageMakerRuntime(self._settings.invocation_timeout)

    @cached_property
    def ledger(self) -> DynamoLedger:
        return DynamoLedger(self._settings.usage_table, self._settings.usage_retention_days)

    @cached_property
    def meter(self) -> Meter:
        accounts = AccountTable(self._settings.budgets_table)
        return Meter(self.ledger, accounts, current_book, warn, Reservations(accounts, self.ledger))

    @cached_property
    def circuits(self) -> Circuits:
        """They lie in the table of the idempotency keys."""
        return Circuits(self._settings.idempotency_table)

    @cached_property
    def payloads(self) -> Payloads:
        return Payloads(self._settings.payloads_bucket)

    @cached_property
    def entries(self) -> IdempotencyTable:
        return IdempotencyTable(self._settings.idempotency_table, self._settings.usage_table, self.payloads)

    @cached_property
    def attributor(self) -> Attributor:
        claims = ClaimTable(self._settings.idempotency_table)
        return Attributor(claims, claims, HashSecret(self._settings.tenants_table))

    @cached_property
    def jobs(self) -> JobTable:
        chosen = self._settings
        retention = timedelta(seconds=chosen.result_retention)
        return JobTable(chosen.results_table, chosen.usage_table, chosen.jobs_queue_url, self.payloads, retention)

    @cached_property
    def response_items(self) -> ItemTable:
        return ItemTable(self._settings.idempotency_table, self.payloads, self._settings.response_items)

    @cached_property
    def listing(self) -> BedrockCatalog:
        return BedrockCatalog()
