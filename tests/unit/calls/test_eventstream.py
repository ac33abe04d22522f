"""Frames are parsed as botocore does, in any fragments, and a broken one never counts as complete."""

from __future__ import annotations

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.eventstream import BrokenFrameError, Frame, encode, exception, frames

EVENT = {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"}


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.integers(1, 200))
def test_frames_come_out_whole_whatever_parts_they_came_in(payloads: list[bytes], size: int) -> None:
    sent = b"".join(encode(EVENT, payload) for payload in payloads)
    found = list(frames(sent[at : at + size] for at in range(0, len(sent), size)))
    assert [frame.payload for frame in found] == payloads
    assert b"".join(frame.raw for frame in found) == sent
    assert {frame.kind for frame in found} == {"contentBlockDelta"}


def test_botocore_reads_what_is_written_here() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(encode(EVENT, b'{"a": 1}') + exception("throttlingException", "wait"))
    event, error = list(buffer)
    assert (event.headers, event.payload) == (EVENT, b'{"a": 1}')
    assert error.headers[":exception-type"] == "throttlingException"
    assert error.payload == b'{"message": "wait"}'


def test_an_exception_is_told_from_an_event() -> None:
    (frame,) = frames([exception("modelStreamErrorException", "it broke")])
    assert (frame.kind, frame.is_error, frame.json) == ("modelStreamErrorException", True, {"message": "it broke"})


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({":message-type": "error", ":error-code": "InternalServerException", ":error-message": "no"}, "InternalServerException"),
        ({":exception-type": "throttlingException"}, "throttlingException"),
        ({":message-type": "exception"}, ""),
        ({":message-type": "error", ":event-type": "chunk"}, "chunk"),
    ],
)  # fmt: skip
def test_whatever_calls_itself_an_error_is_one(headers: dict[str, str], kind: str) -> None:
    (frame,) = frames([encode(headers, b"")])
    assert (frame.kind, frame.is_error) == (kind, True)


@pytest.mark.parametrize("at", [0, 5, 9, 14, 40, -6, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    sent = bytearray(encode(EVENT, b'{"a": 1}'))
    sent[at] ^= 1
    with pytest.raises(BrokenFrameError):
        list(frames([bytes(sent)]))


def test_a_stream_that_ends_inside_a_frame_is_broken() -> None:
    sent = encode(EVENT, b'{"a": 1}')
    read = frames([sent, sent[:-1]])
    assert next(read).json == {"a": 1}
    with pytest.raises(BrokenFrameError):
        next(read)


def test_a_payload_nested_beyond_measure_is_no_json() -> None:
    with pytest.raises(ValueError, match="nested"):
        assert Frame("chunk", b"[" * 100_000).json
