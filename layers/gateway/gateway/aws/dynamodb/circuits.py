"""Circuit breakers over all execution environments: Powertools' utility, its state in the table of idempotency keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from gateway.aws.clients import client
from gateway.calls.attempts import CircuitOpen
from gateway.calls.routes import Circuit
from gateway.core.errors import Passing
from gateway.core.telemetry import logger

T = TypeVar("T")


class Circuits:
    """`gateway.calls.attempts.Breakers`. Powertools is imported when the first route asks for a circuit."""

    def __init__(self, table: str):
        self._table = table

    @cached_property
    def _store(self) -> Any:
        from aws_lambda_powertools.utilities.circuit_breaker.persistence import (  # noqa: PLC0415
            CircuitBreakerDynamoDBPersistence,
        )

        return CircuitBreakerDynamoDBPersistence(self._table, expiry_attr="expires_at", boto3_client=client("dynamodb"))

    def guard(self, model_id: str, circuit: Circuit, attempt: Callable[[], T]) -> T:
        from aws_lambda_powertools.utilities.circuit_breaker.base import (  # noqa: PLC0415
            CircuitBreakerHandler,
        )
        from aws_lambda_powertools.utilities.circuit_breaker.config import (  # noqa: PLC0415
            CircuitBreakerConfig,
        )
        from aws_lambda_powertools.utilities.circuit_breaker.exceptions import (  # noqa: PLC0415
            CircuitBreakerOpenError,
        )

        handler = CircuitBreakerHandler(
            attempt,
            f"circuit#{model_id}",
            CircuitBreakerConfig(circuit.failures, circuit.seconds, success_threshold=1, handled_exceptions=Passing),
            self._store,
            on_transition=lambda change: logger().warning(
                "circuit_changed", extra={"model_id": model_id, "state": str(change.to_state)}
            ),
        )
        try:
            outcome: T = handler.handle()
        except CircuitBreakerOpenError as error:
            raise CircuitOpen(circuit.seconds) from error
        return outcome
