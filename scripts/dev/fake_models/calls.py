"""One metered call: obeys the prompt's directives, runs the model, writes the ledger, and answers, in that order."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from scripts.dev.fake_models.directives import Directives
from scripts.dev.fake_models.errors import Refusal
from scripts.dev.fake_models.eventstream import exception_event
from scripts.dev.fake_models.exchange import ClientGone, Exchange, refuse
from scripts.dev.fake_models.generation import Generation
from scripts.dev.fake_models.ledger import Ledger, Served, Usage

# A failing stream's messages, by the name of its event: SageMaker's own, then Bedrock's.
_STREAM_ERRORS: dict[str, dict[str, Any]] = {
    "ModelStreamError": {
        "Message": "The model stream ended with an error.",
        "ErrorCode": "ModelInvocationTimeExceeded",
    },
    "modelStreamErrorException": {
        "message": "The model has encountered an error while streaming.",
        "originalStatusCode": 500,
        "originalMessage": "stream interrupted",
    },
    "throttlingException": {"message": "Too many tokens, please wait before trying again."},
}


_END = 1 << 30  # More events than any stream has: a break after this number happens at the end.


class Throttle:
    """Counts the calls per label, so that the first ones can be refused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}

    def refuses(self, directives: Directives) -> bool:
        """Is this call one of the first N with its label?"""
        if directives.throttle_times is None:
            return False
        times, label = directives.throttle_times
        with self._lock:
            self._seen[label] = self._seen.get(label, 0) + 1
            return self._seen[label] <= times


class StreamBroke(Exception):
    """The model failed in the middle of its answer; carries the error event."""


class StreamCut(Exception):
    """The connection breaks here."""


class Call:
    """A call in progress: the fields of its ledger line, and the only place that writes this line."""

    def __init__(self, exchange: Exchange, ledger: Ledger, operation: str, model_id: str) -> None:
        self.exchange = exchange
        self._ledger = ledger
        self.served = Served(exchange.request_id, operation, model_id, exchange.region)
        self._written = False
        self._said = 0  # sent events of its stream
        self._started = time.monotonic()

    @property
    def latency_ms(self) -> int:
        return int((time.monotonic() - self._started) * 1000)

    def obey(self, directives: Directives, throttle: Throttle, refusals: Mapping[str, Refusal]) -> None:
        """Apply the prompt's delays and refusals before any model runs."""
        if directives.delay:
            time.sleep(directives.delay)
        if directives.error:
            raise replace(refusals[directives.error])
        if throttle.refuses(directives):
            raise replace(refusals["throttle"])

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error; no model ran, so the call is not billed."""
        self.served.status, self.served.error_type = refusal.status, refusal.type
        self._write(completed=not self.exchange.gone(), billed=False)
        refuse(self.exchange, refusal)

    def answer(self, body: bytes, headers: Mapping[str, str], usage: Usage, *, cut: bool = False) -> None:
        """Answer in one piece with the model's output."""
        self.count(usage)
        lost = cut or self.exchange.gone()
        self._write(completed=not lost, billed=True)
        if lost:
            self.exchange.cut()
        else:
            self.exchange.send(200, body, headers)

    def uncounted(self, body: object) -> None:
        """Answer without running a model (CountTokens)."""
        self._write(completed=True, billed=False)
        self.exchange.send_json(200, body)

    def stream(
        self, events: Iterator[bytes], generation: Generation, headers: Mapping[str, str], directives: Directives
    ) -> None:
        """Send events as the model generates. After a hang-up the model still completes its answer, and is billed."""
        self.served.billed = True
        try:
            self.exchange.begin(headers)
            self._send(events, generation, directives)
        except ClientGone:
            self._settle(_all_of(generation), completed=False)
            raise
        except StreamCut:
            self._settle(_all_of(generation), completed=False)
            self.exchange.cut()
        except StreamBroke as broke:
            self._break(str(broke), generation)

    def count(self, usage: Usage) -> None:
        """Take over a model's token counts."""
        for name, tokens in asdict(usage).items():
            setattr(self.served, name, tokens)

    def _send(self, events: Iterator[bytes], generation: Generation, directives: Directives) -> None:
        held = b""
        try:
            while True:
                _break_if_asked(self._said, directives)
                event = next(events, b"")
                if not event:
                    _break_if_asked(_END, directives)
                    break
                if held:
                    self.exchange.event(held)
                # When the model is done, the rest is fast: an event that may be the last waits for the next.
                held = event if generation.done else b""
                if not held:
                    self.exchange.event(event)
                self._said += 1
        except (StreamCut, StreamBroke):
            if held:
                self.exchange.event(held)
            raise
        lost = self.exchange.gone()
        # The line is written before the last event, so a client with the whole answer finds it in the ledger.
        self._settle(generation.usage, completed=not lost)
        if lost:
            raise ClientGone
        self.exchange.end(held)

    def _break(self, error: str, generation: Generation) -> None:
        if self.served.operation.startswith("InvokeEndpoint"):
            error = "ModelStreamError"
        self.served.error_type = error
        if error == "throttlingException" and not self._said:
            self._write(completed=False, billed=False)  # refused after its status was sent: no model ran
        else:
            self._settle(generation.usage_so_far, completed=False)
        self.exchange.end(exception_event(error, _STREAM_ERRORS[error]))

    def _settle(self, usage: Usage, *, completed: bool) -> None:
        self.count(usage)
        self._write(completed=completed, billed=True)

    def _write(self, *, completed: bool, billed: bool) -> None:
        if self._written:
            return
        self._written = True
        self.served.completed, self.served.billed = completed, billed
        self._ledger.append(self.served)


def _all_of(generation: Generation) -> Usage:
    """The billed usage after a hang-up: the whole answer, or the part that the model generated."""
    with contextlib.suppress(StreamBroke):
        generation.finish()
    return generation.usage_so_far


def _break_if_asked(sent: int, directives: Directives) -> None:
    if directives.cut is not None and sent >= directives.cut:
        raise StreamCut
    if directives.stream_error and sent >= directives.stream_error[0]:
        raise StreamBroke(directives.stream_error[1])
