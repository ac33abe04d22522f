"""Reads and writes the frames of `application/vnd.amazon.eventstream` without an SDK.

    total length u32 | headers length u32 | CRC32 of the two | headers | payload | CRC32 of everything before
    header: name length u8 | name | type u8 (7: string) | value length u16 | value

Source: Amazon Transcribe's and Bedrock's documentation of event stream encoding. botocore.eventstream reads the same.
"""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_PRELUDE = struct.Struct(">III")
_STRING = 7
# The length of a header's value by its type: true, false, byte, short, integer, long; then timestamp and UUID.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_LARGEST = 24 * 1024 * 1024  # no service sends more in one frame


class BrokenFrameError(ValueError):
    """Bytes that are not a frame, or have a wrong checksum."""


@dataclass(frozen=True)
class Frame:
    """One event or exception of a stream: `kind` is its name (`contentBlockDelta`, `throttlingException`)."""

    kind: str
    payload: bytes
    raw: bytes = b""  # the frame as received
    is_error: bool = False

    @cached_property
    def json(self) -> Any:
        """The payload. Raises ValueError unless it is JSON."""
        try:
            return json.loads(self.payload) if self.payload else {}
        except RecursionError as error:
            raise ValueError("JSON that is nested too deeply") from error

    @cached_property
    def chunk(self) -> bytes:
        """The content of a `chunk` of InvokeModelWithResponseStream. Raises ValueError for a chunk without bytes."""
        try:
            return binascii.a2b_base64(self.json["bytes"])
        except (KeyError, TypeError) as error:
            raise ValueError("a chunk without bytes") from error


def frames(parts: Iterable[bytes]) -> Iterator[Frame]:
    """The frames of a stream of parts of any size. Raises BrokenFrameError, also for a stream that ends inside one."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        start = 0
        while len(buffer) - start >= _PRELUDE.size:
            total = int.from_bytes(buffer[start : start + 4], "big")
            if not _PRELUDE.size + 4 <= total <= _LARGEST:
                raise BrokenFrameError(f"a frame of {total} bytes")
            if len(buffer) - start < total:
                break
            yield _frame(bytes(buffer[start : start + total]))
            start += total
        del buffer[:start]
    if buffer:
        raise BrokenFrameError("the stream ends inside a frame")


def _frame(raw: bytes) -> Frame:
    total, headers_length, prelude_crc = _PRELUDE.unpack_from(raw)
    if crc32(raw[:8]) != prelude_crc or crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
        raise BrokenFrameError("a checksum does not fit")
    end = _PRELUDE.size + headers_length
    if end > total - 4:
        raise BrokenFrameError("headers longer than their frame")
    kind, is_error = _kind(raw[_PRELUDE.size : end])
    return Frame(kind, raw[end:-4], raw, is_error)


@lru_cache(64)  # a stream has few kinds of frames, and each kind always has the same headers
def _kind(raw: bytes) -> tuple[str, bool]:
    """The kind of a frame by its headers, and whether it is an error."""
    headers = _headers(raw)
    error = headers.get(":exception-type") or headers.get(":error-code")
    is_error = error is not None or headers.get(":message-type") in ("exception", "error")
    return error or headers.get(":event-type", ""), is_error


def _headers(raw: bytes) -> dict[str, str]:
    """The text headers; the reader skips others by their length."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(raw):
            length = raw[at]
            name = raw[at + 1 : at + 1 + length].decode()
            kind = raw[at + 1 + length]
            at += 2 + length
            if kind in _FIXED:
                at += _FIXED[kind]
                continue
            size = int.from_bytes(raw[at : at + 2], "big")
            if kind == _STRING:
                found[name] = raw[at + 2 : at + 2 + size].decode()
            at += 2 + size
    except (IndexError, UnicodeDecodeError) as error:
        raise BrokenFrameError("headers that cannot be read") from error
    return found


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame with text headers only."""
    encoded = b"".join(_header(name, text) for name, text in headers.items())
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    message = b"".join((prelude, struct.pack(">I", crc32(prelude)), encoded, payload))
    return message + struct.pack(">I", crc32(message))


def _header(name: str, text: str) -> bytes:
    key, content = name.encode(), text.encode()
    return struct.pack(f">B{len(key)}sBH", len(key), key, _STRING, len(content)) + content


def exception(kind: str, message: str) -> bytes:
    """The frame that reports an error after the HTTP status was sent, as Bedrock sends it."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return encode(headers, json.dumps({"message": message}).encode())
