"""Circuit breakers shared by all execution environments: Powertools' utility, its state in the idempotency table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from gateway.aws.clients import client
from gateway.calls.attempts import CircuitOpenError
from gateway.calls.model_routes import Circuit
from gateway.core.errors import RetryableError
from gateway.core.telemetry import logger


class Circuits:
    """`gateway.calls.attempts.CircuitBreakers`. The first route with a circuit imports Powertools."""

    def __init__(self, table: str):
        self._table = table

    @cached_property
    def _store(self) -> Any:
        from aws_lambda_powertools.utilities.circuit_breaker.persistence import (  # noqa: PLC0415
            CircuitBreakerDynamoDBPersistence,
        )

        return CircuitBreakerDynamoDBPersistence(self._table, expiry_attr="expires_at", boto3_client=client("dynamodb"))

    @cached_property
    def _handler(self) -> Any:
        from aws_lambda_powertools.utilities.circuit_breaker.base import (  # noqa: PLC0415
            CircuitBreakerHandler,
        )

        class Admission(CircuitBreakerHandler):
            """Powertools calls the guarded function; here `handle` returns a function that takes the outcome later."""

            def _call_closed(self) -> Any:
                return super()._call_closed

            def _call_probe(self) -> Any:
                return super()._call_probe

        return Admission

    @contextmanager
    def guard(self, model_id: str, circuit: Circuit) -> Iterator[None]:
        from aws_lambda_powertools.utilities.circuit_breaker.config import (  # noqa: PLC0415
            CircuitBreakerConfig,
        )
        from aws_lambda_powertools.utilities.circuit_breaker.exceptions import (  # noqa: PLC0415
            CircuitBreakerOpenError,
        )

        ended: list[Exception] = []

        def outcome() -> None:
            if ended:
                raise ended[0]

        handler = self._handler(
            outcome,
            f"circuit#{model_id}",
            CircuitBreakerConfig(
                circuit.failures, circuit.seconds, success_threshold=1, handled_exceptions=RetryableError
            ),
            self._store,
            on_transition=lambda change: logger().warning(
                "circuit_changed", extra={"model_id": model_id, "state": str(change.to_state)}
            ),
        )
        try:
            count = handler.handle()
        except CircuitBreakerOpenError as error:
            raise CircuitOpenError(circuit.seconds) from error
        try:
            yield
        except Exception as error:
            ended.append(error)
            count()  # raises the error again
            raise
        count()
