"""The binary frames of application/vnd.amazon.eventstream.

total length u32 | headers length u32 | CRC32 of the two | headers | payload | CRC32 of everything before
header: name length u8 | name | 7 (string) | value length u16 | value
"""

import json
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32

_STRING = 7
# Bedrock pads every event with a prefix of this string, so that a frame's length does not reveal its text's length.
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Encode one message."""
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    message = b"".join((prelude, struct.pack(">I", crc32(prelude)), encoded, payload))
    return message + struct.pack(">I", crc32(message))


def json_event(event_type: str, body: Mapping[str, Any]) -> bytes:
    """Encode one event whose payload is JSON, padded as Bedrock does."""
    text = json.dumps(body, separators=(",", ":"))
    padding = _PADDING[: 1 + crc32(text.encode()) % len(_PADDING)]
    return frame(
        {":event-type": event_type, ":content-type": "application/json", ":message-type": "event"},
        f'{text[:-1]}{"," if len(text) > 2 else ""}"p":"{padding}"}}'.encode(),
    )


def blob_event(event_type: str, payload: bytes) -> bytes:
    """Encode one event whose payload is the bytes themselves (SageMaker's PayloadPart)."""
    return frame(
        {":event-type": event_type, ":content-type": "application/octet-stream", ":message-type": "event"}, payload
    )


def exception_event(exception_type: str, body: Mapping[str, Any]) -> bytes:
    """Encode an error in the middle of a stream, after its HTTP status was sent."""
    return frame(
        {":exception-type": exception_type, ":content-type": "application/json", ":message-type": "exception"},
        json.dumps(body, separators=(",", ":")).encode(),
    )


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(f">B{len(key)}sBH", len(key), key, _STRING, len(text)) + text
