"""Streams: the frames a service sends become the bytes a client reads; the call is settled before the last of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from gateway.errors import GatewayError
from gateway.eventstream import Frame
from gateway.usage import TokenUsage


@dataclass(frozen=True)
class Metered:
    """What a call came to, once it is settled: its usage, and its price in USD where there is one."""

    usage: TokenUsage
    cost: Decimal | None = None


class StreamWriter(Protocol):
    """One stream in one wire format. It is told of each frame in order, then of the end or of the error: never both.

    `write` is given the frame that ends the answer (Converse's `metadata`) only after the call has been settled. What
    it answers may be empty: not every event has bytes of its own in every format.
    """

    content_type: str
    ping: bytes  # what may be sent at any time between two writes, to show that the stream lives; may be empty

    def write(self, frame: Frame) -> bytes: ...

    def end(self, metered: Metered) -> bytes:
        """The last bytes of a stream that went well."""

    def error(self, error: GatewayError) -> bytes:
        """The last bytes of a stream that broke off after its HTTP status was sent."""
