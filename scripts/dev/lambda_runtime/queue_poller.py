"""SQS as a source of events: receives messages, invokes a function with them, deletes the processed ones."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.dev.lambda_runtime.pool import FunctionHost
from scripts.dev.lambda_runtime.sqs_events import sqs_event

logger = logging.getLogger(__name__)
_WAIT = 20  # seconds, SQS's maximum


class QueuePoller:
    """Polls one queue for one function. It receives no message unless a worker can begin it."""

    def __init__(
        self,
        sqs: Any,
        functions: FunctionHost,
        function: str,
        url: str,
        arn: str,
        region: str,
        source: Mapping[str, Any],
    ):
        self._sqs = sqs
        self._functions = functions
        self._function = function
        self._url, self._arn, self._region = url, arn, region
        self._batch = min(int(source.get("BatchSize", 10)), 10)
        self._partial = "ReportBatchItemFailures" in (source.get("FunctionResponseTypes") or ())
        self._slots = threading.Semaphore(functions.pools[function].cap)
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._poll, name=f"poll {self._function}", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._slots.acquire()
            try:
                messages = self._sqs.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=self._batch,
                    WaitTimeSeconds=_WAIT,
                    MessageSystemAttributeNames=["All"],
                    MessageAttributeNames=["All"],
                ).get("Messages", ())
            except Exception as error:
                messages = ()
                if not self._stopped.is_set():
                    logger.warning("%s: cannot receive: %s", self._function, type(error).__name__)
                    self._stopped.wait(1)
            if messages and not self._stopped.is_set():
                threading.Thread(target=self._deliver, args=(messages,), daemon=True).start()
                continue
            self._slots.release()
            for message in messages:
                self._release_slot(message)

    def _release_slot(self, message: Mapping[str, Any]) -> None:
        """Make a message received during the stop visible to the next consumer at once."""
        with contextlib.suppress(Exception):
            self._sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )

    def _deliver(self, messages: Sequence[Mapping[str, Any]]) -> None:
        try:
            outcome = self._functions.invoke(self._function, sqs_event(messages, self._arn, self._region))
            if outcome.failed:
                return  # every message returns after its visibility timeout
            failed = self._failed(json.loads(outcome.payload))
            if failed is None:
                return
            for message in messages:
                if message["MessageId"] not in failed:
                    self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        except Exception as error:
            logger.warning("%s: a batch failed: %s", self._function, type(error).__name__)
        finally:
            self._slots.release()

    def _failed(self, answer: Any) -> set[str] | None:
        """The messages that the function reports as failed; None for the whole batch if its response is malformed."""
        if not self._partial or not answer:
            return set()
        try:
            return {str(failure["itemIdentifier"]) for failure in answer.get("batchItemFailures") or ()}
        except (AttributeError, KeyError, TypeError):
            return None
